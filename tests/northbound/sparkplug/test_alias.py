"""Aliases: given once, announced in births, and taken in commands."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from bridge.model.plant import ALIVE, Plant
from bridge.northbound.sparkplug import codec
from bridge.northbound.sparkplug.alias import AliasedNames, Aliases
from bridge.northbound.sparkplug.codec import MetricEncoder, MetricType
from bridge.northbound.sparkplug.command_metric import Answer
from bridge.northbound.sparkplug.config import SparkplugConfig
from bridge.northbound.sparkplug.plan import Plan
from bridge.northbound.sparkplug.session import BD_SEQ, REBIRTH
from tests.broker import broker
from tests.northbound.fake_desk import CONFIRMED, FakeDesk
from tests.northbound.sparkplug import schema
from tests.northbound.sparkplug.test_node import NCMD, agrees, new_node, rebirth_request, say, until, watching
from tests.northbound.sparkplug.test_node_commands import DCMD, SPEED, answer, now_ms, serving
from tests.one_of_everything import NOW, filled_table, machine

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.hub.table import Table

OPEN = {"enabled": True}


def encoders() -> dict[str, MetricEncoder]:
    return {name: MetricEncoder(name, MetricType.Double) for name in ("a", "b")}


def test_numbers_stay_over_a_rebirth_and_change_within_one() -> None:
    aliases, metrics = Aliases(), encoders()
    names = AliasedNames(aliases, metrics)
    seen: list[list[int | None]] = []
    for is_node_birth in (True, True, False, False, True):
        aliases.births += is_node_birth
        names.announce()
        seen.append([one.alias for one in metrics.values()])
    assert seen == [[1, 2], [1, 2], [3, 4], [5, 6], [5, 6]]
    assert [names.name(number) for number in (1, 4, 5, 6)] == [None, None, "a", "b"]


def test_off_by_default() -> None:
    table, _ = filled_table()
    plan = Plan(table.plant.bridge, SparkplugConfig())
    plan.begin_births()
    assert not any(one.HasField("alias") for one in schema.decode(b"".join(plan.node.birth(table, NOW, 0))).metrics)
    payload = codec.Payload(metrics=(codec.Metric(alias=1, value_field=14, value=True),))
    assert plan.node.named(payload) is payload


async def test_host_and_table_agree_through_deaths_births_and_changes(tmp_path: Path) -> None:
    """The host decodes with Tahu's schema and knows metrics by their aliases only."""
    table, slots = filled_table()
    dice = random.Random(11)
    plants = [
        Plant(table.plant.bridge, {**table.plant.machines, "extruder-1": machine(slots, definitions=definitions)})
        for definitions in (
            [tag.definition for tag in table.plant.machines["extruder-1"].tags],
            [tag.definition for tag in table.plant.machines["extruder-1"].tags if tag.name != "Monitoring/Plain"],
        )
    ]
    async with broker() as server, watching(server) as host:
        node = new_node(server, tmp_path, aliases=True, commands=OPEN)
        async with serving(node, table, FakeDesk()):
            await until(lambda: node.is_online)
            for turn in range(60):
                say(table, "Monitoring/Pressure", dice.uniform(0, 100))
                say(table, "Monitoring/Count", dice.randrange(1000))
                if turn % 7 == 3:
                    say(table, ALIVE, dice.random() < 0.5, dice.choice(["extruder-1", "winder-2"]))
                if turn % 13 == 5:
                    table.replace_plant(plants[turn % 2])
                if turn % 29 == 11:
                    host.publish(NCMD, rebirth_request())
                await asyncio.sleep(0.005)
            say(table, ALIVE, True)
            say(table, ALIVE, True, "winder-2")
            await until(lambda: not host.dead and all(agrees(host, table, one) for one in ("extruder-1", "winder-2")))
    assert host.said.count("NBIRTH") >= 2
    assert host.said.count("DDEATH extruder-1") >= 2
    assert host.broken == []
    own = set(host.tags[""])
    assert {name for device, name in host.aliases.values() if device == ""} == own - {BD_SEQ, REBIRTH}
    assert {name for device, name in host.aliases.values() if device == "winder-2"} == set(host.tags["winder-2"])


