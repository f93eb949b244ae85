"""Handshake objects over the wire: the order of one request, what a subscriber sees, time-outs, restart, change."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua

from bridge.model.command import UNSET_TIMES, Argument, CommandDefinition, Door, Outcome, Result
from bridge.model.plant import Machine, Plant
from bridge.model.status import StatusCode
from bridge.model.tag import TagDefinition
from bridge.model.value import DataType
from bridge.northbound.opcua import nodes
from tests.northbound.opcua.house import CONFIRMED, House, Seen, eventually, house, identity, secure_client
from tests.one_of_everything import COMMANDS, filled_table, machine

pytestmark = pytest.mark.asyncio(loop_scope="module")

V = ua.VariantType
STANDBY = "extruder-1.Commands.Standby"
PID = "extruder-1.Commands.SetPid.Front"
CALLED = ["", 0, "confirmed"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_house() -> AsyncIterator[House]:
    async with house(handshake_timeout=0.3) as home:
        home.trust(identity("plc"))
        yield home


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(open_house: House) -> AsyncIterator[Client]:
    async with await secure_client(open_house, identity("plc"), "engineer") as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def home(open_house: House, client: Client) -> House:
    """Every object as it is between two commands of a PLC."""
    open_house.desk.forget()
    for base in (STANDBY, PID):
        await write(client, base, Execute=False, RequestId=0)
        await until(client, base, State=0)
    return open_house


def item(node: str, value: Any) -> ua.WriteValue:
    if not isinstance(value, ua.Variant):
        kinds = {bool: V.Boolean, int: V.UInt32, float: V.Double, str: V.String}
        value = ua.Variant(value, kinds[type(value)])
    return ua.WriteValue(ua.NodeId(node, 2), ua.AttributeIds.Value, None, ua.DataValue(value))


async def write(client: Client, base: str, **fields: Any) -> list[str]:
    """Fields in the order they are named; an argument has a capital and is not one of the object's own."""
    own = ("Execute", "RequestId")
    items = [item(f"{base}.{name}" if name in own else f"{base}.Args.{name}", one) for name, one in fields.items()]
    return [status.name for status in await client.uaclient.write(ua.WriteParameters(items))]


async def read(client: Client, base: str, *names: str) -> list[Any]:
    values = await client.read_attributes([client.get_node(f"ns=2;s={base}.{name}") for name in names])
    return [one.Value.Value for one in values]


