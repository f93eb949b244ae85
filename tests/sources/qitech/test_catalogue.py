"""Which machine is read how."""

from __future__ import annotations

import pytest

from bridge.sources.qitech.catalogue import (
    LASER,
    MACHINE_TYPES,
    channel_of,
    is_joined,
    is_kept,
    is_polled,
    number_of,
    slug_of,
    stall_of,
)
from bridge.sources.qitech.profile import Profile

NUMBERS = [*MACHINE_TYPES, 200]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("joins_lasers", [True, False])
def test_no_machine_of_a_3x_panel_is_ever_polled(number: int, joins_lasers: bool) -> None:
    slug = slug_of(number, Profile.V3)
    assert not is_polled(number, slug, Profile.V3)
    assert not is_polled(number, slug_of(number), Profile.V3)
    assert is_joined(number, slug, Profile.V3, joins_lasers=joins_lasers) is (joins_lasers or number != LASER)


@pytest.mark.parametrize("slug", ["laser_v1", "laser_v2", "anything"])
@pytest.mark.parametrize("joins_lasers", [True, False])
def test_no_laser_of_a_2x_panel_is_ever_joined(slug: str, joins_lasers: bool) -> None:
    assert not is_joined(LASER, slug, Profile.V2, joins_lasers=joins_lasers)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_machine_of_a_2x_panel_is_read_in_one_way(number: int) -> None:
    slug = slug_of(number, Profile.V2)
    assert is_polled(number, slug, Profile.V2) != is_joined(number, slug, Profile.V2, joins_lasers=False)


def test_polled_machines_of_2x_are_those_of_its_router_that_answer_with_values() -> None:
    routed = {kind.slug for kind in MACHINE_TYPES.values() if is_polled(kind.number, kind.slug, Profile.V2)}
    assert routed == {
        "laser_v1",
        "winder_v1",
        "mock",
        "extruder_v1",
        "aquapath_v1",
        "test_machine",
        "wago_power_v1",
        "ip20_test_machine",
    }


def test_slug_belongs_to_its_number_on_each_release() -> None:
    assert (slug_of(98, Profile.V2), slug_of(98, Profile.V3)) == ("winder_v1_spool", "winder_v1_7031")
    assert {number_of(slug) for slug in ("winder_v1_spool", "winder_v1_7031")} == {98}
    assert number_of("extruder_v9") is None


@pytest.mark.parametrize(
    ("event", "channel"),
    [
        ("StateEvent", "state"),
        ("LiveValuesEvent", "live_values"),
        ("State", "state"),
        ("LiveValues", "live_values"),
        ("Measurement", "measurement"),
        ("MeasurementRateHz", "measurement_rate_hz"),
        ("AnalogInputs", "analog_inputs"),
        ("Event", "event"),
    ],
)
def test_event_has_its_channel(event: str, channel: str) -> None:
    assert channel_of(event) == channel


def test_states_and_notices_are_kept_and_live_values_merge() -> None:
    assert all(map(is_kept, ("StateEvent", "State", "NoticeEvent")))
    assert not any(map(is_kept, ("LiveValuesEvent", "LiveValues", "Measurement")))


def test_machine_that_may_be_silent_is_not_watched() -> None:
    assert stall_of(4) == 2.0
    assert stall_of(53) is None
    assert stall_of(200) == 10.0
