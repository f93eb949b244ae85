from __future__ import annotations

import itertools
from collections.abc import Callable

from bridge.mapping.compile import CompiledMapping
from bridge.mapping.machine import PartMapping, compile_machine
from bridge.mapping.targets import targets_of
from bridge.model.path import Place
from bridge.model.plant import ALIVE, ITEM_STATE, PENDING_BOOKINGS, Part, Plant
from tests.mapping.rig import HEAD, compiled

PLACE = Place("acme", "essen")
VALUES = compiled(
    "identification: {Manufacturer: QiTech, SerialNumber: <serial>, ComponentName: <id>}\n"
    "tags:\n"
    "  Monitoring/P: {from: live.p, type: Double, limits: {high: 9}}\n"
    "  Setpoints/M: {from: state.m, enum: {X: 0}}\n"
    "commands: {Standby: {send: x, safe: true}}\n"
    "item_state: {from: Setpoints/M, map: {X: Executing}}\n"
)
JOB = compiled(
    "identification: {Manufacturer: TMM, Model: Job}\n"
    "tags: {Job/Id: {from: live.id, type: String}, Monitoring/P: {from: live.pressure, type: Double}}\n"
    "commands: {Finish: {send: y}}\n",
    head=HEAD.replace("test/machine", "test/job"),
)


def slots() -> Callable[[str], int]:
    given: dict[str, int] = {}
    counter = itertools.count()
    return lambda identifier: given.setdefault(identifier, next(counter))


def part(name: str, mapping: CompiledMapping | None) -> PartMapping:
    return PartMapping(Part(name, f"source-{name}", "1/4/7", "m"), mapping, {"serial": 57922})


PARTS = [part("values", VALUES), part("job", JOB)]


def test_machine_has_the_tags_of_its_parts_and_its_own() -> None:
    machine = compile_machine("extruder-1", PLACE, PARTS, slots()).machine
    names = {tag.name for tag in machine.tags}
    assert {
        "Monitoring/P",
        "Setpoints/M",
        "Setpoints/MText",
        "Alarms/P/High",
        "Alarms/ActiveCount",
        "Job/Id",
        ITEM_STATE,
        ALIVE,
        "Connection/values/State",
        "Connection/job/Reason",
    } <= names
    assert len(names) == len(machine.tags) == len({tag.slot for tag in machine.tags})
    assert machine.type_name == "test/machine+test/job"
    assert machine.tag("Monitoring/P").id == "extruder-1.Monitoring.P"  # type: ignore[union-attr]


def test_commands_are_offered_only_where_writes_are_accepted() -> None:
    assert compile_machine("extruder-1", PLACE, PARTS, slots()).machine.commands == ()


def test_commands_know_their_part() -> None:
    writable = [part._replace(accepts_writes=True) for part in PARTS]
    machine = compile_machine("extruder-1", PLACE, writable, slots()).machine
    assert [(command.name, command.part, command.safe) for command in machine.commands] == [
        ("Standby", "values", True),
        ("Finish", "job", False),
    ]


def test_first_part_wins_a_name_that_two_have() -> None:
    machine = compile_machine("extruder-1", PLACE, PARTS, slots()).machine
    assert machine.tag("Monitoring/P").definition.limits is not None  # type: ignore[union-attr]


def test_identification_is_filled_and_the_first_part_wins() -> None:
    assert compile_machine("extruder-1", PLACE, PARTS, slots()).machine.identification == {
        "Manufacturer": "QiTech",
        "SerialNumber": "57922",
        "ComponentName": "extruder-1",
        "Model": "Job",
    }


def test_part_that_was_never_seen_has_its_connection_only() -> None:
    bound = compile_machine("x", PLACE, [part("values", None)], slots())
    assert {tag.group for tag in bound.machine.tags} == {"Connection"}
    assert bound.projections == {}
    assert bound.machine.type_name == "unknown"


def test_only_the_first_part_that_makes_a_tag_writes_it() -> None:
    other = compiled(
        "tags: {Monitoring/P: {from: live.p, type: Double}, Setpoints/N: {from: state.n, enum: {Y: 0}}}\n"
        "item_state: {from: Setpoints/N, map: {Y: NotExecuting}}\n",
        head=HEAD.replace("test/machine", "test/other"),
    )
    bound = compile_machine("extruder-1", PLACE, [part("values", VALUES), part("other", other)], slots())
    item_state, pressure = bound.machine.tag(ITEM_STATE), bound.machine.tag("Monitoring/P")
    assert item_state is not None
    assert pressure is not None
    assert {item_state.slot, pressure.slot} <= set(bound.projections["values"].slots())
    assert not {item_state.slot, pressure.slot} & set(bound.projections["other"].slots())


def test_a_renamed_tag_keeps_its_id_and_its_slot() -> None:
    slot = slots()
    before = compiled("tags: {Setpoints/M: {from: state.m, enum: {X: 0}}}")
    after = compiled("tags: {Setpoints/Mode: {from: state.m, enum: {X: 0}, was: [Setpoints/M, Setpoints/Mo]}}")
    old = compile_machine("e-1", PLACE, [part("values", before)], slot).machine
    bound = compile_machine("e-1", PLACE, [part("values", after)], slot)
    plant = Plant(compile_machine("Bridge", PLACE, [], slot).machine, {"e-1": bound.machine})
    for was, now in (("Setpoints/M", "Setpoints/Mode"), ("Setpoints/MText", "Setpoints/ModeText")):
        older, newer = old.tag(was), bound.machine.tag(now)
        assert older is not None
        assert newer is not None
        assert (newer.id, newer.slot) == (older.id, older.slot)
        assert newer.slot in bound.projections["values"].slots()
        assert plant.find(older.id) is newer
    assert plant.find("e-1.Setpoints.Mode") is None


def test_bookings_are_counted_where_a_command_may_be_one_and_commands_are_taken() -> None:
    job = compiled(
        "commands: {Start: {send: $At, args: {At: {type: DateTime, default: now}}, when_offline: queue}}\n",
        head=HEAD.replace("test/machine", "test/job"),
    )
    for accepts_writes in (True, False):
        parts = [PARTS[0], part("job", job)._replace(accepts_writes=accepts_writes)]
        machine = compile_machine("extruder-1", PLACE, parts, slots()).machine
        assert (machine.tag(PENDING_BOOKINGS) is not None) is accepts_writes
    tags = {tag.name: tag for tag in machine.tags}
    (target,) = targets_of("extruder-1", parts[1].part, job, tags)
    assert target.max_delay == 12 * 3600


def test_machines_of_one_mapping_share_every_definition() -> None:
    one, other = (compile_machine(name, PLACE, PARTS, slots()).machine for name in ("extruder-1", "extruder-2"))
    assert all(mine.definition is theirs.definition for mine, theirs in zip(one.tags, other.tags, strict=True))