async def until(client: Client, base: str, **expected: Any) -> None:
    async with asyncio.timeout(30):
        while await read(client, base, *expected) != list(expected.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def edge(client: Client, base: str = STANDBY, **fields: Any) -> list[str]:
    await write(client, base, Execute=False)
    return await write(client, base, **fields, Execute=True)


async def test_object_has_a_type_and_typed_variables(client: Client) -> None:
    node = client.get_node(f"ns=2;s={PID}")
    assert await node.read_type_definition() == ua.NodeId("CommandType", 3)
    names = {(await child.read_browse_name()).Name for child in await node.get_children()}
    assert {"Args", "Results", "Execute", "RequestId", "State", "Busy", "Done", "Error", "AckRequestId"} <= names
    assert {"ErrorCode", "VendorCode", "ErrorText", "ExecutionCount", "StartedAt", "FinishedAt"} <= names
    words = await client.get_node(f"ns=2;s={PID}.State.EnumStrings").read_value()
    assert [one.Text for one in words] == ["Idle", "Busy", "Done", "Error"]
    eu_range = await client.get_node(f"ns=2;s={PID}.Args.Kp.EURange").read_value()
    assert (eu_range.Low, eu_range.High) == (0, 100)
    waiting = await client.get_node("ns=2;s=winder-2.Commands.SetPid.Front.Args.Kp").read_data_value(False)
    assert waiting.StatusCode.value == StatusCode.BadWaitingForInitialData


async def test_arguments_come_before_execute_whatever_their_order(home: House, client: Client) -> None:
    await write(client, PID, Execute=False)
    assert await write(client, PID, Execute=True, Zone="front\0\0", RequestId=5, Kp=1.5) == ["Good"] * 4
    (command,) = home.desk.commands
    assert (command.target, command.arguments) == (PID, {"Kp": 1.5, "Zone": "front"})
    assert (command.door, command.requester) == (Door.OPCUA_HANDSHAKE, "engineer@127.0.0.1")
    await until(client, PID, State=2, Done=True, Busy=False, AckRequestId=5, ErrorCode=0)
    assert await read(client, PID, "Args.Kp", "Args.Zone", "Execute") == [1.5, "front", True]


async def test_state_is_busy_when_the_answer_leaves(home: House, client: Client) -> None:
    home.desk.answers[STANDBY] = "accepted"
    assert await edge(client) == ["Good"]
    assert await read(client, STANDBY, "State", "Busy", "Done") == [1, True, False]
    home.desk.tickets[0].end.set_result(CONFIRMED)
    await until(client, STANDBY, State=2)


async def test_edge_that_the_desk_refuses_is_answered_with_its_words(home: House, client: Client) -> None:
    home.desk.answers[STANDBY] = Outcome(Result.REJECTED, StatusCode.BadUserAccessDenied, "Only an Engineer may")
    before = await read(client, STANDBY, "ExecutionCount")
    assert await edge(client, RequestId=3) == ["Good", "BadUserAccessDenied"]
    await until(client, STANDBY, State=3, Error=True, ErrorText="Only an Engineer may", AckRequestId=3)
    assert await read(client, STANDBY, "ExecutionCount") == before


async def test_refused_by_the_machine_is_good_first_and_then_error(home: House, client: Client) -> None:
    refused = Outcome(Result.REFUSED, StatusCode.BadInvalidState, "The door is open", vendor_code=409)
    home.desk.answers[STANDBY] = "accepted"
    assert await edge(client) == ["Good"]
    home.desk.tickets[0].end.set_result(refused)
    await until(client, STANDBY, State=3, VendorCode=409, ErrorText="The door is open")
    assert await read(client, STANDBY, "ErrorCode", "Results.Result") == [StatusCode.BadInvalidState, "refused"]


async def test_execute_written_every_cycle_starts_once(home: House, client: Client) -> None:
    await write(client, STANDBY, Execute=False)
    statuses = [await write(client, STANDBY, Execute=True) for _ in range(20)]
    assert statuses == [["Good"]] * 20
    assert len(home.desk.commands) == 1


async def test_result_stays_a_second_and_then_idle_comes_by_itself(home: House, client: Client) -> None:
    seen = Seen()
    subscription = await client.create_subscription(50, seen)
    state = f"{STANDBY}.State"
    await subscription.subscribe_data_change(client.get_node(f"ns=2;s={state}"), queuesize=10)
    await edge(client)
    await until(client, STANDBY, State=2)
    await write(client, STANDBY, Execute=False)
    await eventually(lambda: [one.Value.Value for one in seen.of(state)][-2:] == [2, 0])
    done, idle = seen.of(state)[-2:]
    assert 0.95 <= (idle.SourceTimestamp - done.SourceTimestamp).total_seconds() <= 2
    await subscription.delete()


async def test_subscriber_never_sees_done_with_old_results(home: House, client: Client) -> None:
    pairs: list[tuple[str, Any]] = []

    class Handler:
        def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
            pairs.append((str(node.nodeid.Identifier).rpartition(".")[2], value))

    subscription = await client.create_subscription(50, Handler())
    names = ("Done", "AckRequestId", "ErrorText")
    await subscription.subscribe_data_change([client.get_node(f"ns=2;s={STANDBY}.{name}") for name in names])
    for number in range(1, 6):
        changed = Outcome(Result.CHANGED, StatusCode.GoodClamped, f"result {number}")
        home.desk.answers[STANDBY] = "accepted"
        await edge(client, RequestId=number)
        await eventually(lambda: ("Done", False) in pairs)
        pairs.clear()
        home.desk.tickets[-1].end.set_result(changed)
        await eventually(lambda: ("Done", True) in pairs)
        before_done = pairs[: pairs.index(("Done", True))]
        assert ("AckRequestId", number) in before_done
        assert ("ErrorText", f"result {number}") in before_done
    await subscription.delete()


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Kp", "much", "BadTypeMismatch"),
        ("Kp", 101.0, "BadOutOfRange"),
        ("Kp", ua.Variant([1.0, 2.0]), "BadTypeMismatch"),
        ("Zone", "left", "BadOutOfRange"),
        ("Zone", "x" * 255, "BadOutOfRange"),
        ("RequestId", -1.5, "BadTypeMismatch"),
        ("RequestId", ua.Variant(-1, V.Int32), "BadOutOfRange"),
    ],
)
async def test_refused_argument_keeps_execute_from_starting(
    home: House, client: Client, name: str, value: Any, status: str
) -> None:
    await write(client, PID, Kp=1.0, Zone="front", RequestId=0)
    assert await edge(client, PID, **{name: value}) == [status, "BadInvalidArgument"]
    await until(client, PID, State=3)
    (sentence,) = await read(client, PID, "ErrorText")
    assert name in sentence
    assert home.desk.commands == []


