"""What a person says about an MQTT broker."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from bridge.transport.mqtt_version import Protocol


class BrokerConfig(BaseModel):
    """How to reach an MQTT broker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", description="Name or address of the broker.")
    port: int = Field(1883, ge=1, le=65535, description="TCP port; 8883 is usual with TLS.")
    username: str | None = Field(None, description="User name, if the broker wants one.")
    password: SecretStr | None = Field(
        None, description="Password; write ${VAR} or ${file:path}, never the word itself."
    )
    protocol: Protocol = Field(
        "auto", description="MQTT version; auto: 5, or 3.1.1 where the broker does not speak 5, as the embedded one."
    )
    keep_alive: int = Field(30, ge=5, le=3600, description="Seconds; a silent break is noticed after 1.5 of them.")
    tls: bool = Field(False, description="Encrypt with TLS and verify the broker's certificate and host name.")
    ca_file: str | None = Field(None, description="PEM file of the authority that signed the broker's certificate.")

    @field_validator("protocol", mode="before")
    @classmethod
    def _may_be_a_number(cls, protocol: object) -> object:
        return "5" if protocol == 5 else protocol  # YAML reads an unquoted 5 so

    @property
    def where(self) -> str:
        """As host:port."""
        return f"{self.host}:{self.port}"
