"""Commands as methods: what they look like, what their arguments must be, and what a call is answered."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua

from bridge.model.command import Door, Outcome, Result
from bridge.model.status import StatusCode
from tests.northbound.opcua.house import House, house, identity, secure_client

pytestmark = pytest.mark.asyncio(loop_scope="module")

V = ua.VariantType
COMMANDS = "extruder-1.Commands"
STANDBY, PID = f"{COMMANDS}.Standby", f"{COMMANDS}.SetPid.Front"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_house() -> AsyncIterator[House]:
    async with house(answer_within=0.2) as home:
        home.trust(identity("caller"))
        yield home


@pytest_asyncio.fixture(loop_scope="module")
async def home(open_house: House) -> House:
    open_house.desk.forget()
    return open_house


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(open_house: House) -> AsyncIterator[Client]:
    async with await secure_client(open_house, identity("caller"), "engineer") as client:
        yield client


def request(parent: str, method: str, *arguments: ua.Variant) -> ua.CallMethodRequest:
    return ua.CallMethodRequest(ua.NodeId(parent, 2), ua.NodeId(method, 2), list(arguments))


async def call(client: Client, *requests: ua.CallMethodRequest) -> list[ua.CallMethodResult]:
    return await client.uaclient.call(list(requests))


def outputs(result: ua.CallMethodResult) -> list[Any]:
    return [one.Value for one in result.OutputArguments]


def pid(*arguments: ua.Variant) -> ua.CallMethodRequest:
    return request(f"{COMMANDS}.SetPid", f"{PID}Call", *arguments)


async def test_method_is_found_below_commands_with_its_arguments(client: Client) -> None:
    folder = client.get_node(f"ns=2;s={COMMANDS}")
    methods = await folder.get_methods()
    assert [str(one.nodeid.Identifier) for one in methods] == [f"{STANDBY}Call"]
    assert (await methods[0].read_browse_name()) == ua.QualifiedName("StandbyCall", 3)
    assert (await methods[0].read_description()).Text == "Motors and heaters off"
    assert [one.nodeid.Identifier for one in await methods[0].get_properties()] == [f"{STANDBY}Call.OutputArguments"]
    kp, zone = await client.get_node(f"ns=2;s={PID}Call.InputArguments").read_value()
    assert (kp.Name, kp.DataType, kp.ValueRank) == ("Kp", ua.NodeId(ua.ObjectIds.Double), -1)
    assert kp.Description.Text == "0 to 100"
    assert (zone.Name, zone.DataType) == ("Zone", ua.NodeId(ua.ObjectIds.String))
    assert zone.Description.Text == "one of front, back"
    told = await client.get_node(f"ns=2;s={PID}Call.OutputArguments").read_value()
    assert [one.Name for one in told] == ["ErrorText", "VendorCode", "Result"]


async def test_call_becomes_a_command_and_its_outcome_the_outputs(home: House, client: Client) -> None:
    home.desk.answers[PID] = Outcome(Result.REFUSED, StatusCode.BadInvalidState, "The door is open", vendor_code=409)
    (result,) = await call(client, pid(ua.Variant(1.5, V.Float), ua.Variant("front\0", V.String)))
    assert result.StatusCode.name == "BadInvalidState"
    assert outputs(result) == ["The door is open", 409, "refused"]
    (command,) = home.desk.commands
    assert (command.target, command.arguments) == (PID, {"Kp": 1.5, "Zone": "front"})
    assert (command.door, command.requester) == (Door.OPCUA_METHOD, "engineer@127.0.0.1")


async def test_confirmed_call_is_good_and_has_nothing_to_explain(client: Client, home: House) -> None:
    parent, method = client.get_node(f"ns=2;s={COMMANDS}"), ua.NodeId(f"{STANDBY}Call", 2)
    assert await parent.call_method(method) == ["", 0, "confirmed"]
    assert home.desk.asked == [(STANDBY, {})]


async def test_changed_is_good_clamped_with_its_sentence(client: Client, home: House) -> None:
    home.desk.answers[STANDBY] = Outcome(Result.CHANGED, StatusCode.GoodClamped, "It took 25")
    (result,) = await call(client, request(COMMANDS, f"{STANDBY}Call"))
    assert (result.StatusCode.value, outputs(result)) == (StatusCode.GoodClamped, ["It took 25", 0, "changed"])


DOUBLE, TEXT = ua.Variant(1.0), ua.Variant("front")


@pytest.mark.parametrize(
    ("arguments", "status", "results"),
    [
        ((), "BadArgumentsMissing", []),
        ((DOUBLE,), "BadArgumentsMissing", []),
        ((DOUBLE, TEXT, TEXT), "BadTooManyArguments", []),
        ((TEXT, TEXT), "BadInvalidArgument", ["BadTypeMismatch", "Good"]),
        ((ua.Variant([1.0]), ua.Variant(3)), "BadInvalidArgument", ["BadTypeMismatch", "BadTypeMismatch"]),
        ((ua.Variant(float("nan")), TEXT), "BadInvalidArgument", ["BadOutOfRange", "Good"]),
        ((DOUBLE, ua.Variant("\udcff", V.String)), "BadInvalidArgument", ["Good", "BadInvalidArgument"]),
    ],
)
async def test_arguments_are_counted_and_typed(
    home: House, client: Client, arguments: tuple[ua.Variant, ...], status: str, results: list[str]
) -> None:
    (result,) = await call(client, pid(*arguments))
    assert result.StatusCode.name == status
    assert [one.name for one in result.InputArgumentResults or ()] == results
    assert home.desk.commands == []


async def test_calls_of_one_request_are_answered_each(home: House, client: Client) -> None:
    home.desk.answers[PID] = "silent"
    results = await call(
        client,
        request(COMMANDS, f"{STANDBY}Call"),
        pid(DOUBLE, TEXT),
        request("extruder-1", f"{STANDBY}Call"),
        request("winder-2.Commands", f"{STANDBY}Call"),
        request("nothing", f"{STANDBY}Call"),
        request(COMMANDS, "nothing"),
        request(COMMANDS, STANDBY),  # the handshake object
        request(STANDBY, f"{STANDBY}.Execute"),
    )
    wanted = ["Good", "BadTimeout", "BadMethodInvalid", "BadMethodInvalid", "BadNodeIdUnknown"]
    assert [one.StatusCode.name for one in results] == [*wanted, *["BadMethodInvalid"] * 3]
    assert outputs(results[1])[2] == "unknown"
    assert home.desk.asked == [(STANDBY, {}), (PID, {"Kp": 1.0, "Zone": "front"})]
    assert not home.desk.tickets[1].end.cancelled()


@pytest.mark.parametrize(
    ("user", "standby", "protection"), [("observer", False, False), ("operator", True, False), ("engineer", True, True)]
)
async def test_who_may_call_is_shown_and_enforced(home: House, user: str, standby: bool, protection: bool) -> None:
    async with await secure_client(home, identity("caller"), user) as client:
        for method, wanted in ((f"{STANDBY}Call", standby), (f"{PID}Call", protection)):
            node = client.get_node(f"ns=2;s={method}")
            assert (await node.read_attribute(ua.AttributeIds.Executable)).Value.Value is True
            assert (await node.read_attribute(ua.AttributeIds.UserExecutable)).Value.Value is wanted
        results = await call(client, request(COMMANDS, f"{STANDBY}Call"), pid(DOUBLE, TEXT))
        assert [one.StatusCode.is_good() for one in results] == [standby, protection]
        assert {one.StatusCode.name for one in results} <= {"Good", "BadUserAccessDenied"}
    assert len(home.desk.commands) == standby + protection