async def test_execute_takes_only_a_boolean(home: House, client: Client) -> None:
    await write(client, STANDBY, Execute=False)
    assert await write(client, STANDBY, Execute=1) == ["BadTypeMismatch"]
    assert home.desk.commands == []


async def test_plc_types_that_fit_are_taken(home: House, client: Client) -> None:
    await edge(client, PID, Kp=ua.Variant(1.5, V.Float), Zone="back", RequestId=ua.Variant(7, V.Int16))
    assert home.desk.asked == [(PID, {"Kp": 1.5, "Zone": "back"})]


async def test_same_request_again_does_nothing_and_shows_its_result(home: House, client: Client) -> None:
    await edge(client, PID, Kp=1.0, Zone="front", RequestId=11)
    await until(client, PID, State=2)
    count = await read(client, PID, "ExecutionCount")
    assert await edge(client, PID, Kp=1.0, Zone="front", RequestId=11) == ["Good"] * 4
    await until(client, PID, State=2, AckRequestId=11)
    assert await edge(client, PID, Kp=2.0, Zone="front", RequestId=11) == ["Good"] * 3 + ["BadInvalidArgument"]
    await until(client, PID, State=3)
    assert len(home.desk.commands) == 1
    assert await read(client, PID, "ExecutionCount") == count


async def test_silent_desk_ends_in_error_and_the_late_answer_is_kept(home: House, client: Client) -> None:
    home.desk.answers[STANDBY] = "accepted"
    await edge(client, RequestId=21)
    (command,) = home.desk.commands
    assert (command.expires - command.issued).total_seconds() == 0.3
    await until(client, STANDBY, State=3, ErrorCode=int(StatusCode.BadTimeout))
    home.desk.tickets[0].end.set_result(CONFIRMED)
    await edge(client, RequestId=21)
    await until(client, STANDBY, State=2)
    assert len(home.desk.commands) == 1


async def test_desk_that_does_not_even_accept_is_a_time_out(home: House, client: Client) -> None:
    home.desk.answers[STANDBY] = "silent"
    assert await edge(client) == ["BadTimeout"]
    await until(client, STANDBY, State=3, ErrorCode=int(StatusCode.BadTimeout))


async def test_client_that_starts_and_vanishes_cancels_nothing(home: House, client: Client) -> None:
    home.desk.answers[STANDBY] = "silent"
    leaving = await secure_client(home, identity("plc"), "operator")
    async with leaving:
        await write(leaving, STANDBY, Execute=False)
        starting = asyncio.create_task(write(leaving, STANDBY, Execute=True))
        await eventually(lambda: home.desk.tickets)
    await asyncio.gather(starting, return_exceptions=True)
    home.desk.tickets[0].accept.set_result(None)
    home.desk.tickets[0].end.set_result(CONFIRMED)
    await until(client, STANDBY, State=2)


async def test_commands_with_engineers_hazards_are_not_an_operators(home: House) -> None:
    async with await secure_client(home, identity("plc"), "operator") as operator:
        assert await write(operator, PID, Kp=1.0, Execute=False) == ["BadUserAccessDenied"] * 2
        node = operator.get_node(f"ns=2;s={PID}.Execute")
        assert await node.get_user_access_level() == {ua.AccessLevel.CurrentRead}
        assert await write(operator, STANDBY, Execute=False, RequestId=1) == ["Good"] * 2


async def test_results_are_nobodys_to_write(client: Client, home: House) -> None:
    statuses = await client.uaclient.write(
        ua.WriteParameters([item(f"{STANDBY}.{name}", True) for name in ("Done", "State", "Busy")])
    )
    assert {one.name for one in statuses} == {"BadNotWritable"}


async def test_two_machines_do_not_share_a_handshake(home: House, client: Client) -> None:
    other = "winder-2.Commands.Standby"
    home.desk.answers[STANDBY] = "accepted"
    await edge(client)
    assert await edge(client, other) == ["Good"]
    await until(client, other, State=2)
    assert await read(client, STANDBY, "State") == [1]


