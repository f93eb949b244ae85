"""What a person writes about the broker that Iotistica's agents publish to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from bridge.transport.duration import Duration
from bridge.transport.mqtt_config import BrokerConfig

if TYPE_CHECKING:
    from collections.abc import Iterator


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise ValueError("not a UUID; an agent's looks like d9069bba-f80e-424a-9c4c-583ea4deb9a4") from None


def _filter(text: str) -> str:
    levels = text.split("/")
    if "\0" in text or any(("+" in level and level != "+") or "#" in level for level in levels[:-1]):
        raise ValueError("not a topic filter: + stands for a whole level, # for the rest at the end")
    if ("#" in levels[-1] and levels[-1] != "#") or ("+" in levels[-1] and levels[-1] != "+"):
        raise ValueError("not a topic filter: + stands for a whole level, # for the rest at the end")
    if text.startswith("$"):
        raise ValueError("topics that begin with $ are the broker's own")
    return text


AgentId = Annotated[str, AfterValidator(_uuid)]
TopicFilter = Annotated[str, AfterValidator(_filter), Field(min_length=1, max_length=1000)]


class Destination(BaseModel):
    """A topic that an agent, or EMQX Neuron, publishes to by a name of its own (ECP, Tags, ML or the agent's form)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: TopicFilter = Field(description="Topic filter.", examples=["plant/line1/ecp"])
    agent: AgentId = Field(description="UUID of the agent whose values come there; for another product, any.")


class MqttRules(BaseModel):
    """Iotistica by MQTT."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    broker: BrokerConfig = Field(
        default_factory=BrokerConfig,
        description="The broker of Iotistica, or the one in the plant that agents publish to.",
    )
    vendor_topics: bool = Field(
        True, description="Subscribe to what agents tell the cloud: i/<tenant>/a/+/… ; its telemetry and its state."
    )
    destinations: tuple[Destination, ...] = Field(
        (), max_length=200, description="Topics of your own that agents publish to (an external MQTT destination)."
    )
    report_period: Duration = Field(
        120.0,
        ge=5,
        le=3600,
        description="How often something of an agent is heard at least; three of them missed: it is gone. Agents tell "
        "their figures every five minutes, whatever else they say.",
    )
    answer_within: Duration = Field(
        6.0, ge=1, le=30, description="How long an agent may take to answer a write; it gives up after 5 s itself."
    )

    @model_validator(mode="after")
    def _hears_something(self) -> Self:
        if not self.vendor_topics and not self.destinations:
            raise ValueError("nothing would be heard: vendor_topics: true, or destinations")
        seen: set[str] = set()
        for one in self.destinations:
            if one.topic in seen:
                raise ValueError(f"{one.topic} is written twice: nobody could tell whose values come there")
            seen.add(one.topic)
        return self

    def named_agents(self) -> Iterator[str]:
        """Agents that destinations name."""
        yield from dict.fromkeys(one.agent for one in self.destinations)
