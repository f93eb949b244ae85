"""From compiled mappings to one machine: slots given, projections bound, the bridge's own tags added."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from bridge.mapping.compile import ALARM_COUNT, ITEM_STATES, CompiledMapping, command_definition
from bridge.mapping.names import Names
from bridge.mapping.projection import PartProjection
from bridge.mapping.tag_spec import TagSpec, is_alarm
from bridge.model.connection import CONNECTION_STATES
from bridge.model.known_tag import KnownTag
from bridge.model.path import Place
from bridge.model.plant import ALIVE, ITEM_STATE, PENDING_BOOKINGS, Machine, Part
from bridge.model.tag import Owner, Tag, TagDefinition, tag_id
from bridge.model.units import UNITS
from bridge.model.value import DataType

MADE_BY_BRIDGE = (ITEM_STATE, ALARM_COUNT, PENDING_BOOKINGS, ALIVE)
"""Names that no tag of a vendor's may have, also while a machine has none of that name."""

NOWHERE = -1
"""The slot of a tag that another part makes: no table has it, so that what is said of it is passed over."""


class PartMapping(NamedTuple):
    """A part and the mapping it uses; None while the mapping is not known (the machine was never seen).

    `accepts_writes` is false where commands are off: then no face calls a set point writable.
    """

    part: Part
    mapping: CompiledMapping | None
    identity: Mapping[str, str | int]
    accepts_writes: bool = False
    known_tags: Sequence[KnownTag] = ()
    """Tags that appeared with its data in earlier runs."""


class BoundMachine(NamedTuple):
    """A machine and what feeds it, by part name; `names` are told apart where tags appear with the data."""

    machine: Machine
    projections: Mapping[str, PartProjection]
    names: Names


@lru_cache(maxsize=1_000)
def connection_definitions(part: str) -> tuple[TagDefinition, ...]:
    """The tags that say how a part stands with its source; they are always Good. The same for every machine."""

    def own(name: str, data_type: DataType, description: str, **more: object) -> TagDefinition:
        return TagDefinition(
            f"Connection/{part}/{name}",
            data_type,
            description=description,
            owner=Owner.BRIDGE,
            **more,  # type: ignore[arg-type]
        )

    return (
        own("State", DataType.UInt32, "How this part stands with its source", enumeration=CONNECTION_STATES),
        own("StateText", DataType.String, "State in words"),
        own("Reason", DataType.String, "Why it is so"),
        own("Since", DataType.DateTime, "Since when it is so"),
        own("Advice", DataType.String, "What a person can do about it"),
        own("LastUpdate", DataType.DateTime, "When this part was last heard"),
        own("Age", DataType.Double, "How long ago this part was last heard", unit=UNITS["s"]),
    )


LAST_COMMAND = "Commands/Last"
"""Folder of the tags that tell the last command at a machine."""


def _last_command(name: str, data_type: DataType, description: str) -> TagDefinition:
    return TagDefinition(f"{LAST_COMMAND}/{name}", data_type, description=description, owner=Owner.BRIDGE)


_LAST_COMMAND = (
    _last_command("At", DataType.DateTime, "When the last command ended"),
    _last_command("By", DataType.String, "Who sent it; by MQTT nobody is sure, so it says claimed"),
    _last_command("Target", DataType.String, "What it was to change"),
    _last_command("Requested", DataType.String, "What was asked for"),
    _last_command("Outcome", DataType.String, "How it ended"),
    _last_command("Sentence", DataType.String, "What that means"),
)
"""The last command of a machine, whoever sent it by whichever door."""
_ITEM_STATE = TagDefinition(
    ITEM_STATE,
    DataType.UInt32,
    enumeration=ITEM_STATES,
    label={"en": "Item state"},
    description="Machinery item state (OPC 40001-1)",
    owner=Owner.BRIDGE,
)
_ALARM_COUNT = TagDefinition(ALARM_COUNT, DataType.Int64, description="How many alarms are active", owner=Owner.BRIDGE)
_PENDING_BOOKINGS = TagDefinition(
    PENDING_BOOKINGS,
    DataType.UInt32,
    label={"en": "Pending bookings", "de": "Offene Buchungen"},
    description="Bookings that were taken here and that the vendor does not have yet",
    owner=Owner.BRIDGE,
)
_ALIVE = TagDefinition(
    ALIVE, DataType.Boolean, description="The machine's values flow, by its alive rule", owner=Owner.BRIDGE
)


def compile_machine(
    machine_id: str,
    place: Place,
    parts: Sequence[PartMapping],
    slot: Callable[[str], int],
    label: str = "",
) -> BoundMachine:
    """The machine made of these parts; the first part is the primary one (item state, identification).

    Tag names of later parts that an earlier one already has are left out: the first part wins, and
    `bridge.mapping.clash` tells which.
    """
    definitions: dict[str, TagDefinition] = {}
    for definition in _definitions(parts):
        definitions.setdefault(definition.name, definition)
    ids = _ids(machine_id, parts)
    tags = tuple(_tag(machine_id, definition, ids, slot) for definition in definitions.values())

    makers = _makers(parts)

    def slot_of(part: str) -> Callable[[str], int]:
        def given(name: str) -> int:
            return slot(ids.get(name) or tag_id(machine_id, name)) if makers[name] == part else NOWHERE

        return given

    projections = {p.part.name: PartProjection(p.mapping, slot_of(p.part.name)) for p in parts if p.mapping is not None}
    commands = tuple(
        command_definition(spec, p.part.name)
        for p in parts
        if p.mapping is not None and p.accepts_writes
        for spec in p.mapping.commands
    )
    known = [p for p in parts if p.mapping is not None]
    machine = Machine(
        machine_id,
        place,
        "+".join(p.mapping.name for p in known if p.mapping) or "unknown",
        tuple(p.part for p in parts),
        tags,
        commands,
        _identification(machine_id, known),
        label or next((p.mapping.label for p in known if p.mapping), "") or machine_id,
    )
    bound = BoundMachine(machine, projections, Names((*definitions, *MADE_BY_BRIDGE)))
    for one in known:
        bound = with_tags(bound, one.part.name, one.known_tags, slot).bound
    return bound