async def test_restart_of_the_bridge_never_fires_again() -> None:
    for _ in range(2):
        async with house() as home:
            home.trust(identity("plc"))
            async with await secure_client(home, identity("plc"), "operator") as client:
                assert await read(client, STANDBY, "Execute", "State", "ExecutionCount") == [False, 0, 0]
                for _ in range(3):
                    assert await write(client, STANDBY, Execute=True) == ["BadInvalidState"]
                assert home.desk.commands == []
                assert await read(client, STANDBY, "Execute", "State") == [False, 0]
                assert await edge(client) == ["Good"]
                assert len(home.desk.commands) == 1


# --- the plant changes ------------------------------------------------------------------------------------------------


def show(home: House, *machines: Machine) -> None:
    known = home.table.plant
    home.table.replace_plant(Plant(known.bridge, {**known.machines, **{one.id: one for one in machines}}))


async def status(client: Client, identifier: str) -> str:
    value = await client.get_node(f"ns=2;s={identifier}").read_data_value(raise_on_bad_status=False)
    return str(value.StatusCode.name)


async def until_status(client: Client, identifier: str, expected: str) -> None:
    async with asyncio.timeout(30):
        while await status(client, identifier) != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_machine_that_goes_takes_its_commands_and_brings_them_back_at_rest() -> None:
    async with house() as home:
        home.trust(identity("plc"))
        async with await secure_client(home, identity("plc"), "engineer") as client:
            before, base = home.table.plant, "winder-2.Commands.Standby"
            home.desk.answers[base] = "accepted"
            await edge(client, base)
            home.table.replace_plant(Plant(before.bridge, {"extruder-1": before.machines["extruder-1"]}))
            await until_status(client, f"{base}.State", "BadOutOfService")
            assert await write(client, base, Execute=False) == ["BadNotWritable"]
            parent, method = ua.NodeId("winder-2.Commands", 2), ua.NodeId(f"{base}Call", 2)
            (called,) = await client.uaclient.call([ua.CallMethodRequest(parent, method)])
            assert called.StatusCode.name == "BadNotExecutable"
            executable = await client.get_node(method).read_attribute(ua.AttributeIds.Executable)
            assert executable.Value.Value is False
            home.desk.tickets[0].end.set_result(CONFIRMED)
            show(home, machine(home.slots, "winder-2"))
            await until_status(client, f"{base}.State", "Good")
            assert await read(client, base, "State", "Execute", "ExecutionCount") == [0, False, 0]
            assert await write(client, base, Execute=True) == ["BadInvalidState"]


async def test_machine_compiled_anew_goes_on_with_what_it_was_doing(home: House, client: Client) -> None:
    home.desk.answers[STANDBY] = "accepted"
    await edge(client, RequestId=31)
    again = machine(home.slots, "extruder-1")
    fresh = replace(again, commands=(*COMMANDS, CommandDefinition("Fresh", "values")), _by_name={})
    show(home, fresh)
    await until_status(client, "extruder-1.Commands.Fresh.State", "Good")
    assert await read(client, STANDBY, "State") == [1]
    home.desk.tickets[0].end.set_result(CONFIRMED)
    await until(client, STANDBY, State=2, AckRequestId=31)


async def test_command_with_other_arguments_begins_anew() -> None:
    async with house() as home:
        home.trust(identity("plc"))
        async with await secure_client(home, identity("plc"), "engineer") as client:
            await write(client, PID, Kp=1.0, Zone="front", Execute=False)
            other = replace(COMMANDS[1], arguments=(Argument("Kp", DataType.Int32), Argument("Ki", DataType.Double)))
            show(home, replace(machine(home.slots), commands=(COMMANDS[0], other), _by_name={}))
            await until_status(client, f"{PID}.Args.Ki", "BadWaitingForInitialData")
            assert await status(client, f"{PID}.Args.Zone") == "BadNodeIdUnknown"
            assert await status(client, f"{PID}.Args.Kp") == "BadWaitingForInitialData"
            names = [one.Name for one in await client.get_node(f"ns=2;s={PID}Call.InputArguments").read_value()]
            assert names == ["Kp", "Ki"]
            assert await write(client, PID, Execute=True) == ["BadInvalidState"]


