"""What waits between two publishes, of an item that asks for more than the newest value."""

from dataclasses import replace
from datetime import timedelta

import pytest
from asyncua import ua

from bridge.model.status import StatusCode
from bridge.model.value import DataType, DataValue
from bridge.northbound.opcua.stack import wire
from bridge.northbound.opcua.stack.space import Gone
from bridge.northbound.opcua.stack.tag_item import TagItem, Wish
from bridge.northbound.opcua.stack.values import PlainValue
from tests.one_of_everything import NOW

WISH = Wish(7, 50.0, 3, True, ua.DataChangeTrigger.StatusValue, 0.0, ua.TimestampsToReturn.Both)
LOSSY = wire.OVERFLOW


class Item:
    """One item whose tag has another value every sampling interval."""

    def __init__(self, wish: Wish) -> None:
        self.steps = 0
        self.tag = PlainValue(self._value(0.0), DataType.Double)
        self.item = TagItem(
            1, ua.NodeId("a", 2), self.tag, wish, ua.MonitoringMode.Reporting, {}, lambda: self.steps * 0.06
        )
        self.tag.watch(self.item)
        self.item.forget()
        assert self.sent() == [(0.0, 0)]

    def _value(self, number: float) -> DataValue:
        self.steps += 1
        moment = NOW + timedelta(seconds=self.steps)
        return DataValue(number, StatusCode.Good, moment, moment)

    def put(self, *numbers: float) -> None:
        for number in numbers:
            self.tag.set(self._value(number))

    def sent(self) -> list[tuple[float, int]]:
        """Values and their statuses."""
        found = [one[4:] for one in self.item.take()]
        return [(wire.number(one), int.from_bytes(one[wire.STATUS : wire.SOURCE], "little")) for one in found]


def test_the_same_value_with_a_new_time_takes_no_place() -> None:
    item = Item(WISH)
    item.put(50.0, *[1.0] * 10)
    assert item.sent() == [(50.0, 0), (1.0, 0)]


def test_what_a_deadband_holds_back_takes_no_place() -> None:
    item = Item(replace(WISH, deadband=5.0))
    item.put(1.0, 2.0, 50.0, 49.0, 48.0, 46.0, 44.0, 43.0, 42.0)
    assert item.sent() == [(50.0, 0), (44.0, 0)]
    item.put(45.0)
    assert item.sent() == []


@pytest.mark.parametrize(
    ("discards_oldest", "expected"),
    [(True, [(3.0, LOSSY), (4.0, 0), (5.0, 0)]), (False, [(1.0, 0), (2.0, 0), (5.0, LOSSY)])],
)
def test_a_full_queue_loses_one_end_and_says_so(discards_oldest: bool, expected: list[tuple[float, int]]) -> None:
    item = Item(replace(WISH, discards_oldest=discards_oldest))
    item.put(1.0, 2.0, 3.0, 4.0, 5.0)
    assert item.sent() == expected
    item.put(6.0)
    assert item.sent() == [(6.0, 0)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (1, 3, [(3.0, 0)]),
        (3, 1, [(3.0, 0)]),
        (3, 2, [(2.0, LOSSY), (3.0, 0)]),
        (3, 5, [(1.0, 0), (2.0, 0), (3.0, 0)]),
    ],
)
def test_another_length_keeps_what_it_can(before: int, after: int, expected: list[tuple[float, int]]) -> None:
    item = Item(replace(WISH, queue_size=before))
    item.put(1.0, 2.0, 3.0)
    item.item.adopt(replace(WISH, queue_size=after))
    assert item.sent() == expected
    item.put(4.0)
    assert item.sent() == [(4.0, 0)]


def test_telling_again_keeps_what_waits() -> None:
    item = Item(WISH)
    item.item.tell_again()
    assert item.sent() == [(0.0, 0)]
    item.put(1.0, 2.0)
    item.item.tell_again()
    assert item.sent() == [(1.0, 0), (2.0, 0)]


def test_what_was_sampled_before_its_node_went_is_sent_as_it_was() -> None:
    item = Item(WISH)
    item.put(1.0)
    item.steps += 1
    item.tag.hand_over(Gone(NOW))
    assert item.sent() == [(1.0, 0), (None, ua.StatusCodes.BadNodeIdUnknown)]
