"""What a person says about the OPC UA server in `northbound: opcua:`."""

from __future__ import annotations

import ipaddress
import socket
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from bridge.model.command import Role
from bridge.model.email import is_email


class Trust(StrEnum):
    """Which client certificates are let in; see docs/decisions on client trust."""

    REQUIRED = "required"
    """Only those in pki/trusted, or issued by an authority that is there."""
    ANY_WITH_LOGIN = "any_with_login"
    """Every valid one; the user name and password alone decide."""


class Revocation(StrEnum):
    """What an authority must say of the clients it has signed; see docs/decisions on client trust."""

    REQUIRED = "required"
    """Its revocation list has to be in pki/crl; without one its clients are refused."""
    IF_KNOWN = "if_known"
    """A list counts where there is one."""


class OpcuaUser(BaseModel):
    """Somebody who may log in."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(min_length=1, max_length=64, description="User name.")
    password_hash: SecretStr | None = Field(
        None,
        description='Salted hash of the password, "scrypt$…"; `plantbridge users add NAME` and `passwd` make one.',
    )
    certificate: str | None = Field(
        None,
        pattern=r"^[0-9A-Fa-f]{40}([0-9A-Fa-f]{24})?$",
        description="Thumbprint (SHA-1 or SHA-256) of the certificate this user logs in with, instead of a password.",
    )
    role: Role = Field(Role.OBSERVER, description="Observer (reads), Operator (also writes and calls) or Engineer.")
    email: str | None = Field(
        None, repr=False, description="E-mail address that a vendor is told when this user starts something."
    )

    @field_validator("password_hash")
    @classmethod
    def _must_be_a_hash(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith("scrypt$"):
            raise ValueError("this is not a salted hash; it must begin with scrypt$")
        return value

    @model_validator(mode="after")
    def _can_log_in(self) -> OpcuaUser:
        if self.password_hash is None and self.certificate is None:
            raise ValueError("a user needs a password_hash or a certificate to log in with")
        return self

    @field_validator("email")
    @classmethod
    def _must_be_an_email(cls, value: str | None) -> str | None:
        if value is not None and not is_email(value):
            raise ValueError("this is no e-mail address")
        return value


class OpcuaLimits(BaseModel):
    """What one client, and all together, may take. Every one is enforced and, where OPC UA has a node, advertised."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connections: int = Field(100, ge=1, le=1000, description="TCP connections at a time.")
    connections_per_address: int = Field(50, ge=1, le=1000, description="TCP connections at a time from one address.")
    sessions: int = Field(50, ge=1, le=1000, description="Sessions at a time, with or without a connection.")
    subscriptions: int = Field(200, ge=1, le=10_000, description="Subscriptions at a time.")
    subscriptions_per_session: int = Field(10, ge=1, le=1000, description="Subscriptions of one session.")
    monitored_items: int = Field(100_000, ge=1, description="Monitored items of all sessions.")
    monitored_items_per_session: int = Field(20_000, ge=1, description="Monitored items of one session.")
    queue_size: int = Field(100, ge=1, le=10_000, description="Values kept per monitored item between two publishes.")
    event_fields_per_session: int = Field(
        1_000_000,
        ge=100,
        description="Fields of all events that may wait for one session; queues of event items are shortened to fit.",
    )
    operations: int = Field(1000, ge=10, le=10_000, description="Nodes in one read, write, browse, call or subscribe.")
    references_per_node: int = Field(1000, ge=10, le=10_000, description="References of a node in one Browse answer.")
    continuation_points: int = Field(20, ge=1, le=1000, description="Browses of one session that wait for BrowseNext.")
    login_within: float = Field(30.0, ge=1.0, le=600.0, description="Seconds a connection may be without a session.")
    message_size: int = Field(2**19, ge=65_536, le=16 * 2**20, description="Bytes of one request.")
    send_buffer: int = Field(16 * 2**20, ge=2**20, description="Bytes that may wait for a slow client; then it is cut.")
    retired_tags: int = Field(20_000, ge=0, description="Tags of vanished machines kept as BadOutOfService.")


class OpcuaConfig(BaseModel):
    """The OPC UA server."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    enabled: bool = Field(True, description="Serve OPC UA at all.")
    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 is every IPv4 interface.")
    port: int = Field(4840, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    hosts: tuple[str, ...] = Field(
        (),
        description=(
            "Names and addresses clients use for this server. They go into its certificate, once; the first is "
            "advertised. Empty: localhost and this machine's name."
        ),
    )
    application_uri: str | None = Field(
        None,
        pattern=r"^[a-zA-Z][a-zA-Z0-9+.-]*:\S+$",
        max_length=200,
        description="This server's ApplicationUri, in its certificate and as namespace 1; never change it. "
        "Default: urn:plantbridge:<bridge name>.",
    )
    pki: str | None = Field(
        None, description="Directory with own, trusted, rejected, issuers, crl. Default: pki in the state directory."
    )
    trust: Trust = Field(
        Trust.REQUIRED,
        description="required: only certificates in pki/trusted; any_with_login: every valid one, login decides.",
    )
    revocation: Revocation = Field(
        Revocation.REQUIRED,
        description="Of clients that a trusted authority has signed. required: without its revocation list in pki/crl "
        "they are refused; if_known: a list counts where there is one.",
    )
    users: tuple[OpcuaUser, ...] = Field((), max_length=200, description="Who may log in.")
    unsecured_read_only: bool = Field(
        False,
        description="Also offer an endpoint without encryption and without login, read only. Loopback hosts only.",
    )
    machinery: bool = Field(True, description="Show machines as OPC 40001-1 (Machinery) wants them.")
    sampling_interval_ms: int = Field(
        50, ge=10, le=1000, description="The fastest rate at which values are looked at, in milliseconds."
    )
    answer_within: float = Field(
        3.0,
        ge=0.1,
        le=60.0,
        description="Seconds after which a write or a call is answered BadTimeout while its command goes on; below the "
        "clients' own time-out, which is 4 or 5 s for many.",
    )
    handshake_timeout: float = Field(
        10.0, ge=0.1, le=600.0, description="Seconds after which a handshake object shows Error with BadTimeout."
    )
    trim: bool = Field(
        True,
        description="Cut NULs and blanks off the end of Strings that clients write; PLCs fill theirs up with them.",
    )
    limits: OpcuaLimits = Field(default_factory=OpcuaLimits, description="Bounds.")

    @field_validator("users")
    @classmethod
    def _names_are_unique(cls, users: tuple[OpcuaUser, ...]) -> tuple[OpcuaUser, ...]:
        if len({user.name for user in users}) != len(users):
            raise ValueError("two users have the same name")
        shown = [user.certificate.lower() for user in users if user.certificate]
        if len(set(shown)) != len(shown):
            raise ValueError("two users have the same certificate")
        return users

    @model_validator(mode="after")
    def _unsecured_stays_at_home(self) -> OpcuaConfig:
        if self.unsecured_read_only and not is_loopback(self.host):
            raise ValueError(
                f"unsecured_read_only is for loopback only, and host is {self.host}; "
                "listen on 127.0.0.1, or leave it out"
            )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The names and addresses of this server, the advertised one first."""
        if self.hosts:
            return self.hosts
        here = ("localhost", "127.0.0.1") if is_loopback(self.host) else (socket.gethostname(), "localhost")
        return tuple(dict.fromkeys((*here, socket.gethostname())))


def is_loopback(host: str) -> bool:
    """Only programs on this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


__all__ = ["OpcuaConfig", "OpcuaLimits", "OpcuaUser", "Revocation", "Role", "Trust", "is_loopback"]
