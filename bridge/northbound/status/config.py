"""StatusConfig: where the status page and the admin API listen."""

from __future__ import annotations

import ssl
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bridge.northbound.status.host import is_loopback


class StatusConfig(BaseModel):
    """`northbound.status` of a site: the status page, health, metrics and the admin API."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        max_length=255,
        description="Address to listen on. Anything but loopback wants cert_file and key_file, and somebody with a "
        "password in northbound: opcua: users.",
    )
    port: int = Field(8080, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    cert_file: str | None = Field(
        None, min_length=1, description="Certificate for HTTPS, with those between it and its authority (PEM)."
    )
    key_file: str | None = Field(None, min_length=1, description="Its private key (PEM, without a password).")
    names: tuple[str, ...] = Field(
        (),
        max_length=20,
        description="Names under which a reverse proxy on this computer serves the page, where it is on loopback: "
        "requests for other names are refused.",
        examples=[["bridge.acme.example"]],
    )
    unencrypted: bool = Field(
        False,
        description="Listen without HTTPS though not on loopback, because something in front of it encrypts (a reverse "
        "proxy, a container's own network). Passwords are readable on the way up to there.",
    )

    @model_validator(mode="after")
    def _is_encrypted_elsewhere(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together: write both, or none")
        if not self.is_local and self.cert_file is None and not self.unencrypted:
            raise ValueError(
                f"host {self.host} is not loopback: write cert_file and key_file, or listen on 127.0.0.1, or say "
                "unencrypted: true where a reverse proxy in front of it encrypts"
            )
        return self

    @property
    def is_local(self) -> bool:
        """Only this computer can reach it."""
        return is_loopback(self.host)


def tls_fault(config: StatusConfig) -> str:
    """Why cert_file and key_file cannot be used; "" where they can, or there are none. Reads them."""
    if config.cert_file is None:
        return ""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(config.cert_file, config.key_file, password="")
    except ssl.SSLError as error:  # it is an OSError as well
        return f"{config.cert_file} and {config.key_file} are no certificate and its key in PEM ({error.reason})"
    except OSError as error:
        return f"{config.cert_file} or {config.key_file} cannot be read: {(error.strerror or str(error)).lower()}"
    return ""
