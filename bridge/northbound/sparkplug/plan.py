"""The plant as an edge node: its own metrics, its devices, and which of them a tag belongs to. Pure."""

from __future__ import annotations

from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from bridge.model.plant import ALIVE, PlantChange
from bridge.model.status import StatusCode
from bridge.model.value import bad
from bridge.northbound.sparkplug.alias import AliasedNames, Aliases
from bridge.northbound.sparkplug.command_metric import CommandMetrics, signature
from bridge.northbound.sparkplug.metric import Stamps, TagMetric

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from bridge.model.plant import Machine, Plant
    from bridge.model.tag import Tag
    from bridge.model.value import DataValue
    from bridge.northbound.sparkplug.codec import MetricEncoder, Payload
    from bridge.northbound.sparkplug.config import SparkplugConfig
    from bridge.ports import TagView


_time = itemgetter(0)
"""Of a change."""


class MetricSet:
    """The metrics of one machine, or of the node itself: all it will ever report until its next birth."""

    def __init__(self, machine: Machine, config: SparkplugConfig, aliases: Aliases | None = None) -> None:
        self.machine = machine
        self.metrics = {
            tag.slot: TagMetric(
                tag,
                sends_quality=config.quality,
                datatype_in_data=config.datatype_in_data,
                takes_commands=config.commands.enabled,
            )
            for tag in machine.tags
        }
        is_open, typed = config.commands.enabled, config.datatype_in_data
        self.commands = CommandMetrics(machine, datatype_in_data=typed) if is_open else None
        """What hosts may tell this machine; None while the door is closed."""
        self._aliased = None if aliases is None else AliasedNames(aliases, self._encoders())
        self._alive = machine.tag(ALIVE)
        self._stamps = Stamps()

    @property
    def id(self) -> str:
        """The device id: the machine's."""
        return self.machine.id

    def succeed(self, before: MetricSet) -> None:
        """Take the place of the set that hosts know; until its birth they hold what that one said."""
        known = {metric.tag.name: metric for metric in before.metrics.values()}
        for metric in self.metrics.values():
            if metric.tag.name in known:
                metric.succeed(known[metric.tag.name])

    def is_alive(self, view: TagView) -> bool:
        """The machine's alive rule holds; a machine without that tag always lives."""
        if self._alive is None:
            return True
        value = _read(view, self._alive)
        return value is not None and value.value is True

    def birth(self, view: TagView, now: datetime, now_ms: int) -> list[bytes]:
        """Every metric with its current value, in order of time; what the bridge says of itself is the newest.

        tck-id-operational-behavior-data-publish-nbirth-order, tck-id-operational-behavior-data-publish-dbirth-order.
        """
        if self._aliased is not None:
            self._aliased.announce()
        gone = bad(StatusCode.BadOutOfService, "The tag is no longer part of the plant", now)
        tags = []
        for metric in self.metrics.values():
            encoded = metric.birth(_read(view, metric.tag) or gone, now_ms, self._stamps)
            tags.append((metric.said_ms, encoded))
        tags.sort(key=_time)
        commands = () if self.commands is None else self.commands.birth(now_ms)
        return [*(encoded for _, encoded in tags), *commands]

    def data(self, values: Iterable[tuple[int, DataValue]], now_ms: int) -> list[bytes]:
        """The metrics that changed, in order of time (tck-id-operational-behavior-data-publish-dbirth-order)."""
        metrics, stamps = self.metrics, self._stamps
        changes = []
        for slot, value in values:
            metric = metrics.get(slot)
            change = None if metric is None else metric.data(value, now_ms, stamps)
            if change is not None:
                changes.append(change)
        changes.sort(key=_time)
        return [encoded for _, encoded in changes]

    def past(self, values: Iterable[tuple[int, DataValue]]) -> list[bytes]:
        """Values that hosts missed, in order of time, as historical metrics; those of unknown tags are left out."""
        metrics, stamps = self.metrics, self._stamps
        return [metrics[slot].past(value, stamps)[1] for slot, value in values if slot in metrics]

    def named(self, payload: Payload) -> Payload:
        """A received payload with names where it has aliases of the last birth instead (facts 5.7)."""
        if self._aliased is None:
            return payload
        known, aliased = self._encoders(), self._aliased
        return replace(
            payload,
            metrics=tuple(
                replace(one, name=aliased.name(one.alias) or one.name)
                if one.alias is not None and one.name not in known
                else one
                for one in payload.metrics
            ),
        )

    def _encoders(self) -> dict[str, MetricEncoder]:
        tags = {metric.tag.name: metric.encoder for metric in self.metrics.values()}
        return tags if self.commands is None else tags | self.commands.encoders


