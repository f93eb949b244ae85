"""The QoS 1 window: no identifier twice, acknowledgements in any order."""

from __future__ import annotations

import random

from bridge.transport.mqtt_window import FIRST_ID, IN_FLIGHT, LAST_ID, Window


def test_identifiers_are_not_pahos_and_none_is_used_twice_at_a_time() -> None:
    window, rng = Window(IN_FLIGHT), random.Random(1)
    flying: set[int] = set()
    for _ in range(3 * (LAST_ID - FIRST_ID)):
        while window.is_full or (flying and rng.random() < 0.4):
            acknowledged = rng.choice(tuple(flying))
            flying.discard(acknowledged)
            window.settle([acknowledged])
        identifier = window.take("a")
        assert FIRST_ID <= identifier <= LAST_ID
        assert identifier not in flying
        flying.add(identifier)
        assert len(window) == len(flying) <= IN_FLIGHT


def test_an_identifier_nobody_acknowledged_is_passed_over_when_the_numbers_begin_anew() -> None:
    window = Window(2)
    stuck = window.take("stuck")
    for _ in range(LAST_ID - FIRST_ID + 2):
        identifier = window.take("a")
        assert identifier != stuck
        window.settle([identifier])
    assert window.topics == ("stuck",)


def test_late_double_and_unknown_acknowledgements_change_nothing() -> None:
    window = Window(10)
    first, second, third = (window.take(topic) for topic in "abc")
    window.settle([third, first])
    window.settle([third, first, 1, 0, 0xFFFF])
    assert window.topics == ("b",)
    window.settle([second])
    assert not len(window)


def test_limit_is_the_brokers_or_ours() -> None:
    assert Window(3).limit == 3
    assert Window(65_535).limit == IN_FLIGHT
    window = Window(1)
    window.take("a")
    assert window.is_full
