"""Plan: what a changed configuration does to each face, before it is in force. Pure: two outlines in, a plan out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bridge.errors import counted
from bridge.model.plant import BRIDGE_MACHINE_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bridge.runtime.outline import Outline

SHOWN = ("unit", "range", "enum", "description", "access")
"""What hosts are told of a tag beside its name and type; a change of it needs a birth."""
TOLD = frozenset(("type", "was", *SHOWN))
"""Keys of a rule that are told of the tags themselves."""
AT_START = ("limits.", "broker.", "northbound.status.")
"""Settings that a running bridge does not take over (see `Bridge.reload`)."""
IDENTITY = ("bridge.name", "bridge.enterprise", "bridge.site")


@dataclass(frozen=True, slots=True)
class TagChange:
    """A tag that stays and looks different: what of it, before and after."""

    id: str
    what: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A key of the configuration."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class MachineDiff:
    """What becomes of one machine. `fate`: "added", "removed" or "changed"."""

    id: str
    fate: str
    type: str
    added: tuple[str, ...] = ()
    """Ids of tags."""
    removed: tuple[str, ...] = ()
    changed: tuple[TagChange, ...] = ()
    commands_added: tuple[str, ...] = ()
    commands_removed: tuple[str, ...] = ()
    moved: tuple[str, str] | None = None
    """Its place before and after."""
    behind: tuple[SettingChange, ...] = ()
    """What is another though every address stays: its label, the vendor's machine behind a part, what overrides say."""

    @property
    def is_seen(self) -> bool:
        """Clients see it by other addresses, or by what they are told of these."""
        lists = (self.added, self.removed, self.changed, self.commands_added, self.commands_removed)
        return self.fate != "changed" or self.moved is not None or any(lists)


