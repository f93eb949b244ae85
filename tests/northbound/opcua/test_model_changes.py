"""What clients are told when machines come, change and go."""

from dataclasses import replace

import pytest
from asyncua import Client, ua

from bridge.model.tag import Range, TagDefinition
from bridge.model.value import DataType
from tests.northbound.opcua.event_peer import SERVER, event_peer
from tests.northbound.opcua.house import Seen, eventually, house
from tests.northbound.opcua.test_plant_change import here, show
from tests.one_of_everything import DEFINITIONS, machine

ADDED, DELETED, REFERENCE_ADDED, REFERENCE_DELETED = 1, 2, 4, 8
SEMANTIC_CHANGE = "ns=0;i=2738"
MODEL_CHANGE = {"op": "OfType", "of": [{"node": "ns=0;i=2133"}]}


@pytest.mark.peer("node")
async def test_a_change_of_the_plant_is_one_event_that_names_what_is_topmost() -> None:
    async with house() as home, event_peer(home) as peer:
        wish = {"node": SERVER, "fields": ["Changes", "SourceNode"], "where": MODEL_CHANGE}
        assert (await peer.ask(watch=wish))["status"] == "Good"
        known = here(home)
        show(home, *known.values(), machine(home.slots, "laser-3"), machine(home.slots, "laser-4"))
        [[changes, source]] = await peer.ask(heard=1)
        assert source == SERVER
        assert {one["affected"]: one["verb"] for one in changes} == {
            "ns=2;s=laser-3": ADDED,
            "ns=2;s=laser-4": ADDED,
            "ns=5;i=1001": REFERENCE_ADDED,
            "ns=2;s=Areas:acme:essen:extrusion:line-1": REFERENCE_ADDED,
        }
        fresh = TagDefinition("Monitoring/Fresh", DataType.Double)
        show(home, machine(home.slots, "extruder-1", (*DEFINITIONS, fresh)), known["winder-2"])
        [[changes, _]] = await peer.ask(heard=1)
        assert {one["affected"]: one["verb"] for one in changes} == {
            "ns=2;s=extruder-1.Monitoring.Fresh": ADDED,
            "ns=2;s=extruder-1.Monitoring": REFERENCE_ADDED,
        }


@pytest.mark.peer("node")
async def test_a_machine_that_moves_is_told_with_both_areas() -> None:
    async with house() as home, event_peer(home) as peer:
        wish = {"node": SERVER, "fields": ["Changes"], "where": MODEL_CHANGE}
        assert (await peer.ask(watch=wish))["status"] == "Good"
        known = here(home)
        moved = replace(known["winder-2"], place=replace(known["winder-2"].place, area="hall-9"))
        show(home, known["extruder-1"], moved)
        [[changes]] = await peer.ask(heard=1)
        assert {one["affected"]: one["verb"] for one in changes} == {
            "ns=2;s=winder-2": REFERENCE_ADDED | REFERENCE_DELETED,
            "ns=2;s=Areas:acme:essen:hall-9": ADDED,
            "ns=2;s=Areas:acme:essen": REFERENCE_ADDED | REFERENCE_DELETED,
            "ns=2;s=Areas:acme:essen:winding": DELETED,  # nothing else was there
        }


@pytest.mark.peer("node")
async def test_a_machine_of_another_type_and_a_tag_without_its_range_are_told() -> None:
    async with house(unsecured_read_only=True) as home, event_peer(home) as peer, Client(home.url) as client:
        wish = {"node": SERVER, "fields": ["Changes"], "where": MODEL_CHANGE}
        assert (await peer.ask(watch=wish))["status"] == "Good"
        known = here(home)
        plain = (replace(DEFINITIONS[0], eu_range=None), *DEFINITIONS[1:])
        other = replace(machine(home.slots, "extruder-1", plain), type_name="qitech/other")
        show(home, other, known["winder-2"])
        [[changes]] = await peer.ask(heard=1)
        pressure = "ns=2;s=extruder-1.Monitoring.Pressure"
        assert {one["affected"]: one["verb"] for one in changes} == {
            "ns=2;s=extruder-1": REFERENCE_ADDED | REFERENCE_DELETED,
            pressure: REFERENCE_ADDED | REFERENCE_DELETED,
            f"{pressure}.EURange": DELETED,
        }
        kind = await client.get_node("ns=2;s=extruder-1").read_type_definition()
        assert (kind.NamespaceIndex, kind.Identifier) == (3, "qitech.other")
        analog = await client.get_node(pressure).read_type_definition()
        assert analog.Identifier == ua.ObjectIds.AnalogUnitType


