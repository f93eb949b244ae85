"""What a subscriber is told, and how often."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from asyncua import Client, ua
from asyncua.common.subscription import Subscription

from bridge.model.status import StatusCode
from bridge.model.value import DataValue, bad
from tests.northbound.opcua.house import House, Seen, eventually, house
from tests.one_of_everything import NOW, VALUES

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME = "extruder-1.Monitoring.Pressure"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home() -> AsyncIterator[House]:
    async with house(unsecured_read_only=True) as home:
        yield home


@pytest_asyncio.fixture(loop_scope="module")
async def client(home: House) -> AsyncIterator[Client]:
    home.table.update([(home.tag("Monitoring/Pressure").slot, VALUES["Monitoring/Pressure"])])
    async with Client(home.url) as client, asyncio.timeout(30):
        node = client.get_node(ua.NodeId(NAME, 2))
        while (await node.read_data_value(raise_on_bad_status=False)).Value.Value != 12.5:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    async with Client(home.url) as client:
        yield client


class Watch:
    """A subscription with one item, and what it saw."""

    def __init__(self, subscription: Subscription, seen: Seen) -> None:
        self.subscription = subscription
        self.seen = seen
        self.item = 0

    @property
    def values(self) -> list[object]:
        return [one.Value.Value for one in self.seen.of(NAME)]


async def watch(client: Client, *, publishing: float = 50, wait: bool = True, **parameters: object) -> Watch:
    seen = Seen()
    made = Watch(await client.create_subscription(publishing, seen), seen)
    result = await create(made, client, NAME, **parameters)
    assert result.StatusCode.is_good(), result.StatusCode.name
    if wait:
        await eventually(lambda: made.values)
    return made


async def create(made: Watch, client: Client, name: str, **parameters: object) -> ua.MonitoredItemCreateResult:
    request = ua.MonitoredItemCreateRequest()
    request.ItemToMonitor = ua.ReadValueId(ua.NodeId(name, 2), ua.AttributeIds.Value)
    request.MonitoringMode = parameters.pop("mode", ua.MonitoringMode.Reporting)
    request.RequestedParameters = ua.MonitoringParameters(
        **{"ClientHandle": 1, "SamplingInterval": 50.0, "QueueSize": 1, **parameters}
    )
    node = client.get_node(ua.NodeId(name, 2))
    sub = made.subscription
    (result,) = await sub.create_monitored_items([request])
    if isinstance(result, ua.StatusCode):
        return ua.MonitoredItemCreateResult(StatusCode=result)
    made.item = result
    assert node is not None
    return ua.MonitoredItemCreateResult(MonitoredItemId=result)


def put(home: House, value: object, status: StatusCode = StatusCode.Good, seconds: float = 0) -> None:
    moment = NOW + timedelta(seconds=seconds)
    tag = home.tag("Monitoring/Pressure")
    datum = bad(status, "", moment) if status.is_bad else DataValue(value, status, moment, moment)  # type: ignore[arg-type]
    home.table.update([(tag.slot, datum)])


async def test_first_value_comes_at_once_and_then_each_change(home: House, client: Client) -> None:
    made = await watch(client)
    for value in (1.0, 2.0, 3.0):
        put(home, value)
        await eventually(lambda value=value: made.values[-1] == value)
    assert made.values == [12.5, 1.0, 2.0, 3.0]


async def test_status_changes_arrive_with_their_time_and_without_a_value_when_bad(home: House, client: Client) -> None:
    made = await watch(client)
    put(home, 12.5, StatusCode.UncertainLastUsableValue, 1)
    await eventually(lambda: len(made.values) == 2)
    put(home, None, StatusCode.BadNoCommunication, 2)
    await eventually(lambda: len(made.values) == 3)
    put(home, 12.5, StatusCode.Good, 3)
    await eventually(lambda: len(made.values) == 4)
    got = [(one.Value.Value, one.StatusCode.value, one.SourceTimestamp) for one in made.seen.of(NAME)][1:]
    assert got == [
        (12.5, StatusCode.UncertainLastUsableValue, NOW + timedelta(seconds=1)),
        (None, StatusCode.BadNoCommunication, NOW + timedelta(seconds=2)),
        (12.5, StatusCode.Good, NOW + timedelta(seconds=3)),
    ]


async def test_queue_of_one_gives_the_newest_value_only(home: House, client: Client) -> None:
    made = await watch(client, publishing=400)
    for number in range(10):
        put(home, float(number))
        await asyncio.sleep(0.02)
    await eventually(lambda: 9.0 in made.values)
    assert len(made.values) <= 3  # 12.5, perhaps one on the way, 9.0


async def test_sampling_slower_than_publishing_is_honoured(home: House, client: Client) -> None:
    made = await watch(client, SamplingInterval=400.0)
    loop = asyncio.get_running_loop()
    begin, number = loop.time(), 0
    while loop.time() - begin < 1.2:
        number += 1
        put(home, float(number))
        await asyncio.sleep(0.02)
    assert 2 <= len(made.values) <= 5


async def test_queue_keeps_one_value_per_sampling_interval(home: House, client: Client) -> None:
    made = await watch(client, publishing=500, SamplingInterval=50.0, QueueSize=20)
    for number in range(8):
        put(home, float(number))
        await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)
    await eventually(lambda: 7.0 in made.values)
    assert len(made.values) >= 7
    assert made.values == sorted(made.values, key=lambda value: (value != 12.5, value))


async def test_queue_that_overflows_says_so(home: House, client: Client) -> None:
    made = await watch(client, publishing=1000, SamplingInterval=50.0, QueueSize=2, wait=True)
    for number in range(6):
        put(home, float(number))
        await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)
    await eventually(lambda: 5.0 in made.values)
    overflowed = [one for one in made.seen.of(NAME) if one.StatusCode.value & 0x480 == 0x480]
    assert overflowed
    assert all(one.StatusCode.is_good() for one in overflowed)


async def test_same_value_with_a_new_time_is_no_news(home: House, client: Client) -> None:
    made = await watch(client)
    put(home, 12.5, seconds=10)
    await asyncio.sleep(0.05)
    put(home, 13.0)
    await eventually(lambda: 13.0 in made.values)
    assert made.values == [12.5, 13.0]


def data_filter(
    trigger: ua.DataChangeTrigger = ua.DataChangeTrigger.StatusValue,
    kind: ua.DeadbandType = ua.DeadbandType.None_,
    size: float = 0,
) -> ua.DataChangeFilter:
    return ua.DataChangeFilter(Trigger=trigger, DeadbandType=kind, DeadbandValue=size)


async def test_trigger_with_timestamp_reports_a_new_time(home: House, client: Client) -> None:
    made = await watch(client, Filter=data_filter(ua.DataChangeTrigger.StatusValueTimestamp))
    put(home, 12.5, seconds=10)
    await eventually(lambda: len(made.values) == 2)


async def test_trigger_status_ignores_values(home: House, client: Client) -> None:
    made = await watch(client, Filter=data_filter(ua.DataChangeTrigger.Status))
    put(home, 99.0)
    await asyncio.sleep(0.05)
    put(home, 98.0, StatusCode.UncertainLastUsableValue)
    await eventually(lambda: 98.0 in made.values)
    assert made.values == [12.5, 98.0]


async def ramp(home: House, made: Watch, stop: float, step: float) -> None:
    value = 12.5
    while value < stop:
        value += step
        put(home, value)
        await asyncio.sleep(0.03)
    put(home, 1000.0)
    await eventually(lambda: 1000.0 in made.values)


async def test_absolute_deadband_reports_a_slow_ramp(home: House, client: Client) -> None:
    made = await watch(client, Filter=data_filter(kind=ua.DeadbandType.Absolute, size=1.0))
    await ramp(home, made, 17.0, 0.25)
    steps = [later - earlier for earlier, later in zip(made.values, made.values[1:], strict=False)]  # type: ignore[operator]
    assert len(steps) >= 3
    assert all(step > 1.0 for step in steps)


async def test_percent_deadband_is_of_the_range(home: House, client: Client) -> None:
    made = await watch(client, Filter=data_filter(kind=ua.DeadbandType.Percent, size=1.0))  # 3.5 of 0 to 350
    await ramp(home, made, 22.0, 0.5)
    steps = [later - earlier for earlier, later in zip(made.values, made.values[1:], strict=False)]  # type: ignore[operator]
    assert 2 <= len(steps) <= 4
    assert all(step > 3.5 for step in steps)


@pytest.mark.parametrize(
    ("name", "item_filter", "expected"),
    [
        ("Monitoring.Plain", data_filter(kind=ua.DeadbandType.Percent, size=1), "BadDeadbandFilterInvalid"),
        ("Status.Message", data_filter(kind=ua.DeadbandType.Absolute, size=1), "BadDeadbandFilterInvalid"),
        ("Monitoring.Pressure", data_filter(kind=ua.DeadbandType.Absolute, size=-1), "BadDeadbandFilterInvalid"),
        ("Monitoring.Pressure", ua.EventFilter(), "BadMonitoredItemFilterUnsupported"),
        ("Nothing", None, "BadNodeIdUnknown"),
    ],
)
async def test_item_that_makes_no_sense_is_refused(
    client: Client, name: str, item_filter: object, expected: str
) -> None:
    made = await watch(client, wait=False)
    result = await create(made, client, f"extruder-1.{name}", Filter=item_filter)
    assert result.StatusCode.name == expected


async def test_disabled_item_is_silent_and_begins_anew(home: House, client: Client) -> None:
    made = await watch(client)
    await made.subscription.set_monitoring_mode(ua.MonitoringMode.Disabled)
    put(home, 1.0)
    await asyncio.sleep(0.05)
    put(home, 12.5)
    await asyncio.sleep(0.05)
    assert made.values == [12.5]
    await made.subscription.set_monitoring_mode(ua.MonitoringMode.Reporting)
    await eventually(lambda: len(made.values) == 2)


async def test_deleted_item_is_silent(home: House, client: Client) -> None:
    made = await watch(client)
    parameters = ua.DeleteMonitoredItemsParameters(made.subscription.subscription_id, [made.item, 999_999])
    results = await client.uaclient.delete_monitored_items(parameters)
    assert [one.name for one in results] == ["Good", "BadMonitoredItemIdInvalid"]
    put(home, 5.0)
    other = await watch(client)
    assert other.values == [5.0]
    assert made.values == [12.5]


async def test_modified_item_is_revised_and_unknown_one_refused(client: Client) -> None:
    made = await watch(client)
    wanted = ua.MonitoringParameters(ClientHandle=1, SamplingInterval=0.0, QueueSize=10**6)
    items = [ua.MonitoredItemModifyRequest(one, wanted) for one in (made.item, 999_999)]
    results = await client.uaclient.modify_monitored_items(
        ua.ModifyMonitoredItemsParameters(made.subscription.subscription_id, ua.TimestampsToReturn.Both, items)
    )
    assert [one.StatusCode.name for one in results] == ["Good", "BadMonitoredItemIdInvalid"]
    assert (results[0].RevisedSamplingInterval, results[0].RevisedQueueSize) == (50.0, 100)


async def test_events_without_an_event_filter_are_refused_per_item(client: Client) -> None:
    made = await watch(client)
    item = ua.MonitoredItemCreateRequest(ua.ReadValueId(ua.NodeId(ua.ObjectIds.Server), ua.AttributeIds.EventNotifier))
    params = ua.CreateMonitoredItemsParameters(made.subscription.subscription_id, ua.TimestampsToReturn.Both, [item])
    (result,) = await client.uaclient.create_monitored_items(params)
    assert result.StatusCode.name == "BadEventFilterInvalid"


async def test_many_items_on_fast_tags_cost_what_the_client_asked(home: House, client: Client) -> None:
    """Every tag changes 20 times a second, the client looks twice: about two notifications a second, newest value."""
    seen = Seen()
    subscription = await client.create_subscription(500, seen)
    tags = [tag for tag in home.table.plant.machines["winder-2"].tags if tag.definition.data_type.name == "Double"]
    await subscription.subscribe_data_change(
        [client.get_node(f"ns=2;s={tag.id}") for tag in tags], queuesize=1, sampling_interval=500
    )
    await eventually(lambda: len(seen.by_node) == len(tags))
    loop = asyncio.get_running_loop()
    begin, number = loop.time(), 0
    while loop.time() - begin < 2.0:
        number += 1
        home.table.update([(tag.slot, DataValue(float(number), StatusCode.Good, NOW, NOW)) for tag in tags])
        await asyncio.sleep(0.05)
    await eventually(lambda: all(seen.of(tag.id)[-1].Value.Value == number for tag in tags))
    assert all(len(seen.of(tag.id)) <= 7 for tag in tags)
