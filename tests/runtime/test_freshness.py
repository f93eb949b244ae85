"""Freshness on a clock that is handed in."""

from datetime import UTC, datetime, timedelta

from bridge.mapping.schema import ChannelRule
from bridge.model.observation import Condition
from bridge.model.status import StatusCode
from bridge.runtime.freshness import BAD_FLOOR, STALE_FLOOR, ChannelWatch, Phase

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def watch(**rule: object) -> ChannelWatch:
    return ChannelWatch("live", ChannelRule.model_validate(rule))


def lost(status: StatusCode, reason: str = "The panel is gone", since: float = 0.0) -> Condition:
    return Condition("panel", status, reason, at(since))


def test_silence_makes_uncertain_then_bad_each_said_once() -> None:
    channel = watch(periodic="33ms")
    channel.hear(0.0, None)
    assert channel.judge(STALE_FLOOR - 0.1, at(0)) is None
    verdict = channel.judge(STALE_FLOOR + 0.1, at(2.1))
    assert verdict is not None
    assert verdict.status is StatusCode.UncertainLastUsableValue
    assert verdict.since == at(2.1)
    assert channel.judge(STALE_FLOOR + 0.2, at(2.2)) is None
    verdict = channel.judge(BAD_FLOOR + 0.1, at(10.1))
    assert verdict is not None
    assert verdict.status is StatusCode.BadNoCommunication
    assert verdict.since == at(2.1)
    assert channel.judge(3600, at(3600)) is None


def test_a_slow_channel_has_three_and_ten_periods() -> None:
    channel = watch(periodic="10s")
    channel.hear(0.0, None)
    assert channel.judge(29, at(29)) is None
    assert channel.judge(31, at(31)) is not None
    assert channel.judge(99, at(99)) is None
    assert channel.judge(101, at(101)) is not None


def test_the_effective_period_of_an_observation_counts() -> None:
    channel = watch(periodic="33ms")
    channel.hear(0.0, 5.0)
    assert channel.stale_after == 15.0
    assert channel.bad_after == 50.0


def test_thresholds_of_the_mapping_win() -> None:
    channel = watch(periodic="33ms", stale_after="7s", bad_after="20s")
    assert (channel.stale_after, channel.bad_after) == (7.0, 20.0)


def test_a_channel_on_change_with_nothing_to_keep_it_alive_is_never_stale() -> None:
    channel = watch(on_change=True)
    channel.hear(0.0, None)
    assert channel.judge(1e6, at(1e6)) is None
    assert channel.phase is Phase.FRESH


def test_a_channel_kept_alive_is_as_stale_as_its_keeper() -> None:
    channel = watch(on_change=True, alive_by="live_values")
    channel.hear(0.0, None)
    assert channel.stay_alive(5.0) is False
    assert channel.judge(6.9, at(6.9), (2.0, 10.0)) is None
    assert channel.judge(7.1, at(7.1), (2.0, 10.0)) is not None
    assert channel.stay_alive(8.0) is True
    assert channel.phase is Phase.FRESH


def test_what_keeps_alive_does_not_end_a_loss() -> None:
    channel = watch(on_change=True, alive_by="live_values")
    channel.hear(0.0, None)
    channel.lose(lost(StatusCode.UncertainNoCommunicationLastUsableValue), 1.0)
    assert channel.stay_alive(2.0) is False
    assert channel.phase is Phase.LOST
    assert channel.hear(3.0, None) is True


def test_a_loss_is_uncertain_first_even_when_the_condition_is_bad() -> None:
    channel = watch(periodic="1s")
    channel.hear(0.0, None)
    verdict = channel.lose(lost(StatusCode.BadDeviceFailure), 1.0)
    assert verdict is not None
    assert verdict.status is StatusCode.UncertainNoCommunicationLastUsableValue
    assert verdict.reason == "The panel is gone"
    assert channel.judge(10.9, at(10.9)) is None
    verdict = channel.judge(11.1, at(11.1))
    assert verdict is not None
    assert (verdict.status, verdict.reason, verdict.since) == (StatusCode.BadDeviceFailure, "The panel is gone", at(0))


def test_a_channel_that_was_never_heard_is_bad_at_once() -> None:
    channel = watch(periodic="1s")
    verdict = channel.lose(lost(StatusCode.BadConfigurationError), 1.0)
    assert verdict is not None
    assert verdict.status is StatusCode.BadConfigurationError
    assert channel.phase is Phase.GONE


def test_the_same_condition_again_says_nothing_and_does_not_restart_the_count() -> None:
    channel = watch(periodic="1s")
    channel.hear(0.0, None)
    condition = lost(StatusCode.UncertainNoCommunicationLastUsableValue)
    assert channel.lose(condition, 1.0) is not None
    assert channel.lose(condition, 9.0) is None
    assert channel.judge(11.1, at(11.1)) is not None


def test_a_condition_after_a_return_is_news_again() -> None:
    channel = watch(periodic="1s")
    channel.hear(0.0, None)
    condition = lost(StatusCode.UncertainNoCommunicationLastUsableValue)
    assert channel.lose(condition, 1.0) is not None
    assert channel.hear(2.0, None) is True
    assert channel.hear(2.1, None) is False
    assert channel.lose(condition, 3.0) is not None