@pytest.mark.peer("node")
async def test_a_tag_whose_values_mean_something_else_is_told() -> None:
    async with house(unsecured_read_only=True) as home, event_peer(home) as peer, Client(home.url) as client:
        wish = {"node": SERVER, "fields": ["EventType", "Changes", "SourceNode"]}
        wish["where"] = {"op": "OfType", "of": [{"node": "ns=0;i=2132"}]}  # BaseModelChangeEventType
        assert (await peer.ask(watch=wish))["status"] == "Good"
        wish["where"] = {"op": "OfType", "of": [{"node": SEMANTIC_CHANGE}]}
        assert (await peer.ask(watch=wish))["status"] == "Good"
        known, (pressure, *others) = here(home), DEFINITIONS
        names = [one.name for one in DEFINITIONS]
        mode = DEFINITIONS[names.index("Setpoints/Mode")]
        wider = replace(pressure, eu_range=Range(0, 500))
        more = replace(mode, enumeration={**(mode.enumeration or {}), "Purge": len(mode.enumeration or {})})
        changed = (wider, *(more if one is mode else one for one in others))
        show(home, machine(home.slots, "extruder-1", changed), known["winder-2"])
        [[kind, changes, source]] = await peer.ask(heard=1)
        assert (kind, source) == (SEMANTIC_CHANGE, SERVER)
        assert changes == ["ns=2;s=extruder-1.Monitoring.Pressure", "ns=2;s=extruder-1.Setpoints.Mode"]
        level = await client.get_node("ns=2;s=extruder-1.Monitoring.Pressure.EURange").get_access_level()
        assert level == {ua.AccessLevel.CurrentRead, ua.AccessLevel.SemanticChange}
        same = machine(home.slots, "extruder-1", changed)
        show(home, replace(same, label="Another word"), known["winder-2"])  # no meaning is another one
        show(home, machine(home.slots, "extruder-1"), known["winder-2"])
        [[kind, changes, _]] = await peer.ask(heard=1)
        assert (kind, len(changes)) == (SEMANTIC_CHANGE, 2)


@pytest.mark.peer("node")
async def test_nodes_that_are_taken_out_are_told() -> None:
    async with house(limits={"retired_tags": 0}) as home, event_peer(home) as peer:
        wish = {"node": SERVER, "fields": ["Changes"], "where": MODEL_CHANGE}
        assert (await peer.ask(watch=wish))["status"] == "Good"
        show(home, here(home)["extruder-1"])
        [[changes]] = await peer.ask(heard=1)
        verbs = {one["affected"]: one["verb"] for one in changes}
        assert verbs["ns=2;s=winder-2"] == DELETED
        assert verbs["ns=5;i=1001"] == REFERENCE_DELETED
        assert all(verb & (DELETED | REFERENCE_DELETED) for verb in verbs.values())


@pytest.mark.peer("node")
async def test_a_tag_that_comes_back_with_another_type_is_told_as_another_node() -> None:
    async with house() as home, event_peer(home) as peer:
        wish = {"node": SERVER, "fields": ["Changes"], "where": MODEL_CHANGE}
        assert (await peer.ask(watch=wish))["status"] == "Good"
        known, (pressure, *others) = here(home), DEFINITIONS
        show(home, machine(home.slots, "extruder-1", tuple(others)), known["winder-2"])  # no node goes yet
        words = TagDefinition(pressure.name, DataType.String)
        show(home, machine(home.slots, "extruder-1", (words, *others)), known["winder-2"])
        [[changes]] = await peer.ask(heard=1)
        assert {one["affected"]: one["verb"] for one in changes} == {
            "ns=2;s=extruder-1.Monitoring.Pressure": ADDED | DELETED,
            "ns=2;s=extruder-1.Monitoring": REFERENCE_ADDED | REFERENCE_DELETED,
        }


async def test_node_version_changes_with_what_is_below() -> None:
    async with house(unsecured_read_only=True) as home, Client(home.url) as client:
        seen = Seen()
        subscription = await client.create_subscription(50, seen)
        ids = [f"{name}.NodeVersion" for name in ("extruder-1", "winder-2", "Machines")]
        await subscription.subscribe_data_change([client.get_node(f"ns=2;s={one}") for one in ids])
        await eventually(lambda: len(seen.by_node) == 3)
        known = here(home)
        fresh = TagDefinition("Monitoring/Fresh", DataType.Double)
        show(home, machine(home.slots, "extruder-1", (*DEFINITIONS, fresh)), known["winder-2"])
        await eventually(lambda: len(seen.of(ids[0])) == 2)
        show(home, *known.values(), machine(home.slots, "laser-3"))
        await eventually(lambda: len(seen.of(ids[2])) == 2)
        assert [len(seen.of(one)) for one in ids] == [2, 1, 2]
        first, second = (int(one.Value.Value) for one in seen.of(ids[0]))
        assert second > first
        machines = await client.get_node("ns=2;s=Machines.NodeVersion").get_parent()
        assert (await machines.read_browse_name()).Name == "Machines"
