"""The plant as NodeSet2 XML: what the importers of asyncua and node-opcua make of it, node by node."""

import json
import os
import re
import xml.etree.ElementTree as Xml
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from asyncua import Node, Server, ua

from bridge.config.site import load_site
from bridge.model.plant import Plant
from bridge.model.tag import TagDefinition
from bridge.model.value import DataType
from bridge.northbound.opcua.config import OpcuaConfig
from bridge.northbound.opcua.server import NODESETS, OpcuaServer
from bridge.runtime.offline import OfflinePlant
from bridge.transport.clock import SystemClock
from tests import peers
from tests.northbound.opcua.house import APPLICATION
from tests.one_of_everything import DEFINITIONS, MODES, filled_table, machine

INSTANCES, TYPES = f"{APPLICATION}:instances", "urn:plantbridge:types"


def face(tmp_path: Path, **settings: object) -> OpcuaServer:
    config = OpcuaConfig(port=0, application_uri=APPLICATION, **settings)  # type: ignore[arg-type]
    return OpcuaServer(config, SystemClock(), tmp_path)


async def imported(xml: str) -> Server:
    """A server of somebody else's with our plant in it."""
    server = Server()
    await server.init()
    for _, file in NODESETS:
        text = (files("bridge.northbound.opcua") / "nodesets" / file).read_text(encoding="utf-8")
        await server.import_xml(xmlstring=text, auto_load_definitions=False)
    await server.import_xml(xmlstring=xml)
    return server


async def value(node: Node) -> object:
    return (await node.read_data_value(raise_on_bad_status=False)).Value.Value


async def test_another_server_has_the_same_tags_after_importing(tmp_path: Path) -> None:
    table, slots = filled_table()
    odd = TagDefinition("Status/Odd", DataType.String, description='<&"> \x00\x0b Größe')
    plant = Plant(table.plant.bridge, {"extruder-1": machine(slots, "extruder-1", (*DEFINITIONS, odd))})
    server = await imported(await face(tmp_path).nodeset(plant))
    here = await server.get_namespace_index(INSTANCES)
    for tag in plant.machines["extruder-1"].tags:
        definition = tag.definition
        node = server.get_node(ua.NodeId(tag.id, here))
        assert (await node.read_data_type()).Identifier == ua.VariantType[definition.data_type.value].value, tag.id
        assert (await node.read_display_name()).Text == definition.display_name
        access = await node.get_access_level()
        assert (ua.AccessLevel.CurrentWrite in access) is definition.writable
        assert (ua.AccessLevel.HistoryRead in access) is definition.history
        properties = {(await one.read_browse_name()).Name: await value(one) for one in await node.get_properties()}
        if definition.eu_range:
            assert properties["EURange"] == ua.Range(*definition.eu_range)
        if definition.unit:
            assert properties["EngineeringUnits"].UnitId == definition.unit.unit_id  # type: ignore[attr-defined]
    words = await value(server.get_node(ua.NodeId("extruder-1.Setpoints.Mode.EnumStrings", here)))
    assert [one.Text for one in words] == list(MODES)  # type: ignore[attr-defined]
    description = await server.get_node(ua.NodeId("extruder-1.Status.Odd", here)).read_description()
    assert description.Text == '<&">    Größe'


async def test_commands_types_and_places_are_there(tmp_path: Path) -> None:
    table, _ = filled_table()
    server = await imported(await face(tmp_path).nodeset(table.plant))
    here, types = [await server.get_namespace_index(uri) for uri in (INSTANCES, TYPES)]
    arguments = await value(server.get_node(ua.NodeId("extruder-1.Commands.SetPid.FrontCall.InputArguments", here)))
    assert [one.Name for one in arguments] == ["Kp", "Zone"]  # type: ignore[attr-defined]
    kind = await server.get_node(ua.NodeId("extruder-1", here)).read_type_definition()
    assert (kind.NamespaceIndex, kind.Identifier) == (types, "qitech.extruder")
    line = server.get_node(ua.NodeId("Areas:acme:essen:extrusion:line-1", here))
    assert [one.nodeid.Identifier for one in await line.get_children()] == ["extruder-1"]
    ended = server.get_node(ua.NodeId("CommandEndedEventType", types))
    assert (await ended.get_parent()).nodeid == ua.NodeId(ua.ObjectIds.AuditEventType)
    maker = await value(server.get_node(ua.NodeId("extruder-1.Identification.Manufacturer", here)))
    assert getattr(maker, "Text", maker) == "QiTech"


async def test_without_machinery_nothing_but_the_standard_is_required(tmp_path: Path) -> None:
    table, _ = filled_table()
    xml = await face(tmp_path, machinery=False).nodeset(table.plant)
    required = Xml.fromstring(xml).iter("{http://opcfoundation.org/UA/2011/03/UANodeSet.xsd}RequiredModel")
    assert [one.get("ModelUri") for one in required] == ["http://opcfoundation.org/UA/"]
    server = Server()
    await server.init()
    await server.import_xml(xmlstring=xml)
    index = await server.get_namespace_index(INSTANCES)
    assert (await server.get_node(ua.NodeId("winder-2", index)).read_browse_name()).Name == "winder-2"


async def test_no_key_and_no_value_is_made_for_it(tmp_path: Path) -> None:
    table, _ = filled_table()
    xml = await face(tmp_path).nodeset(replace(table.plant))
    assert os.listdir(tmp_path) == []
    assert "Grüße" not in xml  # what Status/Message says now


@pytest.mark.peer("node")
async def test_a_product_that_is_not_ours_imports_the_demo_and_browses_all_of_it(tmp_path: Path) -> None:
    demo = Path(__file__).parents[3] / "examples" / "demo" / "bridge.yaml"
    offline = OfflinePlant(load_site([demo], {"DEMO_OPERATOR_HASH": "scrypt$1"}))
    text = await face(tmp_path).nodeset(offline.plant)
    xml = tmp_path / "plant.xml"
    xml.write_text(text, encoding="utf-8")
    others = [str(files("bridge.northbound.opcua") / "nodesets" / file) for _, file in NODESETS]
    printed = await peers.run_node("opcua_nodeset.js", INSTANCES, *others, str(xml))
    found = json.loads(printed.splitlines()[-1])
    assert {INSTANCES, TYPES, *(uri for uri, _ in NODESETS)} <= set(found["namespaces"])
    written = set(re.findall(r'<UA\w+ NodeId="ns=1;s=([^"]+)"', text))
    assert written == set(found["nodes"])  # all of it can be reached from Objects
    for machine_ in offline.plant.everything():
        for tag in machine_.tags:
            node, definition = found["nodes"][tag.id], tag.definition
            assert (node["class"], node["dataType"]) == ("Variable", definition.data_type.value), tag.id
            assert node.get("unit") == (definition.unit.unit_id if definition.unit else None), tag.id
            if definition.eu_range and definition.enumeration is None:
                assert node["range"] == list(definition.eu_range), tag.id
            if definition.enumeration:
                assert set(node["texts"]) - {""} == set(definition.enumeration), tag.id
    standby = found["nodes"]["extruder-1.Commands.StandbyCall.OutputArguments"]
    assert ["ErrorText", "String"] in standby["arguments"]
