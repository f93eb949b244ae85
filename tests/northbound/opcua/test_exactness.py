"""What our way sends is what asyncua's encoders make of the same values: in order, none lost, newest last."""

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from asyncua import Client, ua
from asyncua.ua.ua_binary import extensionobject_to_binary

from bridge.model.status import StatusCode
from bridge.model.value import DataType, DataValue
from bridge.northbound.opcua import convert
from bridge.northbound.opcua.stack import services
from bridge.northbound.opcua.stack.subscription import TagItems
from bridge.northbound.opcua.stack.values import PlainValue
from tests.northbound.opcua.house import Seen, eventually, house
from tests.one_of_everything import NOW

SAMPLES: dict[DataType, list[Any]] = {
    DataType.Boolean: [True, False],
    DataType.Int32: [-(2**31), 0, 7, 2**31 - 1],
    DataType.UInt32: [0, 1, 2**32 - 1],
    DataType.Int64: [-(2**63), 0, 2**63 - 1],
    DataType.Double: [0.0, 1.5, -1e308, 5e-324],
    DataType.String: ["", "Düse", "x" * 300],
    DataType.DateTime: [NOW, NOW + timedelta(microseconds=1)],
}
STATUSES = [*[StatusCode.Good] * 8, StatusCode.UncertainLastUsableValue, StatusCode.BadNoCommunication]


@dataclass
class Hand:
    """The same item by the book, with asyncua's objects."""

    tag: PlainValue
    handle: int
    queue_size: int
    discards_oldest: bool
    waiting: deque[tuple[ua.DataValue, bool]] = field(default_factory=deque)
    last: ua.DataValue | None = None

    def changed(self) -> None:
        """The filter comes before the queue (Part 4, 5.13.1); of a queue of one, the newest counts when it is sent."""
        value = convert.data_value(self.tag.now, self.tag.data_type)
        if self.queue_size == 1:
            self.waiting.clear()
        elif self.is_known(value):
            return
        if lossy := len(self.waiting) == self.queue_size:
            self.waiting.popleft() if self.discards_oldest else self.waiting.pop()
        self.waiting.append((value, False))
        if lossy:
            marked = 0 if self.discards_oldest else -1
            self.waiting[marked] = (self.waiting[marked][0], True)
        if self.queue_size > 1:
            self.last = value

    def is_known(self, value: ua.DataValue) -> bool:
        return self.last is not None and (self.last.Value, self.last.StatusCode) == (value.Value, value.StatusCode)

    def take(self) -> list[ua.MonitoredItemNotification]:
        made = []
        for value, overflow in self.waiting:
            if self.queue_size == 1 and self.is_known(value):
                continue
            self.last = value
            assert value.StatusCode is not None
            status = ua.StatusCode(value.StatusCode.value | (0x480 if overflow else 0))
            shown = ua.DataValue(value.Value, status, value.SourceTimestamp, value.ServerTimestamp)
            made.append(ua.MonitoredItemNotification(self.handle, shown))
        self.waiting.clear()
        return made


class Steps:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at


def items(clock: Steps) -> TagItems:
    subscription = SimpleNamespace(data=ua.CreateSubscriptionResult(1, 100.0), max_queue_size=100)
    return TagItems(subscription, None, clock, 10.0)  # type: ignore[arg-type]


def create(made: TagItems, tag: PlainValue, handle: int, queue_size: int, discards_oldest: bool) -> Hand:
    asked = ua.MonitoringParameters(handle, 10.0, None, queue_size, discards_oldest)
    request = ua.MonitoredItemCreateRequest(ua.ReadValueId(), ua.MonitoringMode.Reporting, asked)
    assert made._create_tag_item(tag, request).StatusCode.is_good()
    hand = Hand(tag, handle, queue_size, discards_oldest)
    hand.changed()
    return hand


def body(notifications: list[ua.MonitoredItemNotification]) -> bytes:
    return extensionobject_to_binary(ua.DataChangeNotification(MonitoredItems=notifications))


