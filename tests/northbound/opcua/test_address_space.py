"""What a client finds: machines, tags, units, values."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from asyncua import Client, ua

from bridge.model.plant import BRIDGE_MACHINE_ID, Plant
from bridge.model.status import StatusCode
from bridge.model.tag import TagDefinition
from bridge.model.value import DataType, DataValue
from tests.northbound.opcua.house import House, Seen, eventually, house
from tests.one_of_everything import DEFINITIONS, NOW, VALUES, machine

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home() -> AsyncIterator[House]:
    async with house(unsecured_read_only=True) as home:
        yield home


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(home: House) -> AsyncIterator[Client]:
    async with Client(home.url) as client:
        yield client


async def read(client: Client, identifier: str) -> ua.DataValue:
    wanted = ua.ReadValueId(ua.NodeId(identifier, 2), ua.AttributeIds.Value)
    params = ua.ReadParameters(TimestampsToReturn=ua.TimestampsToReturn.Both, NodesToRead=[wanted])
    (value,) = await client.uaclient.read(params)
    return value


async def test_every_tag_has_the_value_status_and_time_of_the_table(home: House, client: Client) -> None:
    for one in (home.table.plant.bridge, home.table.plant.machines["extruder-1"]):
        for tag in one.tags:
            expected, got = VALUES[tag.name], await read(client, tag.id)
            assert got.StatusCode.value == expected.status, tag.id
            assert got.Value.Value == expected.value, tag.id
            assert got.SourceTimestamp == expected.source_timestamp, tag.id
            assert got.ServerTimestamp == expected.server_timestamp, tag.id
            assert home.server.address(tag) == f"ns=2;s={tag.id}"


async def test_a_tag_without_a_value_waits_for_it(home: House, client: Client) -> None:
    for tag in home.table.plant.machines["winder-2"].tags:
        got = await read(client, tag.id)
        assert got.StatusCode.value == StatusCode.BadWaitingForInitialData
        assert got.Value.Value is None


async def test_every_tag_has_its_data_type_and_is_writable_where_it_is_a_set_point(home: House, client: Client) -> None:
    for tag in home.table.plant.machines["extruder-1"].tags:
        node = client.get_node(f"ns=2;s={tag.id}")
        assert (await node.read_data_type()).Identifier == ua.VariantType[tag.definition.data_type.value].value
        write = {ua.AccessLevel.CurrentWrite} if tag.definition.writable else set()
        read_ = {ua.AccessLevel.CurrentRead} | ({ua.AccessLevel.HistoryRead} if tag.definition.history else set())
        assert await node.get_access_level() == read_ | write
        assert await node.get_user_access_level() == read_
        assert (await node.read_display_name()).Text == tag.definition.display_name
        assert (await node.read_browse_name()) == ua.QualifiedName(tag.name.rpartition("/")[2], 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Monitoring.Pressure", ua.ObjectIds.AnalogUnitRangeType),
        ("Monitoring.Count", ua.ObjectIds.AnalogUnitType),
        ("Monitoring.Plain", ua.ObjectIds.BaseDataVariableType),
        ("Setpoints.Mode", ua.ObjectIds.MultiStateDiscreteType),
        ("Status.Homed", ua.ObjectIds.BaseDataVariableType),
    ],
)
async def test_variable_type_follows_unit_range_and_enumeration(client: Client, name: str, expected: int) -> None:
    node = client.get_node(f"ns=2;s=extruder-1.{name}")
    assert await node.read_type_definition() == ua.NodeId(expected)


async def test_analog_tag_carries_unit_and_range(client: Client) -> None:
    unit = (await read(client, "extruder-1.Monitoring.Temperature.Front.EngineeringUnits")).Value.Value
    assert unit.UnitId == 4408652  # CEL, by the OPC Foundation's UNECE_to_OPCUA.csv
    assert unit.NamespaceUri == "http://www.opcfoundation.org/UA/units/un/cefact"
    assert unit.DisplayName.Text == "°C"
    eu_range = (await read(client, "extruder-1.Monitoring.Pressure.EURange")).Value.Value
    assert (eu_range.Low, eu_range.High) == (0.0, 350.0)


async def test_dense_enumeration_has_enum_strings_in_order(client: Client) -> None:
    words = (await read(client, "extruder-1.Setpoints.Mode.EnumStrings")).Value.Value
    assert [word.Text for word in words] == ["Standby", "Heat", "Extrude"]


async def test_machine_is_found_by_machinery_and_by_area(client: Client) -> None:
    machinery = await client.get_namespace_index("http://opcfoundation.org/UA/Machinery/")
    machines = await client.get_node(ua.NodeId(1001, machinery)).get_children(nodeclassmask=ua.NodeClass.Object)
    assert {node.nodeid.Identifier for node in machines} == {"extruder-1", "winder-2"}
    line = client.get_node("ns=2;s=Areas:acme:essen:extrusion:line-1")
    assert [node.nodeid.Identifier for node in await line.get_children()] == ["extruder-1"]
    gap = client.get_node("ns=2;s=Areas:acme:essen:winding")
    assert [node.nodeid.Identifier for node in await gap.get_children()] == ["winder-2"]


async def test_identification_is_machinerys_and_filled_from_the_machine(client: Client) -> None:
    di = await client.get_namespace_index("http://opcfoundation.org/UA/DI/")
    machinery = await client.get_namespace_index("http://opcfoundation.org/UA/Machinery/")
    node = await client.get_node("ns=2;s=extruder-1").get_child(f"{di}:Identification")
    assert await node.read_type_definition() == ua.NodeId(1012, machinery)
    assert (await (await node.get_child(f"{di}:Manufacturer")).read_value()).Text == "QiTech"
    assert await (await node.get_child(f"{di}:SerialNumber")).read_value() == "57922"
    assert await (await node.get_child(f"{di}:ProductInstanceUri")).read_value() == "urn:qitech:extruder:57922"


async def test_item_state_follows_its_tag(home: House, client: Client) -> None:
    machinery = await client.get_namespace_index("http://opcfoundation.org/UA/Machinery/")
    machine_node = client.get_node("ns=2;s=extruder-1")
    path = [f"{machinery}:MachineryBuildingBlocks", f"{machinery}:MachineryItemState", "0:CurrentState"]
    current = await machine_node.get_child(path)
    assert (await current.read_value()).Text == "Executing"
    state = await (await current.get_child("0:Id")).read_value()
    assert (await client.get_node(state).read_browse_name()).Name == "Executing"
    tag = home.tag("Status/ItemState")
    home.table.update([(tag.slot, VALUES[tag.name]._replace(value=1))])
    seen: list[str] = []
    while "OutOfService" not in seen:
        seen.append((await current.read_value()).Text)
    home.table.update([(tag.slot, VALUES[tag.name])])
    assert await (await current.get_child("0:Number")).read_value() in (1, 3)


async def test_machines_of_one_mapping_share_a_type_that_declares_their_tags(client: Client) -> None:
    types = {await client.get_node(f"ns=2;s={name}").read_type_definition() for name in ("extruder-1", "winder-2")}
    assert len(types) == 1
    kind = client.get_node(types.pop())
    assert (await kind.read_browse_name()) == ua.QualifiedName("QitechExtruderType", 3)
    declared = await kind.get_child(["3:Monitoring", "3:Temperature", "3:Front"])
    assert await declared.read_type_definition() == ua.NodeId(ua.ObjectIds.AnalogUnitRangeType)
    assert (await kind.get_parent()).nodeid == ua.NodeId("MachineType", 3)


async def test_the_bridge_stands_beside_the_machines(client: Client) -> None:
    assert (await read(client, f"{BRIDGE_MACHINE_ID}.Version")).Value.Value == "0.1.0"
    children = {node.nodeid.Identifier for node in await client.nodes.objects.get_children()}
    assert {"Bridge", "Areas"} <= children


async def test_namespaces_are_where_they_will_always_be(home: House, client: Client) -> None:
    found = await client.get_namespace_array()
    assert found[1:4] == ["urn:test:bridge", "urn:test:bridge:instances", "urn:plantbridge:types"]


async def test_limits_are_advertised(client: Client) -> None:
    node = client.get_node(ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead)
    assert await node.read_value() == 1000
    assert await client.get_node(ua.ObjectIds.Server_ServerStatus_State).read_value() == ua.ServerState.Running


async def test_enumeration_with_gaps_has_enum_values_and_its_text(home: House, client: Client) -> None:
    gaps = TagDefinition("Status/Code", DataType.UInt32, enumeration={"Off": 0, "Alarm": 7})
    made = machine(home.slots, "gap-1", (gaps,))
    plant = home.table.plant
    home.table.replace_plant(Plant(plant.bridge, {**plant.machines, "gap-1": made}))
    home.table.update([(made.tags[0].slot, VALUES["Setpoints/Mode"]._replace(value=7))])
    while (await read(client, "gap-1.Status.Code")).Value.Value != 7:
        pass
    node = client.get_node("ns=2;s=gap-1.Status.Code")
    assert await node.read_type_definition() == ua.NodeId(ua.ObjectIds.MultiStateValueDiscreteType)
    values = await client.get_node("ns=2;s=gap-1.Status.Code.EnumValues").read_value()
    assert [(one.Value, one.DisplayName.Text) for one in values] == [(0, "Off"), (7, "Alarm")]
    text = await read(client, "gap-1.Status.Code.ValueAsText")
    assert text.Value.Value.Text == "Alarm"
    assert text.StatusCode.value == StatusCode.UncertainLastUsableValue
    seen = Seen()
    subscription = await client.create_subscription(50, seen)
    await subscription.subscribe_data_change(client.get_node("ns=2;s=gap-1.Status.Code.ValueAsText"))
    await eventually(lambda: seen.of("gap-1.Status.Code.ValueAsText"))
    more = machine(home.slots, "gap-1", (replace(gaps, enumeration={"Off": 0, "Alert": 7, "Fault": 9}),))
    home.table.replace_plant(Plant(plant.bridge, {**plant.machines, "gap-1": more}))
    home.table.update([(more.tags[0].slot, VALUES["Setpoints/Mode"]._replace(value=9))])
    await eventually(lambda: seen.of("gap-1.Status.Code.ValueAsText")[-1].Value.Value.Text == "Fault")
    assert (await read(client, "gap-1.Status.Code.ValueAsText")).Value.Value.Text == "Fault"
    await subscription.delete()


async def test_without_machinery_machines_are_in_a_folder_of_ours() -> None:
    async with house(unsecured_read_only=True, machinery=False) as plain, Client(plain.url) as client:
        children = await client.get_node("ns=2;s=Machines").get_children(nodeclassmask=ua.NodeClass.Object)
        assert {node.nodeid.Identifier for node in children} == {"extruder-1", "winder-2"}
        assert (await read(client, "extruder-1.Identification.Manufacturer")).Value.Value == "QiTech"
        assert len(await client.get_namespace_array()) == 4


async def test_operation_mode_is_shown_where_the_mapping_knows_one() -> None:
    modes = {"None": 0, "Maintenance": 1, "Setup": 2, "Processing": 3}
    mode = TagDefinition("Status/OperationMode", DataType.UInt32, enumeration=modes)
    async with house(unsecured_read_only=True) as home, Client(home.url) as client:
        known = dict(home.table.plant.machines)
        known["extruder-1"] = machine(home.slots, "extruder-1", (*DEFINITIONS, mode))
        home.table.replace_plant(Plant(home.table.plant.bridge, known))
        tag = home.tag("Status/OperationMode")
        home.table.update([(tag.slot, DataValue(2, StatusCode.Good, NOW, NOW))])
        node = client.get_node("ns=2;s=extruder-1.MachineryOperationMode.CurrentState")
        async with asyncio.timeout(30):
            while (await node.read_data_value(raise_on_bad_status=False)).Value.Value is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await node.read_value()).Text == "Setup"
        machinery = await client.get_namespace_index("http://opcfoundation.org/UA/Machinery/")
        state = client.get_node(await client.get_node(f"{node.nodeid.to_string()}.Id").read_value())
        assert (await state.read_browse_name()) == ua.QualifiedName("Setup", machinery)
        with pytest.raises(ua.uaerrors.BadNodeIdUnknown):
            await client.get_node("ns=2;s=winder-2.MachineryOperationMode").read_browse_name()