def by_alias(*metrics: tuple[int, MetricType, Any], name: str | None = None) -> bytes:
    payload = schema.Payload(timestamp=now_ms())
    for alias, kind, value in metrics:
        field = {MetricType.Double: "double_value", MetricType.Boolean: "boolean_value"}[kind]
        payload.metrics.add(alias=alias, datatype=kind, name=name, **{field: value})
    return bytes(payload.SerializeToString())


async def test_commands_by_alias_are_taken(tmp_path: Path) -> None:
    table, _ = filled_table()
    desk = FakeDesk(lambda command: CONFIRMED)
    async with broker() as server, watching(server) as host:
        node = new_node(server, tmp_path, aliases=True, commands=OPEN)
        async with serving(node, table, desk):
            await until(lambda: "extruder-1" in host.tags)
            numbers = {name: alias for alias, (device, name) in host.aliases.items() if device == "extruder-1"}
            other = next(alias for alias, (device, _) in host.aliases.items() if device == "")
            pid = "Commands/SetPid/Front"
            host.publish(
                DCMD,
                by_alias(
                    (numbers[SPEED], MetricType.Double, 30.0),
                    (numbers[f"{pid}/Args/Kp"], MetricType.Double, 2.0),
                    (numbers[f"{pid}/Execute"], MetricType.Boolean, True),
                ),
            )
            await until(lambda: answer(host, "SetPid/Front")[2] == 1)
            host.publish(DCMD, by_alias((other, MetricType.Double, 1.0), (99_999, MetricType.Double, 1.0)))
            await until(lambda: answer(host)[2] == 3)
            assert "99999" in answer(host)[1]
            host.publish(DCMD, by_alias((99_999, MetricType.Double, 31.0), name=SPEED))  # the name says enough
            host.publish(DCMD, by_alias((numbers[SPEED], MetricType.Double, 32.0), name="unknown"))
            await until(lambda: answer(host)[2] == 5)
            # a number of the last birth, when the device was born anew, is nobody's
            say(table, ALIVE, False)
            await until(lambda: "extruder-1" in host.dead)
            say(table, ALIVE, True)
            await until(lambda: "extruder-1" not in host.dead)
            host.publish(DCMD, by_alias((numbers[SPEED], MetricType.Double, 33.0)))
            await until(lambda: answer(host)[2] == 6)
            assert answer(host)[0] == "rejected"
        assert node.command_errors_total == 3
    assert [arguments for _, arguments in desk.asked] == [
        {"value": 30.0},
        {"Kp": 2.0},
        {"value": 31.0},
        {"value": 32.0},
    ]
    assert host.broken == []


def test_changed_device_gets_numbers_nobody_had() -> None:
    table, slots = filled_table()
    plan = Plan(table.plant.bridge, SparkplugConfig(aliases=True, commands={"enabled": True}))  # type: ignore[arg-type]
    plan.follow(plan.difference(table.plant))
    plan.begin_births()
    before = {one.alias for one in births(plan, table)}
    device = table.plant.machines["extruder-1"]
    more = machine(slots, definitions=tuple(tag.definition for tag in device.tags[1:]))
    after = Plant(table.plant.bridge, {**table.plant.machines, "extruder-1": more})
    change = after.changes_since(table.plant)
    assert change is not None
    plan.follow(change)
    born = schema.decode(b"".join(plan.devices["extruder-1"].birth(table, NOW, 0))).metrics
    assert len({one.alias for one in born}) == len(born)
    assert not before & {one.alias for one in born}


def births(plan: Plan, table: Table) -> list[Any]:
    sets = (plan.node, *plan.devices.values())
    return [one for each in sets for one in schema.decode(b"".join(each.birth(table, NOW, 0))).metrics]


def test_command_s_answers_go_by_alias_too() -> None:
    table, _ = filled_table()
    config = SparkplugConfig(aliases=True, commands={"enabled": True})  # type: ignore[arg-type]
    plan = Plan(table.plant.bridge, config)
    plan.follow(plan.difference(table.plant))
    plan.begin_births()
    births(plan, table)
    commands = plan.devices["extruder-1"].commands
    assert commands is not None
    commands.tell(Answer("Standby", CONFIRMED), 5)
    said = schema.decode(b"".join(commands.data())).metrics
    assert len(said) == 4
    assert all(one.HasField("alias") and not one.HasField("name") for one in said)
