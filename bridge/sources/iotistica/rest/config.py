"""What a person writes about Iotistica's cloud."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from bridge.sources.iotistica.mqtt.config import AgentId
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


class TargetState(BaseModel):
    """A target state that may be sent to agents: it decides which applications run there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agents: Literal["all"] | tuple[AgentId, ...] = Field(description="Agents that may be given it.")
    apps: dict[str, Any] | list[Any] = Field(description="The applications, as Iotistica wants them.")
    config: dict[str, Any] | None = Field(None, description="The configuration, as Iotistica wants it.")


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
    device_keys: dict[AgentId, SecretStr] = Field(
        default_factory=dict,
        max_length=2000,
        description="Agents' own keys, by UUID, for requests that want them; ${file:…} keeps them out of this file.",
    )
    profile_changes: dict[str, Any] = Field(
        default_factory=dict, description="What of the profile is otherwise at this server; laid over it."
    )
    agents_period: Duration = Field(60.0, ge=30, le=3600, description="How often the list of agents is read.")
    health_period: Duration = Field(60.0, ge=30, le=3600, description="How often each agent's endpoints are read.")
    detail_period: Duration = Field(
        300.0, ge=60, le=86_400, description="How often each agent's versions and devices are read."
    )
    incidents_period: Duration = Field(30.0, ge=10, le=3600, description="How often incidents and alerts are read.")
    jobs_period: Duration = Field(60.0, ge=10, le=3600, description="How often jobs are read.")
    readings: Literal["auto", "always", "never"] = Field(
        "auto", description="Whether readings are polled; auto: where there is no mqtt. REST has numbers only."
    )
    readings_period: Duration = Field(30.0, ge=10, le=3600, description="How often readings are read, where they are.")
    hourly: tuple[str, ...] = Field(
        (), max_length=50, description="Metrics whose hours and days are read (average, minimum, maximum)."
    )
    audit: bool = Field(False, description="Tell the vendor's audit events; the user must be an administrator.")
    max_backfill: Duration = Field(
        7 * 86_400.0, ge=0, le=30 * 86_400, description="How far back what MQTT missed is read."
    )
    target_states: dict[str, TargetState] = Field(
        default_factory=dict, max_length=100, description="Target states that commands may send, by name; none: none."
    )
