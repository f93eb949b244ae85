"""What is remembered of refusals."""

from bridge.transport.mqtt_refusals import KEPT, Refusals


def test_what_was_refused_since_then_is_known_with_its_newest_reason() -> None:
    refusals = Refusals()
    refusals.note("a", "first")
    refusals.note("b", "first")
    before = refusals.total
    assert refusals.since(before) == {}
    refusals.note("a", "second")
    assert refusals.since(before) == {"a": "second"}
    assert refusals.since(0) == {"b": "first", "a": "second"}


def test_the_oldest_topics_are_forgotten_and_all_are_counted() -> None:
    refusals = Refusals()
    for number in range(KEPT + 1):
        refusals.note(str(number), "no")
    assert refusals.total == KEPT + 1
    assert len(refusals.since(0)) == KEPT
    assert "0" not in refusals.since(0)
