"""Schema drift: fields of vendors' answers that are new, gone, or of another kind than before.

    PartState.observe -> [every LOOK_EVERY_S of a channel] -> DriftWatch.look -> finding -> event, once

The first payload of a channel after a start is what later ones are compared with. A field that is null says nothing of
its kind. Told once for a mapping, not for each of its machines; counted always.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bridge.mapping.shape import Keys, Shape, path_of, rules_of, shape_of
from bridge.model.payload_path import MISSING, parse_path, placed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from bridge.model.observation import Observation

LOOK_EVERY_S = 10.0
"""A 30 Hz stream is looked at once in 300 payloads."""
MAX_FINDINGS = 500
"""Findings that are remembered, and told; beyond, they are only counted."""


class _Mark(NamedTuple):
    mapping: str
    channel: str
    kind: str
    path: str


@dataclass(slots=True)
class Finding:
    """One field that is not as it was. `kind`: "new", "gone" or "retyped"; `before` and `after` are data types."""

    mapping: str
    source: str
    machine: str
    channel: str
    kind: str
    path: str
    before: str
    after: str
    at: datetime
    count: int = 1


class DriftWatch:
    """Knows the shape of every channel of every machine. Shapes that are alike are one object."""

    def __init__(self, tell: Callable[[Finding], None]) -> None:
        self._tell = tell
        self._known: dict[tuple[str, str, str], Shape] = {}
        self._shared: dict[frozenset[tuple[Keys, str]], Shape] = {}
        self._findings: dict[_Mark, Finding] = {}
        self.total: dict[str, int] = {"new": 0, "gone": 0, "retyped": 0}

    @property
    def findings(self) -> list[Finding]:
        """All that were found, oldest first."""
        return [*self._findings.values()]

    def forget(self, source: str) -> None:
        """A source was closed, or is another now."""
        self._known = {key: shape for key, shape in self._known.items() if key[0] != source}

    def look(
        self, mapping: str, machine: str, observation: Observation, rows: Mapping[str, Sequence[Keys]] | None = None
    ) -> None:
        """One payload; `machine` is the plant's id.

        `rows` are lists of it, by channel, whose entries are of different points: those differ by nature.
        """
        key = observation.source, observation.machine, observation.channel
        shape, known = shape_of(observation.payload, by_index=False), self._known.get(key)
        if rows and (lists := rows.get(observation.channel)):
            shape = {keys: kind for keys, kind in shape.items() if not any(keys[: len(one)] == one for one in lists)}
        if known is None or shape == known:
            self._known.setdefault(key, self._one(shape))
            return
        for keys, kind, before, after in _differences(known, shape):
            self._found(mapping, machine, observation, keys, kind, before, after)
        kept = {keys: kind for keys, kind in shape.items() if kind != "null" or keys not in known}
        self._known[key] = self._one({**known, **kept})

    def _one(self, shape: Shape) -> Shape:
        if len(self._shared) > MAX_FINDINGS:
            self._shared.clear()
        return self._shared.setdefault(frozenset(shape.items()), shape)

    def _found(
        self, mapping: str, machine: str, observed: Observation, keys: Keys, kind: str, before: str, after: str
    ) -> None:
        self.total[kind] += 1
        mark = _Mark(mapping, observed.channel, kind, path_of(observed.channel, keys))
        if (known := self._findings.get(mark)) is not None:
            known.count += 1
        elif len(self._findings) < MAX_FINDINGS:
            source, at = observed.source, observed.received
            found = Finding(mapping, source, machine, observed.channel, kind, mark.path, before, after, at)
            self._findings[mark] = found
            self._tell(found)


def _differences(known: Shape, shape: Shape) -> list[tuple[Keys, str, str, str]]:
    found = []
    for keys, after in shape.items():
        before = known.get(keys)
        if before is None:
            found.append((keys, "new", "", after))
        elif after != before and "null" not in (before, after):
            found.append((keys, "retyped", before, after))
    has_deeper = {keys[:length] for keys in shape for length in range(len(keys))}
    for keys, before in known.items():
        if keys not in shape and keys not in has_deeper and before != "null":
            found.append((keys, "gone", before, ""))
    return found


def sentence(found: Finding) -> str:
    """For an event and a log."""
    where = f"{found.path} of {found.mapping or found.source}"
    if found.kind == "new":
        return f"{where} is new ({found.after}): the vendor sends a field that no mapping knew"
    if found.kind == "gone":
        return f"{where} is gone: the vendor does not send it any more"
    return f"{where} was {found.before} and is {found.after} now"


def patch(found: Sequence[Mapping[str, str]]) -> str:
    """A mapping patch: rules for fields that are new, remarks on the others, by mapping. `found`: as `plain` gives."""
    lines: list[str] = []
    for mapping in dict.fromkeys(one["mapping"] for one in found):
        lines += [f"# {mapping}", "tags:"]
        for one in (one for one in found if one["mapping"] == mapping):
            shape = {placed(parse_path(one["path"]).keys, MISSING): one["after"]} if one["kind"] == "new" else {}
            rule = rules_of(one["channel"], shape)
            change = f", {one['before']} → {one['after']}" if one["kind"] == "retyped" else ""
            lines += rule or [f"  # {one['path']}: {one['kind']}{change}"]
    return "\n".join(lines) + "\n" if lines else ""