class Follow(NamedTuple):
    """What a change of the plant means: devices to let die, devices to look at for a birth, or everything anew."""

    die: tuple[str, ...]
    look_at: tuple[str, ...]
    is_node_changed: bool


class Plan:
    """The edge node's metrics and devices."""

    def __init__(self, bridge: Machine, config: SparkplugConfig) -> None:
        self._config = config
        self.aliases = Aliases() if config.aliases else None
        """Shared by the node and its devices; None while metrics go by their names."""
        self._owners: dict[int, MetricSet] = {}
        self.devices: dict[str, MetricSet] = {}
        self.node = self._own(MetricSet(bridge, config, self.aliases))

    def begin_births(self) -> None:
        """An NBIRTH comes next: what was announced before it counts no more."""
        if self.aliases is not None:
            self.aliases.births += 1

    def difference(self, plant: Plant) -> PlantChange:
        """What to follow to be this plant: needed after a time without batches."""
        gone = tuple(device.machine for device in self.devices.values() if device.id not in plant.machines)
        known = {self.node.machine, *(device.machine for device in self.devices.values())}
        return PlantChange(tuple(machine for machine in plant.everything() if machine not in known), gone)

    def by_owner(self, values: Mapping[int, DataValue]) -> dict[MetricSet, list[tuple[int, DataValue]]]:
        """Values sorted to the metric set each belongs to; those of unknown tags are left out."""
        sorted_values: dict[MetricSet, list[tuple[int, DataValue]]] = {}
        owners = self._owners
        for slot, value in values.items():
            owner = owners.get(slot)
            if owner is not None:
                sorted_values.setdefault(owner, []).append((slot, value))
        return sorted_values

    def follow(self, change: PlantChange) -> Follow:
        """Take over a change of the plant (facts 5.6). What was taken over already changes nothing."""
        die = [machine.id for machine in change.removed if self._forget(machine.id)]
        look_at: list[str] = []
        is_node_changed = False
        for machine in (*change.added, *(one.after for one in change.changed)):
            if machine.id == self.node.id:
                is_node_changed |= self._replace_node(machine)
            elif self._replace(machine):
                die.append(machine.id)
                look_at.append(machine.id)
        return Follow(tuple(die), tuple(look_at), is_node_changed)

    def _replace_node(self, machine: Machine) -> bool:
        if not _is_news(self.node, machine):
            return False
        self.node = self._own(self._successor(self.node, machine))
        return True

    def _replace(self, machine: Machine) -> bool:
        known = self.devices.get(machine.id)
        if known is not None:
            if not _is_news(known, machine):
                return False
            self.devices[machine.id] = self._own(self._successor(known, machine))
        else:
            self.devices[machine.id] = self._own(MetricSet(machine, self._config, self.aliases))
        return True

    def _successor(self, known: MetricSet, machine: Machine) -> MetricSet:
        self._disown(known)
        successor = MetricSet(machine, self._config, self.aliases)
        successor.succeed(known)
        return successor

    def _forget(self, machine_id: str) -> bool:
        gone = self.devices.pop(machine_id, None)
        if gone is not None:
            self._disown(gone)
        return gone is not None

    def _own(self, owner: MetricSet) -> MetricSet:
        self._owners.update(dict.fromkeys(owner.metrics, owner))
        return owner

    def _disown(self, owner: MetricSet) -> None:
        for slot in owner.metrics:
            self._owners.pop(slot, None)


def _is_news(known: MetricSet, machine: Machine) -> bool:
    """Hosts would see a difference in the births; where not, the machine is taken over silently."""
    if known.machine is machine:
        return False
    if [*map(_signature, known.machine.tags)] != [*map(_signature, machine.tags)]:
        return True
    if known.commands is not None and signature(known.machine) != signature(machine):
        return True
    known.machine = machine
    return False


def _signature(tag: Tag) -> tuple[object, ...]:
    one = tag.definition
    enumeration = tuple(one.enumeration.items()) if one.enumeration else ()
    return (tag.slot, tag.name, one.data_type, one.unit, one.eu_range, enumeration, one.description, one.writable)


def _read(view: TagView, tag: Tag) -> DataValue | None:
    try:
        return view.read(tag)
    except KeyError:  # the plant has changed, and our batch that says so is on its way
        return None