@dataclass(frozen=True, slots=True)
class FaceDiff:
    """Addresses of one face: new ones, those that go, and those of tags that stay and move."""

    name: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    consequences: tuple[str, ...] = ()
    """What clients and hosts see, and what they keep; sentences."""

    @property
    def is_empty(self) -> bool:
        """Nothing moves."""
        return not (self.added or self.removed or self.renamed or self.consequences)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change does."""

    machines: tuple[MachineDiff, ...] = ()
    faces: tuple[FaceDiff, ...] = ()
    settings: tuple[SettingChange, ...] = ()
    sources: tuple[str, ...] = ()
    """What becomes of sources, and how many machines share their requests; sentences."""
    rules: tuple[SettingChange, ...] = ()
    """Rules of mappings by which values and commands are made otherwise, though every address stays."""
    refused: tuple[str, ...] = ()
    """Why a running bridge would not take it."""
    needs_restart: tuple[str, ...] = field(default=())
    """Keys that only count after a restart."""

    @property
    def is_empty(self) -> bool:
        """Nothing changes."""
        changes = self.machines or self.settings or self.rules or self.refused
        return not (changes or any(not face.is_empty for face in self.faces))


def plan(before: Outline, after: Outline) -> Plan:
    """What changes from one outline to the other."""
    machines = tuple(_machines(before["machines"], after["machines"]))
    settings = tuple(_settings(before["settings"], after["settings"]))
    keys = [change.key for change in settings]
    seen = [machine for machine in machines if machine.is_seen]
    return Plan(
        machines,
        tuple(_face(name, before, after, seen, keys) for name in _both(before["faces"], after["faces"])),
        settings,
        tuple(_sources(before, after, keys)),
        tuple(_rules(before["mappings"], after["mappings"])),
        tuple(_refused(machines)),
        tuple(key for key in keys if key.startswith(AT_START)),
    )


def _both(before: Sequence[str], after: Sequence[str]) -> list[str]:
    return list(dict.fromkeys((*before, *after)))


def _machines(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[MachineDiff]:
    for identifier in _both([*before], [*after]):
        was, now = before.get(identifier), after.get(identifier)
        if was is None and now is not None:
            yield MachineDiff(
                identifier, "added", now["type"], tuple(now["tags"]), commands_added=tuple(now["commands"])
            )
        elif now is None and was is not None:
            gone = tuple(was["tags"])
            yield MachineDiff(identifier, "removed", was["type"], (), gone, commands_removed=tuple(was["commands"]))
        elif was is not None and now is not None and was != now:
            yield _changed(identifier, was, now)


def _changed(identifier: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> MachineDiff:
    old, new = was["tags"], now["tags"]
    return MachineDiff(
        identifier,
        "changed",
        now["type"],
        tuple(tag for tag in new if tag not in old),
        tuple(tag for tag in old if tag not in new),
        tuple(change for tag in new if tag in old for change in _tag(tag, old[tag], new[tag])),
        tuple(name for name in now["commands"] if name not in was["commands"]),
        tuple(name for name in was["commands"] if name not in now["commands"]),
        (was["place"], now["place"]) if was["place"] != now["place"] else None,
        tuple(one for one in _settings(was["behind"], now["behind"]) if one.key.rpartition(".")[2] not in TOLD),
    )


def _tag(identifier: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[TagChange]:
    for what in ("name", "type", *SHOWN):
        if was[what] != now[what]:
            yield TagChange(identifier, what, was[what], now[what])


def _refused(machines: Sequence[MachineDiff]) -> Iterator[str]:
    """A tag has one type and one numbering of its enum, for ever (design.md 2.5, rule 4)."""
    for machine in machines:
        for change in machine.changed:
            if change.what == "type":
                yield f"{change.id} would change from {change.before} to {change.after}: give it a new name"
            elif change.what == "enum" and _is_renumbered(change.before, change.after):
                yield f"{change.id} would renumber its enum: only add to it"


def _is_renumbered(before: Mapping[str, int] | None, after: Mapping[str, int] | None) -> bool:
    return any((after or {}).get(text) != number for text, number in (before or {}).items())


def _settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[SettingChange]:
    for key in _both([*before], [*after]):
        if before.get(key) != after.get(key):
            yield SettingChange(key, before.get(key), after.get(key))


def _rules(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[SettingChange]:
    """Of mappings and rules that are on both sides: what comes and goes is told by machines."""
    for mapping in (name for name in before if name in after):
        was, now = before[mapping], after[mapping]
        for rule in (name for name in was if name in now):
            for change in _settings(was[rule], now[rule]):
                if change.key not in TOLD:
                    yield SettingChange(f"{mapping}: {rule}.{change.key}", change.before, change.after)


def _sources(before: Outline, after: Outline, keys: Sequence[str]) -> Iterator[str]:
    """What becomes of each source; a request budget is shared by its machines."""
    was, now = _counts(before), _counts(after)
    for name in _both([*was], [*now]):
        if name not in was:
            yield f"{name} is added and connected, with {counted(now[name], 'machine')}"
        elif name not in now:
            yield f"{name} is closed; its machines ({was[name]}) have nobody who reads them"
        else:
            if changed := [key for key in keys if key.startswith(f"sources.{name}.")]:
                words = ", ".join(key.removeprefix(f"sources.{name}.") for key in changed)
                yield f"{name} is connected anew ({words}): its values are Uncertain for a moment"
            if was[name] != now[name]:
                count = counted(now[name], "machine")
                yield f"{name} is shared by {count} instead of {was[name]}: each may be read less often"


def _counts(one: Outline) -> dict[str, int]:
    """Machines of each source."""
    names = dict.fromkeys(key.split(".")[1] for key in one["settings"] if key.startswith("sources."))
    return {name: sum(name in machine["sources"] for machine in one["machines"].values()) for name in names}


def _face(name: str, before: Outline, after: Outline, machines: Sequence[MachineDiff], keys: Sequence[str]) -> FaceDiff:
    if name not in after["faces"]:
        return FaceDiff(name, consequences=("it is closed; what its clients know stays with them as stale",))
    if name not in before["faces"]:
        return FaceDiff(name, consequences=("it is opened, with everything new",))
    old, new = dict(_addresses(before, name)), dict(_addresses(after, name))
    added = tuple(address for tag, address in new.items() if tag not in old)
    removed = tuple(address for tag, address in old.items() if tag not in new)
    renamed = tuple((old[tag], new[tag]) for tag in old if tag in new and old[tag] != new[tag])
    is_exchanged = any(key in IDENTITY or key.startswith(f"northbound.{name}.") for key in keys)
    told = _CONSEQUENCES[name](machines, removed, renamed, is_exchanged=is_exchanged) if name in _CONSEQUENCES else ()
    return FaceDiff(name, added, removed, renamed, tuple(told))


def _addresses(one: Outline, face: str) -> Iterator[tuple[str, str]]:
    for machine in one["machines"].values():
        for tag, shown in machine["tags"].items():
            if face in shown["addresses"]:
                yield tag, shown["addresses"][face]


def _of_opcua(
    machines: Sequence[MachineDiff], removed: Sequence[str], renamed: Sequence[object], *, is_exchanged: bool
) -> Iterator[str]:
    if is_exchanged:
        yield "the server is closed and opened: every client connects again"
    if removed:
        yield (
            f"{len(removed)} nodes become BadOutOfService, and are gone after a restart: take them out of screens and "
            "historians"
        )
    if machines and not is_exchanged:
        yield "sessions stay; clients that ask for it get a GeneralModelChangeEvent"


def _of_sparkplug(
    machines: Sequence[MachineDiff], removed: Sequence[str], renamed: Sequence[object], *, is_exchanged: bool
) -> Iterator[str]:
    """Facts: Sparkplug 5.6; hosts never delete by themselves (field notes P8)."""
    if is_exchanged:
        yield "the edge node says NDEATH and connects anew: every device is born again"
    elif any(machine.id == BRIDGE_MACHINE_ID for machine in machines):
        yield "the node's own metrics change: NBIRTH and a DBIRTH of every device follow (a rebirth)"
    else:
        births = [one.id for one in machines if one.fate != "removed" and _needs_birth(one)]
        if births:
            yield f"DBIRTH anew: {', '.join(births)}"
    if deaths := [one.id for one in machines if one.fate == "removed"]:
        yield f"DDEATH: {', '.join(deaths)}"
    if stale := len(removed) + len(renamed):
        yield (
            f"hosts keep {stale} metrics of the old names as stale for ever (Ignition: Bad_Stale) until somebody "
            "deletes them there"
        )


def _needs_birth(machine: MachineDiff) -> bool:
    return bool(
        machine.added or machine.removed or machine.changed or machine.commands_added or machine.commands_removed
    )


def _of_uns(
    machines: Sequence[MachineDiff], removed: Sequence[str], renamed: Sequence[object], *, is_exchanged: bool
) -> Iterator[str]:
    if is_exchanged:
        yield "it connects anew, and says everything again"
    if gone := len(removed) + len(renamed):
        yield (
            f"{gone} retained topics are emptied by the bridge; who subscribed to them by name must be told, and "
            "historians keep what they have under the old name"
        )


_CONSEQUENCES = {"opcua": _of_opcua, "sparkplug": _of_sparkplug, "uns": _of_uns}
