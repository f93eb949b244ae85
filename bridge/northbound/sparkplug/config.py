"""Configuration of the Sparkplug edge node."""

from __future__ import annotations

from string import Formatter
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bridge.model.command import Role
from bridge.northbound.sparkplug.topic import FORBIDDEN, id_fault
from bridge.transport.duration import Duration
from bridge.transport.mqtt import BrokerConfig

PLACEHOLDERS = ("enterprise", "site", "bridge")
"""What an id's template may name."""


class SparkplugCommands(BaseModel):
    """Whether hosts may command machines by DCMD, and as whom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(
        False, description="Take commands from whoever may publish DCMD at the broker; MQTT tells no user."
    )
    role: Role = Field(Role.OPERATOR, description="The role of everybody who commands this way.")


class SparkplugConfig(BaseModel):
    """How the plant appears in Sparkplug B 3.0: one edge node, and one device for each machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(True, description="Publish the plant as a Sparkplug edge node.")
    broker: BrokerConfig | Annotated[tuple[BrokerConfig, ...], Field(min_length=1, max_length=8)] = Field(
        default_factory=lambda: BrokerConfig(),
        description="The broker, or a list of them: the next one is used when one fails. A connection of its own.",
    )
    group_id: str = Field(
        "{enterprise}:{site}", description="Sparkplug group id; may name {enterprise}, {site} and {bridge}."
    )
    edge_node_id: str = Field(
        "{bridge}",
        description="Sparkplug edge node id, unique in its group; may name {enterprise}, {site} and {bridge}.",
    )
    client_id: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="MQTT client id; by default made from group and edge node id, so that a broker refuses a twin.",
    )
    primary_host_id: str | None = Field(
        None,
        description="Publish only while the host application of this id is online; else try the next broker.",
    )
    primary_host_timeout: Duration = Field(
        30, ge=1, le=3600, description="How long to wait for the primary host at one of several brokers."
    )
    legacy_host_state: bool = Field(
        False, description="Also take ONLINE and OFFLINE on STATE/<id>, as hosts of before Sparkplug 3.0 say it."
    )
    birth_jitter: Duration = Field(
        0,
        ge=0,
        le=300,
        description="Births after a connection wait a random time up to this; for many bridges at one host.",
    )
    max_packet_size: int | None = Field(
        None,
        ge=1024,
        le=268_435_455,
        description="Largest MQTT packet in bytes, for brokers that do not say theirs (MQTT 3.1.1); cloud: 131072.",
    )
    publish_interval: Duration = Field(
        0.25, ge=0.01, le=60, description="Changes are gathered for so long into one message per device."
    )
    backfill_rate: float = Field(
        500, ge=1, le=100_000, description="Values of the past (history: true) published in a second, at most."
    )
    aliases: bool = Field(
        False,
        description="DATA messages have numbers for names: smaller, but a host that missed a birth learns nothing.",
    )
    datatype_in_data: bool = Field(
        False, description="Repeat each metric's data type in DATA messages, for decoders that do not keep births."
    )
    commands: SparkplugCommands = Field(
        default_factory=lambda: SparkplugCommands(),
        description="Commands by DCMD: set points and commands of machines.",
    )
    quality: bool = Field(True, description="Send the property Quality (0 bad, 500 stale) where a value is not good.")

    @property
    def brokers(self) -> tuple[BrokerConfig, ...]:
        """The brokers, in the order to try them."""
        return self.broker if isinstance(self.broker, tuple) else (self.broker,)

    @field_validator("group_id", "edge_node_id")
    @classmethod
    def _names_what_exists(cls, template: str) -> str:
        for literal, name, _, _ in Formatter().parse(template):
            if FORBIDDEN & set(literal):
                raise ValueError(id_fault("id", literal))
            if name is not None and name not in PLACEHOLDERS:
                raise ValueError(f"unknown placeholder {{{name}}}; known are {', '.join(PLACEHOLDERS)}")
        return template

    @field_validator("primary_host_id")
    @classmethod
    def _is_an_id(cls, host_id: str | None) -> str | None:
        if host_id is not None and (fault := id_fault("primary host id", host_id)):
            raise ValueError(fault)
        return host_id

    @model_validator(mode="after")
    def _host_options_need_a_host(self) -> Self:
        idle = {"primary_host_timeout", "legacy_host_state"} & self.model_fields_set
        if idle and self.primary_host_id is None:
            names = ", ".join(sorted(idle))
            raise ValueError(f"without primary_host_id, {names} would do nothing: write it, or take them out")
        return self
