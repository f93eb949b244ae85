"""What the tests of the mapping room share: a mapping from a few lines of YAML, and one part of a machine to feed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from bridge.config.documents import parse_document
from bridge.mapping.compile import CompiledMapping, compile_mapping
from bridge.mapping.projection import PartProjection
from bridge.mapping.schema import MappingFile
from bridge.model.observation import Observation
from bridge.model.status import StatusCode
from bridge.model.value import DataValue, Value

START = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)

HEAD = """
version: 1
mapping: test/machine
match: {vendor: 1}
channels: {live: {periodic: 1s}, state: {on_change: true, alive_by: live}}
"""


class Found(NamedTuple):
    """One compile fault."""

    path: tuple[str | int, ...]
    problem: str
    expected: str
    hint: str


def mapping_file(text: str, head: str = HEAD) -> MappingFile:
    """The mapping file made of these lines."""
    return MappingFile.model_validate(parse_document(head + text, "test.yaml").data)


def compiled(text: str, overrides: Mapping[str, Any] | None = None, head: str = HEAD) -> CompiledMapping:
    """The mapping, which has no faults."""
    found: list[Found] = []
    result = compile_mapping(mapping_file(text, head), lambda *fault: found.append(Found(*fault)), overrides)
    assert not found
    return result


def faults(text: str, overrides: Mapping[str, Any] | None = None, head: str = HEAD) -> list[Found]:
    """What is wrong with the mapping."""
    found: list[Found] = []
    compile_mapping(mapping_file(text, head), lambda *fault: found.append(Found(*fault)), overrides)
    return found


class Rig:
    """A part of a machine, fed with payloads; `values` holds what each tag was last said to be."""

    def __init__(self, mapping: CompiledMapping | str) -> None:
        self.mapping = compiled(mapping) if isinstance(mapping, str) else mapping
        self.slots: dict[str, int] = {}
        counter = itertools.count()
        self.projection = PartProjection(self.mapping, lambda name: self.slots.setdefault(name, next(counter)))
        self.names = {slot: name for name, slot in self.slots.items()}
        self.values: dict[str, DataValue] = {}
        self.at = 0.0

    def see(
        self,
        channel: str,
        payload: Any,
        after: float = 1.0,
        source_time: datetime | None = None,
        historical: bool = False,
    ) -> dict[str, DataValue]:
        """What this payload changes, by tag name; `after` seconds after the one before."""
        self.at += after
        observation = Observation(
            "vendor", "machine", channel, payload, self.now, source_time=source_time, historical=historical
        )
        return self._named(self.projection.project(observation))

    def restate(self, channel: str, after: float = 1.0) -> dict[str, DataValue]:
        """The channel's last payload again."""
        self.at += after
        return self._named(self.projection.restate(channel, self.now))

    def _named(self, pairs: Any) -> dict[str, DataValue]:
        said = {self.names[slot]: value for slot, value in pairs}
        self.values.update(said)
        return said

    @property
    def now(self) -> datetime:
        """The time of the last observation."""
        return START + timedelta(seconds=self.at)

    def value(self, name: str) -> Value:
        """The value of a Good tag."""
        said = self.values[name]
        assert said.status is StatusCode.Good, said
        return said.value

    def status(self, name: str) -> StatusCode:
        """The status of a tag."""
        return self.values[name].status
