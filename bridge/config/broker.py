"""What a person says about the embedded MQTT broker in `broker:`."""

from __future__ import annotations

import ipaddress

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class EmbeddedBrokerConfig(BaseModel):
    """A small MQTT 3.1.1 broker inside the bridge, for a demo or a small site without one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(False, description="Run the embedded broker.")
    host: str = Field("127.0.0.1", description="Address it listens on; anonymous clients are let in on loopback only.")
    port: int = Field(1883, ge=0, le=65535, description="TCP port.")
    users: dict[str, SecretStr] = Field(
        default_factory=dict,
        max_length=100,
        description="Passwords by user name; write ${VAR} or ${file:path}. With none, everybody is let in.",
    )

    def is_reached_at(self, host: str, port: int) -> bool:
        """Whether a client that connects there finds this broker."""
        own = self.host == host or (is_loopback(host) and (is_loopback(self.host) or _is_any(self.host)))
        return self.enabled and own and self.port == port

    @model_validator(mode="after")
    def _anonymous_stays_at_home(self) -> EmbeddedBrokerConfig:
        if not self.users and not is_loopback(self.host):
            raise ValueError(f"host {self.host} is not loopback: name users, or listen on 127.0.0.1")
        return self


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether a name or address is this computer's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
