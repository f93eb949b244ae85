"""What a person writes about Iotistica's cloud."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from bridge.transport.duration import Duration

SUFFIX = "/api/v1"


def _api_url(url: str) -> str:
    parts = urlsplit(url)
    example = f"https://iotistica.example{SUFFIX}"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"not an address; write {example}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user name or password in the address; use the keys username and password")
    if parts.query or parts.fragment:
        raise ValueError(f"only scheme, host, port and path; write {example}")
    _ = parts.port  # raises ValueError for a port that is none
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or SUFFIX}"


class RestRules(BaseModel):
    """Iotistica by REST."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, AfterValidator(_api_url)] = Field(
        description="Address of the API, /api/v1 included.", examples=["https://iotistica.example/api/v1"]
    )
    username: str = Field(min_length=1, max_length=200, description="User name, or e-mail address, of the login.")
    password: SecretStr = Field(min_length=1, description="Its password; ${file:…} keeps it out of this file.")
    ca_file: str | None = Field(None, description="PEM file of the authority behind the server's certificate.")
    share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Part of the limit that is used: the vendor counts everybody behind one address as one caller.",
    )
    request_timeout: Duration = Field(30.0, ge=1, le=120, description="How long an answer may take.")
