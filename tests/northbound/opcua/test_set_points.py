"""Writes of set points: what reaches the desk, what the client is answered, and what the others notice."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua

from bridge.model.command import Door, Outcome, Result, Role
from bridge.model.status import StatusCode
from bridge.model.tag import TagDefinition
from bridge.model.value import DataType
from bridge.northbound.opcua.convert import from_variant
from tests.northbound.opcua.house import FakeTicket, House, Seen, eventually, house, identity, secure_client
from tests.one_of_everything import machine

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPEED, MODE, ENABLED = (f"extruder-1.Setpoints.{name}" for name in ("ScrewSpeed", "Mode", "Enabled"))
PRESSURE = "extruder-1.Monitoring.Pressure"
V = ua.VariantType
NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_house() -> AsyncIterator[House]:
    async with house(answer_within=0.3) as home:
        home.trust(identity("writer"))
        yield home


@pytest_asyncio.fixture(loop_scope="module")
async def home(open_house: House) -> House:
    open_house.desk.forget()
    return open_house


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(open_house: House) -> AsyncIterator[Client]:
    async with await secure_client(open_house, identity("writer"), "operator") as client:
        yield client


def item(node: str, value: Any, kind: ua.VariantType | None = None, **more: Any) -> ua.WriteValue:
    variant = value if isinstance(value, ua.Variant) else ua.Variant(value, kind)
    return ua.WriteValue(ua.NodeId(node, 2), ua.AttributeIds.Value, None, ua.DataValue(variant, **more))


async def write(client: Client, *items: ua.WriteValue) -> list[str]:
    return [status.name for status in await client.uaclient.write(ua.WriteParameters(list(items)))]


async def test_write_becomes_a_command_and_its_answer_the_status(home: House, client: Client) -> None:
    assert await write(client, item(SPEED, 12.5)) == ["Good"]
    (command,) = home.desk.commands
    assert (command.target, command.arguments) == (SPEED, {"value": 12.5})
    assert (command.door, command.role) == (Door.OPCUA_WRITE, Role.OPERATOR)
    assert command.requester == "operator@127.0.0.1"
    assert command.id.startswith("ua:")
    assert command.expires - command.issued == timedelta(seconds=30)
    assert abs(datetime.now(UTC) - command.issued) < timedelta(seconds=5)


async def test_value_that_is_shown_stays_the_machines(home: House, client: Client) -> None:
    await write(client, item(SPEED, 12.5))
    assert await client.get_node(f"ns=2;s={SPEED}").read_value() == 30.0


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (Result.CHANGED, StatusCode.GoodClamped),
        (Result.ACCEPTED, StatusCode.GoodCompletesAsynchronously),
        (Result.QUEUED, StatusCode.GoodCompletesAsynchronously),
        (Result.REJECTED, StatusCode.BadOutOfRange),
        (Result.REJECTED, StatusCode.BadTypeMismatch),
        (Result.SUPERSEDED, StatusCode.BadRequestCancelledByClient),
        (Result.EXPIRED, StatusCode.BadTimeout),
        (Result.REFUSED, StatusCode.BadInvalidState),
        (Result.UNREACHED, StatusCode.BadNotConnected),
        (Result.UNKNOWN, StatusCode.BadTimeout),
    ],
)
async def test_every_outcome_has_its_status(home: House, client: Client, result: Result, status: StatusCode) -> None:
    home.desk.answers[SPEED] = Outcome(result, status, "so it is")
    assert await write(client, item(SPEED, 12.5)) == [status.name]


@pytest.mark.parametrize(
    ("kind", "value"),
    [(V.Float, 30.0), (V.Int16, 30), (V.Byte, 30), (V.UInt64, 2**63), (V.Double, float("nan")), (V.Boolean, True)],
)
async def test_every_scalar_is_handed_to_the_desk_as_it_came(
    home: House, client: Client, kind: ua.VariantType, value: Any
) -> None:
    assert await write(client, item(SPEED, value, kind)) == ["Good"]
    (given,) = (one.arguments["value"] for one in home.desk.commands)
    assert type(given) is type(value)
    assert repr(given) == repr(value)


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (item(SPEED, ua.Variant([1.0, 2.0], V.Double)), "BadTypeMismatch"),
        (item(SPEED, ua.Variant(None, V.Null)), "BadTypeMismatch"),
        (item(SPEED, b"30", V.ByteString), "BadTypeMismatch"),
        (item(SPEED, ua.LocalizedText("30"), V.LocalizedText), "BadTypeMismatch"),
        (item(SPEED, ua.Range(1, 2), V.ExtensionObject), "BadTypeMismatch"),
        (item(SPEED, 1.0, SourceTimestamp=NOW), "BadWriteNotSupported"),
        (item(SPEED, 1.0, StatusCode=ua.StatusCode(ua.StatusCodes.UncertainInitialValue)), "BadWriteNotSupported"),
        (ua.WriteValue(ua.NodeId(SPEED, 2), ua.AttributeIds.Value, "0:1", ua.DataValue(1.0)), "BadWriteNotSupported"),
        (ua.WriteValue(ua.NodeId(SPEED, 2), ua.AttributeIds.DisplayName, None, ua.DataValue(1.0)), "BadNotWritable"),
    ],
    ids=["array", "null", "bytes", "localized", "structure", "source time", "status", "index range", "attribute"],
)
async def test_what_a_set_point_cannot_be_never_reaches_the_desk(
    home: House, client: Client, refused: ua.WriteValue, status: str
) -> None:
    assert await write(client, refused) == [status]
    assert home.desk.commands == []


async def test_mixed_request_is_answered_per_item_and_carried_out_in_order(home: House, client: Client) -> None:
    home.desk.answers[MODE] = Outcome(Result.REJECTED, StatusCode.BadOutOfRange, "There is no such mode")
    statuses = await write(
        client,
        item(SPEED, 1.0),
        item(PRESSURE, 2.0),
        item(MODE, 9),
        item("nothing", 1),
        item(ENABLED, True),
        item(SPEED, [1.0]),
    )
    expected = ["Good", "BadNotWritable", "BadOutOfRange", "BadNodeIdUnknown", "Good", "BadTypeMismatch"]
    assert statuses == expected
    assert home.desk.asked == [(SPEED, {"value": 1.0}), (MODE, {"value": 9}), (ENABLED, {"value": True})]


async def test_observer_reaches_nobody(home: House) -> None:
    async with await secure_client(home, identity("writer"), "observer") as observer:
        assert await write(observer, item(SPEED, 1.0)) == ["BadUserAccessDenied"]
        node = observer.get_node(f"ns=2;s={SPEED}")
        assert await node.get_access_level() == {ua.AccessLevel.CurrentRead, ua.AccessLevel.CurrentWrite}
        assert await node.get_user_access_level() == {ua.AccessLevel.CurrentRead}
    assert home.desk.commands == []


async def test_operator_sees_that_it_may_write(client: Client) -> None:
    node = client.get_node(f"ns=2;s={SPEED}")
    assert await node.get_user_access_level() == {ua.AccessLevel.CurrentRead, ua.AccessLevel.CurrentWrite}
    pressure = client.get_node(f"ns=2;s={PRESSURE}")  # it has a history
    assert await pressure.get_user_access_level() == {ua.AccessLevel.CurrentRead, ua.AccessLevel.HistoryRead}


async def test_slow_desk_is_answered_bad_timeout_and_goes_on(home: House, client: Client) -> None:
    home.desk.answers[SPEED] = "accepted"
    assert await write(client, item(SPEED, 1.0), item(SPEED, 2.0), item(ENABLED, True)) == [
        "BadTimeout",
        "BadTimeout",
        "Good",
    ]
    assert [ticket.end.cancelled() for ticket in home.desk.tickets] == [False] * 3


async def test_slow_desk_stops_neither_reads_nor_publishing_of_the_session() -> None:
    async with house(answer_within=30) as home:
        home.trust(identity("writer"))
        async with await secure_client(home, identity("writer"), "operator") as client:
            await writes_that_wait(home, client)


async def writes_that_wait(home: House, client: Client) -> None:
    seen = Seen()
    subscription = await client.create_subscription(50, seen)
    await subscription.subscribe_data_change(client.get_node(f"ns=2;s={PRESSURE}"))
    await eventually(lambda: seen.of(PRESSURE))
    home.desk.answers[SPEED] = "silent"
    writing = [asyncio.create_task(write(client, item(SPEED, float(number)))) for number in range(20)]
    await eventually(lambda: len(home.desk.commands) == 20)
    tag = home.tag("Monitoring/Pressure")
    home.table.update([(tag.slot, home.table.read(tag)._replace(value=99.0))])
    await eventually(lambda: seen.of(PRESSURE)[-1].Value.Value == 99.0)
    assert await client.get_node(f"ns=2;s={ENABLED}").read_value() is True
    assert not any(task.done() for task in writing)
    for ticket in home.desk.tickets:
        ticket.end.set_result(Outcome(Result.CONFIRMED, StatusCode.Good, ""))
    assert await asyncio.gather(*writing) == [["Good"]] * 20
    assert [one.arguments["value"] for one in home.desk.commands] == [float(number) for number in range(20)]


async def test_client_that_writes_and_vanishes_cancels_nothing(home: House) -> None:
    home.desk.answers[SPEED] = "silent"
    leaving = await secure_client(home, identity("writer"), "operator")
    async with leaving:
        writing = asyncio.create_task(write(leaving, item(SPEED, 1.0), item(SPEED, 2.0)))
        await eventually(lambda: len(home.desk.commands) == 2)
    await asyncio.gather(writing, return_exceptions=True)
    assert all(isinstance(ticket, FakeTicket) and not ticket.end.done() for ticket in home.desk.tickets)


async def test_writes_at_once_beyond_the_bound_wait_for_their_turn(home: House, client: Client) -> None:
    home.desk.answers[SPEED] = "silent"
    writing = [asyncio.create_task(write(client, item(SPEED, float(number)))) for number in range(40)]
    assert await asyncio.gather(*writing) == [["BadTimeout"]] * 40
    assert len(home.desk.commands) == 40


async def test_text_from_a_plc_is_trimmed_and_its_zero_time_is_now(home: House, client: Client) -> None:
    text = TagDefinition("Setpoints/Part", DataType.String, writable=True)
    moment = TagDefinition("Setpoints/Start", DataType.DateTime, writable=True)
    made, before = machine(home.slots, "press-7", (text, moment)), home.table.plant
    home.table.replace_plant(type(before)(before.bridge, {**before.machines, "press-7": made}))
    part, start = (tag.id for tag in made.tags)
    async with asyncio.timeout(30):
        while await write(client, item(part, "bolt \0 \0\0")) != ["Good"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await write(client, item(start, datetime(1601, 1, 1, tzinfo=UTC))) == ["Good"]
    assert home.desk.commands[-2].arguments == {"value": "bolt"}
    assert abs(datetime.now(UTC) - home.desk.commands[-1].arguments["value"]) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (ua.Variant("a b\0\0 ", V.String), "a b"),
        (ua.Variant("\0a", V.String), "\0a"),
        (ua.Variant(None, V.String), ""),
        (ua.Variant("\ud800", V.String), StatusCode.BadInvalidArgument),
        (ua.Variant(datetime(1970, 1, 1), V.DateTime), NOW),
        (ua.Variant(datetime(1601, 1, 1, tzinfo=UTC), V.DateTime), NOW),
        (ua.Variant(datetime(1970, 1, 1, 0, 0, 1), V.DateTime), datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        (ua.Variant(datetime(2026, 1, 1, 0, 0, 0, 1999), V.DateTime), datetime(2026, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)),
        (None, StatusCode.BadTypeMismatch),
    ],
)
async def test_what_came_is_what_was_meant(given: ua.Variant | None, expected: Any) -> None:
    assert from_variant(given, NOW, trim=True) == expected


async def test_text_is_left_as_it_came_where_that_was_asked_for() -> None:
    assert from_variant(ua.Variant("a \0", V.String), NOW, trim=False) == "a \0"
