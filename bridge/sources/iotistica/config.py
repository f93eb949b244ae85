"""What a person writes about an Iotistica installation and its agents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from bridge.sources._rules import MachineChoice, RuleFault, SourceRules
from bridge.sources.iotistica.mqtt.config import AgentId, MqttRules
from bridge.sources.iotistica.rest.config import RestRules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.model.calendar import Calendar

HAZARD_NAMES = Literal["heat", "motion", "power", "protection", "loses_data", "loses_tension"]


def _tenant(text: str) -> str:
    if not re.fullmatch(r"[^/+#\0\s]{1,64}", text):
        raise ValueError("not a tenant: one level of a topic, such as self-hosted, or an id of 12 hexadecimal digits")
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return text


class IotisticaConfig(SourceRules):
    """One Iotistica installation: its agents by MQTT, its cloud by REST and WebSocket, or both."""

    type: Literal["iotistica"] = Field(description="The vendor.")
    profile: str = Field(
        "actual",
        min_length=1,
        max_length=500,
        description="What the API looks like: actual (as its code is), documented (as its page is), or a file.",
    )
    tenant: Annotated[str, AfterValidator(_tenant)] = Field(
        "self-hosted", description="Tenant id; of an installation of your own, self-hosted."
    )
    agents: Literal["all"] | tuple[AgentId, ...] = Field(
        "all", description="Agents that are read, by UUID, or all that are seen."
    )
    mqtt: MqttRules | None = Field(None, description="Agents by MQTT: telemetry and state, as they publish it.")
    rest: RestRules | None = Field(None, description="The cloud by REST: inventory, incidents, jobs and backfill.")
    websocket: bool = Field(False, description="Agents' health by WebSocket; needs rest.")
    writes: bool = Field(False, description="Allow commands: writes to devices' points by MQTT, and those of REST.")
    allow: tuple[Annotated[str, AfterValidator(_pattern)], ...] = Field(
        (),
        max_length=200,
        description="Points that may be written: regular expressions of the whole of <device>/<point>; none: all that "
        "a mapping names and the agent marks as writable.",
    )
    allow_hazards: tuple[HAZARD_NAMES, ...] = Field(
        (), description="Hazards that commands of your mapping may carry; DeviceWrite carries none."
    )

    @model_validator(mode="after")
    def _has_a_way(self) -> Self:
        if self.mqtt is None and self.rest is None:
            raise ValueError("nothing would be read: write mqtt, rest, or both")
        if self.websocket and self.rest is None:
            raise ValueError("websocket: true needs rest: its token comes from there")
        return self

    @property
    def accepts_writes(self) -> bool:
        """Commands may go to this source."""
        return self.writes

    @property
    def hazards(self) -> frozenset[str]:
        """The hazards that commands may carry."""
        return frozenset(self.allow_hazards)

    @property
    def part_of_limit(self) -> tuple[str, float] | None:
        """The API's host: callers with a token are counted by their address (facts 1.4)."""
        if self.rest is None:
            return None
        return f"this address at {urlsplit(self.rest.url).hostname}", self.rest.share

    def is_read(self, agent: str) -> bool:
        """This source reads this agent."""
        return self.agents == "all" or agent in self.agents

    def hints(self) -> dict[str, str | int]:
        """The vendor, and whether its cloud is asked: what chooses the mapping."""
        known: dict[str, str | int] = {"vendor": "iotistica"}
        return known if self.rest is None else {**known, "cloud": "rest"}

    def faults(self, machines: Mapping[str, Mapping[str, str | int]], calendar: Calendar | None) -> Iterator[RuleFault]:
        """Agents that are named and would not be read, or not be written to."""
        for agent in machines:
            if not self.is_read(agent):
                yield RuleFault(("agent",), f"{agent} is not among the agents of its source", "agents: all", agent)


class IotisticaMachine(MachineChoice):
    """Which agent of an installation."""

    agent: AgentId = Field(description="Its UUID.", examples=["d9069bba-f80e-424a-9c4c-583ea4deb9a4"])

    def key(self) -> str:
        """The machine as observations name it: the agent's UUID, in lower case."""
        return self.agent

    def identity(self) -> dict[str, str | int]:
        """What `match:` of a mapping is compared with."""
        return {"vendor": "iotistica", "agent": self.agent, "serial": self.agent}