class Grown(NamedTuple):
    """A machine with more tags, those tags as they are kept, and how many there was no room for."""

    bound: BoundMachine
    tags: tuple[KnownTag, ...]
    refused: int


def with_tags(bound: BoundMachine, part: str, found: Iterable[KnownTag], slot: Callable[[str], int]) -> Grown:
    """The machine with these tags of a part, which its projection takes from now on. Slots that exist stay.

    A tag of a key that is there already takes its place; a rule that is gone makes none.
    """
    machine, rules = bound.machine, {each.spec.name: each for each in bound.projections[part].each}
    tags, kept, refused = {tag.id: tag for tag in machine.tags}, [], 0
    for known in found:
        each = rules.get(known.each)
        if each is None:
            continue
        texts: tuple[str, ...] | None = known.texts
        if each.spec_of_key(known.key) is None:
            texts = each.spec.place(bound.names, known) if each.known < each.spec.rule.limit else None
        spec = None if texts is None else each.spec.tag(known, texts)
        made = None if spec is None else _made(machine.id, spec, each.spec.tag_id(machine.id, known.key), slot)
        if texts is None or spec is None or made is None:
            refused += 1
            continue
        known = known if texts == known.texts else replace(known, texts=texts)
        each.adopt(known, spec, {tag.name: tag.slot for tag in made}.__getitem__)
        tags.update((tag.id, tag) for tag in made)
        kept.append(known)
    if not kept:
        return Grown(bound, (), refused)
    return Grown(
        bound._replace(machine=replace(machine, tags=tuple(tags.values()), _by_name={}, _by_id={})),
        tuple(kept),
        refused,
    )


def _made(machine_id: str, spec: TagSpec, identifier: str, slot: Callable[[str], int]) -> list[Tag] | None:
    """The tag and its siblings; None where the process has no slots left."""
    ids = {spec.definition.name: identifier}
    try:
        return [_tag(machine_id, definition, ids, slot) for definition in spec.definitions]
    except OverflowError:
        return None


def _definitions(parts: Sequence[PartMapping]) -> Iterator[TagDefinition]:
    """Every definition, the primary part's first."""
    for part in parts:
        yield from vendor_definitions(part)
    if any(p.mapping and p.mapping.item_state for p in parts):
        yield _ITEM_STATE
    if any(p.mapping and _has_alarms(p.mapping) for p in parts):
        yield _ALARM_COUNT
    if any(spec.is_booking for p in parts if p.mapping and p.accepts_writes for spec in p.mapping.commands):
        yield _PENDING_BOOKINGS
    yield _ALIVE
    for part in parts:
        yield from connection_definitions(part.part.name)
    if any(part.accepts_writes for part in parts):
        yield from _LAST_COMMAND


def _has_alarms(mapping: CompiledMapping) -> bool:
    is_told = any(spec.alarms or is_alarm(spec.definition.name) for spec in mapping.tags)
    return is_told or any(each.has_alarms for each in mapping.each)


def vendor_definitions(part: PartMapping) -> Iterator[TagDefinition]:
    """What a part's mapping makes, without what the bridge adds."""
    for spec in part.mapping.tags if part.mapping else ():
        yield spec.definition if part.accepts_writes else _read_only(spec.definition)
        if spec.text:
            yield spec.text
        for alarm, _ in spec.alarms:
            yield alarm


@lru_cache(maxsize=20_000)
def _read_only(definition: TagDefinition) -> TagDefinition:
    """The definition without the promise that it can be written; one object for all machines of a mapping."""
    return replace(definition, writable=False) if definition.writable else definition


def _makers(parts: Sequence[PartMapping]) -> dict[str, str]:
    """Which part makes each tag of the vendors': the first that has it."""
    makers: dict[str, str] = {}
    for part in parts:
        for definition in vendor_definitions(part):
            makers.setdefault(definition.name, part.part.name)
        if part.mapping and part.mapping.item_state:
            makers.setdefault(ITEM_STATE, part.part.name)
    return makers


def _ids(machine_id: str, parts: Sequence[PartMapping]) -> dict[str, str]:
    """Ids of renamed tags, by the name they have now."""
    specs = (spec for part in parts if part.mapping for spec in part.mapping.tags)
    return {name: tag_id(machine_id, earlier) for spec in specs for name, earlier in spec.id_names.items()}


def _tag(machine_id: str, definition: TagDefinition, ids: Mapping[str, str], slot: Callable[[str], int]) -> Tag:
    identifier = ids.get(definition.name) or tag_id(machine_id, definition.name)
    return Tag(identifier, slot(identifier), machine_id, definition)


def _identification(machine_id: str, parts: Sequence[PartMapping]) -> dict[str, str]:
    """The primary part's identification with `<serial>` and the like filled from the vendor's identity."""
    fields: dict[str, str] = {}
    for part in reversed(parts):
        assert part.mapping is not None  # noqa: S101
        for name, text in part.mapping.identification.items():
            for key, value in part.identity.items():
                text = text.replace(f"<{key}>", str(value))
            fields[name] = text.replace("<id>", machine_id)
    return fields
