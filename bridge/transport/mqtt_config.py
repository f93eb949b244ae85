"""What a person says about an MQTT broker."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from bridge.transport.mqtt_version import Protocol

TLS_FILES = ("ca_file", "cert_file", "key_file")


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
    cert_file: str | None = Field(
        None, description="PEM file of our own certificate, for brokers that want one (mutual TLS)."
    )
    key_file: str | None = Field(None, description="PEM file of its private key; without it, cert_file holds both.")
    key_password: SecretStr | None = Field(
        None, description="Password of the private key; write ${VAR} or ${file:path}, never the word itself."
    )
    server_name: str | None = Field(
        None,
        min_length=1,
        description="Name in the broker's certificate where that is not host, as for brokers reached by an address.",
    )

    @field_validator("host")
    @classmethod
    def _is_no_url(cls, host: str) -> str:
        """A URL would be shown wherever the broker is named, with the password in it."""
        if not host or any(one in host for one in "/@ ") or (host.count(":") == 1):
            raise ValueError("not a name or an address: port, tls, username and password are written beside it")
        return host

    @field_validator("protocol", mode="before")
    @classmethod
    def _may_be_a_number(cls, protocol: object) -> object:
        return "5" if protocol == 5 else protocol  # YAML reads an unquoted 5 so

    @model_validator(mode="after")
    def _tls_options_need_tls(self) -> Self:
        idle = [name for name in (*TLS_FILES, "key_password", "server_name") if getattr(self, name) is not None]
        if idle and not self.tls:
            raise ValueError(f"without tls: true, {', '.join(idle)} would do nothing: write tls: true, or take it out")
        if self.cert_file is None and (self.key_file is not None or self.key_password is not None):
            raise ValueError("a private key without its certificate: write cert_file as well")
        return self

    @property
    def where(self) -> str:
        """As host:port."""
        return f"{self.host}:{self.port}"
