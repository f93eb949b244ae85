"""From a source's configuration to the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bridge.config.site import SourceConfig
    from bridge.model.calendar import Calendar
    from bridge.ports import Clock, Executor, Memory, Source


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the house gives a source. `wanted` are the machines it reads, None for all."""

    clock: Clock
    wanted: Collection[str] | None
    memory: Memory
    calendar: Calendar | None
    """The site's days and shifts; None where the site does not tell its time zone."""
    machines: Mapping[str, Mapping[str, str | int]]
    """What the configuration says of the machines it names, by their keys."""


def make_source(name: str, config: SourceConfig, house: Surroundings) -> Source:
    """The source that `config` describes. No I/O."""
    if config.type == "quantiix":
        from bridge.sources.quantiix.source import QuantiixSource  # here: a vendor's room is for those who have it

        return QuantiixSource(name, config, house.clock, house.memory, house.calendar, house.wanted)
    if config.type == "trackmymachines":
        from bridge.sources.trackmymachines.source import TrackMyMachinesSource

        return TrackMyMachinesSource(
            name, config, house.clock, house.memory, house.calendar, house.wanted, house.machines
        )
    if config.type == "iotistica":
        from bridge.config.vendor_profile import profile_of
        from bridge.sources.iotistica.source import IotisticaSource

        profile = profile_of(config)
        return IotisticaSource(name, config, house.clock, house.memory, house.wanted, profile=profile)
    if config.type == "replay":
        from bridge.sources.replay.source import ReplaySource

        return ReplaySource(name, config, house.clock)
    from bridge.sources.qitech.source import QitechSource

    return QitechSource(name, config, house.clock, house.wanted)


def executor_of(source: Source) -> Executor | None:
    """Who carries out a source's commands; None for a source that takes none."""
    executor: Executor | None = getattr(source, "executor", None)
    return executor
