"""What a person says about plain topics in `northbound: uns:`."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bridge.model.command import Role
from bridge.northbound.uns import topic
from bridge.transport.duration import Duration
from bridge.transport.mqtt import BrokerConfig


class Preset(StrEnum):
    """The shape of a value's payload; see `bridge.northbound.uns.payload`."""

    VTQ = "vtq"
    """Value, time, quality, unit, and what is wrong when something is."""
    UMH = "umh"
    """United Manufacturing Hub: exactly `timestamp_ms` and `value`."""
    RAW = "raw"
    """The bare value as text."""


class UnsCommands(BaseModel):
    """Whether machines may be commanded by topic, and as whom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(
        False, description="Take commands from whoever may publish below a machine's cmd; MQTT tells no user."
    )
    role: Role = Field(Role.OPERATOR, description="The role of everybody who commands this way.")


class UnsConfig(BaseModel):
    """Plain MQTT topics of a Unified Namespace: one retained topic per tag."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(True, description="Publish plain topics at all.")
    broker: BrokerConfig = Field(
        default_factory=lambda: BrokerConfig.model_validate({}), description="The broker to publish to."
    )
    topic: str = Field(
        topic.DEFAULT_TEMPLATE,
        max_length=200,
        description="Branch of a machine; {enterprise}, {site}, {area}, {line} and {machine} are filled in, and levels "
        "that are empty left out. Tags, _meta, event and cmd hang below it.",
    )
    preset: Preset = Field(
        Preset.VTQ,
        description="Payload: vtq = JSON with value, timestamp (RFC 3339, UTC), quality, unit; umh = JSON with "
        "timestamp_ms and value only; raw = the bare value. umh and raw cannot say quality: while a tag is not Good, "
        "its topic is empty.",
    )
    qos: Literal[0, 1] = Field(1, description="MQTT quality of service of what is published.")
    publish_interval: Duration = Field(
        1.0,
        ge=0,
        le=3600,
        description="A tag is published at most once in this time, with its newest value; 0: at every change, as fast "
        "as the broker takes it.",
    )
    heartbeat: Duration = Field(
        60.0, ge=1, le=86_400, description="Every retained value is repeated within this time, so that silence is loss."
    )
    expiry: Duration = Field(
        300.0, ge=2, le=604_800, description="A broker that speaks MQTT 5 drops a retained value after this time."
    )
    meta: bool = Field(
        True, description="Publish a retained _meta document per machine: units, types, ranges, addresses of its tags."
    )
    backfill_rate: float = Field(
        500, ge=1, le=100_000, description="Values of the past (history: true) published in a second, at most."
    )
    snapshots: bool = Field(
        True,
        description="Answer whoever publishes to <machine>/_snapshot with all values of the machine, on the MQTT 5 "
        "response topic, else on <machine>/_snapshot/result.",
    )
    commands: UnsCommands = Field(
        default_factory=lambda: UnsCommands(),
        description="Commands on <machine>/cmd/Setpoints/<Tag> and <machine>/cmd/<Command>, answered on the MQTT 5 "
        "response topic, else on <same topic>/result.",
    )

    @field_validator("topic")
    @classmethod
    def _template_can_be_used(cls, template: str) -> str:
        if problem := topic.template_fault(template):
            raise ValueError(problem)
        return template

    @model_validator(mode="after")
    def _repeated_before_it_expires(self) -> UnsConfig:
        if self.heartbeat * 2 > self.expiry:
            raise ValueError(
                f"expiry ({self.expiry:g} s) must be at least twice heartbeat ({self.heartbeat:g} s), "
                "or values expire while everything is well"
            )
        return self


__all__ = ["Preset", "UnsCommands", "UnsConfig"]