async def test_arguments_that_may_be_left_out_have_a_value_from_the_start() -> None:
    arguments = (
        Argument("Part", DataType.String),
        Argument("Who", DataType.String, default="shift@acme.example", person=True),
        Argument("Count", DataType.Int32, default=1),
        Argument("Version", DataType.String, default="7"),
        Argument("At", DataType.DateTime, default=UNSET_TIMES[0]),
    )
    async with house() as home:
        home.trust(identity("plc"))
        async with await secure_client(home, identity("plc"), "engineer") as client:
            start = CommandDefinition("Start", "values", arguments)
            show(home, replace(machine(home.slots), commands=(*COMMANDS, start), _by_name={}))
            base = "extruder-1.Commands.Start"
            await until_status(client, f"{base}.Args.Part", "BadWaitingForInitialData")
            assert await read(client, base, "Args.Who", "Args.Count") == ["", 1]
            assert await edge(client, base, Part="P1") == ["Good", "Good"]
            await until(client, base, State=2)
            assert await edge(client, base, Who="anna@acme.example", Version="") == ["Good"] * 3
            assert await read(client, base, "Args.Who") == ["(e-mail)"]
            unset = ua.Variant(UNSET_TIMES[1], V.DateTime)
            inputs = [ua.Variant("P1"), ua.Variant(""), ua.Variant(1, V.Int32), ua.Variant(""), unset]
            method = ua.NodeId(f"{base}Call", 2)
            assert await client.get_node("ns=2;s=extruder-1.Commands").call_method(method, *inputs) == CALLED
            first, second, third = home.desk.commands
            assert (first.arguments, first.user) == ({"Part": "P1", "Who": "", "Count": 1, "Version": "7"}, "engineer")
            assert second.arguments == {"Part": "P1", "Who": "anna@acme.example", "Count": 1}
            assert third.arguments.keys() - {"At"} == {"Part", "Who", "Count"}


async def test_machine_without_commands_shows_none() -> None:
    async with house() as home:
        home.trust(identity("plc"))
        async with await secure_client(home, identity("plc"), "engineer") as client:
            show(home, replace(machine(home.slots, "laser-3"), commands=(), _by_name={}))
            await until_status(client, "laser-3.Monitoring.Pressure", "BadWaitingForInitialData")
            assert await status(client, "laser-3.Commands.Standby.State") == "BadNodeIdUnknown"


@pytest.mark.parametrize(
    ("commands", "tags", "fault"),
    [
        ((CommandDefinition("A", "p"), CommandDefinition("ACall", "p")), (), "m.Commands.ACall is there already"),
        ((CommandDefinition("A", "p"), CommandDefinition("A/B", "p")), (), "cannot be the folder of another"),
        ((CommandDefinition("Last", "p"),), ("Commands/Last/At",), "m.Commands.Last is there already"),
        ((CommandDefinition("A", "p"),), ("Commands/A",), "m.Commands.A is there already"),
        ((CommandDefinition("A b", "p"),), (), "characters a NodeId must not have"),
        ((CommandDefinition("A", "p", (Argument("x.y", DataType.Double),)),), (), "characters a NodeId must not have"),
        ((CommandDefinition("A", "p", (Argument("x", DataType.Double),) * 2),), (), "the same name"),
        ((CommandDefinition("x" * 60 + "/" + "y" * 40, "p"),), (), "may have 120 characters"),
    ],
)
async def test_faults_name_commands_that_cannot_be_shown(
    commands: tuple[CommandDefinition, ...], tags: tuple[str, ...], fault: str
) -> None:
    table, slots = filled_table()
    definitions = tuple(TagDefinition(name, DataType.Double) for name in tags)
    made = replace(machine(slots, "m", definitions), commands=commands, _by_name={})
    (found,) = nodes.faults(Plant(table.plant.bridge, {"m": made}))
    assert fault in found


async def test_a_secret_argument_is_written_and_never_shown() -> None:
    async with house() as home:
        home.trust(identity("plc"))
        async with await secure_client(home, identity("plc"), "engineer") as client:
            unlock = CommandDefinition("Unlock", "values", (Argument("Pin", DataType.Int32),))
            show(home, replace(machine(home.slots), commands=(*COMMANDS, unlock), _by_name={}))
            base = "extruder-1.Commands.Unlock"
            await until_status(client, f"{base}.Args.Pin", "BadUserAccessDenied")
            assert await edge(client, base, Pin=4711) == ["Good", "Good"]
            assert await status(client, f"{base}.Args.Pin") == "BadUserAccessDenied"
            assert home.desk.commands[-1].arguments == {"Pin": 4711}