@pytest.mark.parametrize("seed", range(30))
def test_messages_are_those_asyncuas_encoders_make(seed: int) -> None:
    chance, clock = random.Random(seed), Steps()
    made = items(clock)
    tags = [PlainValue(sample(chance, kind, 0), kind) for kind in DataType for _ in range(3)]
    hands: list[Hand] = []
    for handle, tag in enumerate(tags * 2):
        hands.append(create(made, tag, handle + seed * 1000, chance.choice([1, 1, 1, 2, 5]), chance.random() < 0.7))
    for cycle in range(20):
        for step in range(chance.randrange(60)):
            clock.at += 0.011
            tag = chance.choice(tags)
            tag.set(sample(chance, tag.data_type, cycle * 100 + step))
            for hand in hands:
                if hand.tag is tag:
                    hand.changed()
        parts, count = made.take(10_000)
        expected = {hand.handle: hand.take() for hand in hands}
        order = [int.from_bytes(one, "little") for one in handles(parts)]
        in_order = [one for handle in dict.fromkeys(order) for one in expected.pop(handle)]
        assert not any(expected.values())
        assert count == len(in_order)
        assert services.data_changes(parts, count) == body(in_order)
    assert not made.has_news


def handles(parts: list[bytes]) -> list[bytes]:
    """Of plain items a part of its own, of others the beginning of each."""
    found, rest = [], iter(parts)
    for one in rest:
        found.append(one[:4])
        if len(one) == 4:
            next(rest)
    return found


def sample(chance: random.Random, kind: DataType, number: int) -> DataValue:
    status, moment = chance.choice(STATUSES), NOW + timedelta(milliseconds=number)
    return DataValue(None if status.is_bad else chance.choice(SAMPLES[kind]), status, moment, moment)


@pytest.mark.parametrize("most", [1, 3, 7])
def test_messages_with_a_limit_have_the_same_notifications_in_the_same_order(most: int) -> None:
    chance, clock = random.Random(most), Steps()
    whole, cut = items(clock), items(clock)
    tags = [PlainValue(sample(chance, DataType.Double, 0), DataType.Double) for _ in range(10)]
    for handle, tag in enumerate(tags):
        for one in (whole, cut):
            create(one, tag, handle, 1 + handle % 4, True)
    for step in range(200):
        clock.at += 0.011
        chance.choice(tags).set(sample(chance, DataType.Double, step))
        if step % 25 == 24:
            expected, total = whole.take(10_000)
            found: list[bytes] = []
            while cut.has_news:
                parts, count = cut.take(most)
                assert 0 <= count <= most
                found += parts
                total -= count
            assert b"".join(found) == b"".join(expected)
            assert total == 0


async def test_a_client_gets_every_value_of_every_type_once_and_in_order() -> None:
    async with house(unsecured_read_only=True, sampling_interval_ms=10) as home, Client(home.url) as client:
        tags = [tag for tag in home.table.plant.machines["winder-2"].tags if tag.name.startswith("Monitoring/")]
        seen, begin = Seen(), NOW + timedelta(days=1000)
        subscription = await client.create_subscription(50, seen)
        nodes = [client.get_node(f"ns=2;s={tag.id}") for tag in tags]
        await subscription.subscribe_data_change(nodes, queuesize=100, sampling_interval=10)
        await eventually(lambda: len(seen.by_node) == len(tags))
        chance, sent = random.Random(1), {tag.id: [] for tag in tags}  # type: ignore[var-annotated]
        for step in range(40):
            await asyncio.sleep(0.035)  # the feed is read every 20 ms, sampled every 10 ms
            for tag in tags:
                value = number(chance, tag.definition.data_type, step)
                sent[tag.id].append((value, begin + timedelta(milliseconds=step)))
            moment = begin + timedelta(milliseconds=step)
            home.table.update(
                [(tag.slot, DataValue(sent[tag.id][-1][0], StatusCode.Good, moment, moment)) for tag in tags]
            )
        await eventually(lambda: all(seen.of(tag.id)[-1].SourceTimestamp == moment for tag in tags))
        for tag in tags:
            got = [(one.Value.Value, one.SourceTimestamp) for one in seen.of(tag.id)]
            got = [one for one in got if one in sent[tag.id]]
            assert got == [one for one in sent[tag.id] if one in got]
            assert len(got) >= 30  # on a busy computer two steps may fall into one turn of the feed


def number(chance: random.Random, kind: DataType, step: int) -> Any:
    """A value that is another one at every step."""
    if kind is DataType.DateTime:
        return NOW + timedelta(seconds=step)
    return chance.random() + step if kind is DataType.Double else step
