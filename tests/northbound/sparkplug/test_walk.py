"""The round of the brokers."""

from __future__ import annotations

from bridge.northbound.sparkplug.walk import PERSON_NEEDED, STEADY_S, Walk


def longer(failures: int) -> float:
    """A wait without chance, to see which was asked for."""
    return 1.0 + failures


def test_alone_it_waits_longer_after_each_failure() -> None:
    walk = Walk(1, longer)
    pauses = []
    for now in range(3):
        walk.failed(now)
        pauses.append(walk.pause(now))
    assert pauses == [1.0, 2.0, 3.0]
    assert walk.is_alone
    assert not walk.has_untried


def test_refusal_waits_longest_and_keeps_nobody_from_the_next() -> None:
    walk = Walk(2, longer)
    walk.failed(0.0, is_refused=True)
    assert (walk.current, walk.pause(0.0)) == (1, 0.0)
    walk.failed(0.0)
    assert (walk.current, walk.pause(0.0)) == (1, 1.0), "it may be tried before the one that refused"
    walk.failed(1.0)
    assert walk.current == 1
    walk.failed(3.0)
    walk.failed(6.0)
    walk.failed(10.0)
    assert walk.current == 0
    assert walk.pause(10.0) == 1.0 + PERSON_NEEDED - 10.0


def test_round_is_in_order() -> None:
    walk = Walk(3, lambda failures: 0.0)
    seen = []
    for _ in range(7):
        seen.append(walk.current)
        walk.failed(0.0)
    assert seen == [0, 1, 2, 0, 1, 2, 0]


def test_steady_session_forgives_what_failed_before() -> None:
    walk = Walk(1, longer)
    for _ in range(5):
        walk.failed(0.0)
    walk.online(100.0)
    walk.online(100.0 + STEADY_S)
    walk.failed(100.0 + STEADY_S)
    assert walk.pause(100.0 + STEADY_S) == 1.0


def test_two_that_end_each_other_slow_down() -> None:
    """Each session gets as far as its births, and is taken over by the twin soon after."""
    walk = Walk(1, longer)
    pauses = []
    for now in (0.0, 5.0, 10.0):
        walk.connected(now)
        assert walk.is_cut_short(now + STEADY_S / 2) is (now == 10.0)
        assert not walk.is_cut_short(now + STEADY_S)
        walk.failed(now + STEADY_S / 2)
        pauses.append(walk.pause(now + STEADY_S / 2))
    assert pauses == [1.0, 2.0, 3.0]


def test_what_was_tried_since_we_were_online() -> None:
    walk = Walk(3, lambda failures: 0.0)
    assert walk.has_untried
    walk.left(0.0)
    assert walk.has_untried
    walk.left(0.0)
    assert not walk.has_untried, "the third is in use"
    walk.online(1.0)
    assert walk.has_untried


def test_broker_that_was_left_may_be_tried_soon() -> None:
    walk = Walk(1, longer)
    walk.failed(0.0)
    walk.failed(0.0)
    walk.left(10.0)
    assert walk.pause(10.0) == 1.0
