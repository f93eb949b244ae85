"""One MQTT session: connect, publish in batches, receive, say goodbye. Never reconnects by itself.

Its owner makes a new Link per connection, because an MQTT will is fixed at CONNECT (design.md 2.5, invariant 13).
Backend: aiomqtt (paho) for connection, TLS and protocol; publishing does not wait per message.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, SecretStr

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class BrokerConfig(BaseModel):
    """How to reach an MQTT broker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", description="Name or address of the broker.")
    port: int = Field(1883, ge=1, le=65535, description="TCP port; 8883 is usual with TLS.")
    username: str | None = Field(None, description="User name, if the broker wants one.")
    password: SecretStr | None = Field(
        None, description="Password; write ${VAR} or ${file:path}, never the word itself."
    )
    protocol: str = Field(
        "3.1.1", pattern=r"^(3\.1\.1|5)$", description="MQTT version. amqtt, the embedded broker, speaks 3.1.1 only."
    )
    keep_alive: int = Field(30, ge=5, le=3600, description="Seconds; a silent break is noticed after 1.5 of them.")
    tls: bool = Field(False, description="Encrypt with TLS and verify the broker's certificate and host name.")
    ca_file: str | None = Field(None, description="PEM file of the authority that signed the broker's certificate.")


@dataclass(frozen=True, slots=True)
class Message:
    """One received or to-be-published message."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    expiry_s: int | None = None
    """MQTT 5 message expiry; dropped on 3.1.1."""
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_properties: tuple[tuple[str, str], ...] = field(default=())


class Link:
    """An MQTT session that is up. Made by `connect`, used by one task, ended by leaving its context."""

    @classmethod
    def connect(cls, broker: BrokerConfig, client_id: str, *, will: Message | None = None, clean: bool = True) -> Link:
        """A link to be entered with `async with`; entering raises LinkLost or LinkRefused."""
        raise NotImplementedError

    async def __aenter__(self) -> Link:
        raise NotImplementedError

    async def __aexit__(self, *exception: object) -> None:
        raise NotImplementedError

    @property
    def protocol(self) -> str:
        """The MQTT version in use, "3.1.1" or "5"."""
        raise NotImplementedError

    def publish(self, message: Message) -> None:
        """Put a message on its way, in order. Does not wait; raises LinkLost when the session is over.

        Call `drain` at least once per batch: it is what keeps memory bounded.
        """
        raise NotImplementedError

    async def drain(self) -> None:
        """Wait until what was published is (nearly) written, and QoS 1 acknowledgements keep up. Raises LinkLost."""
        raise NotImplementedError

    async def flush(self, timeout_s: float) -> bool:
        """Wait until everything published is written and acknowledged; False if that took too long."""
        raise NotImplementedError

    async def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        """Subscribe and wait for SUBACK. Raises SubscribeRefused, LinkLost."""
        raise NotImplementedError

    def messages(self) -> AsyncIterator[Message]:
        """Messages as they arrive; ends by raising LinkLost. One reader; bounded, the oldest dropped and counted."""
        raise NotImplementedError

    async def disconnect(self, *, with_will: bool = False) -> None:
        """Say DISCONNECT now; MQTT 5 with reason 0x04 (Disconnect with Will Message) if `with_will`."""
        raise NotImplementedError
