from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.model.calendar import Calendar
from tests.sites import make_site

HEAD = "version: 1\nbridge:\n  name: b\n  enterprise: acme\n  site: essen\n"


def calendar(tmp_path: Path, text: str) -> Calendar | None:
    return make_site(tmp_path, HEAD + text).file.bridge.calendar


def test_without_a_time_zone_there_is_no_calendar(tmp_path: Path) -> None:
    assert calendar(tmp_path, "") is None


def test_shifts_are_local_times_written_with_and_without_quotes(tmp_path: Path) -> None:
    read = calendar(
        tmp_path,
        "  time_zone: Europe/Berlin\n"
        "  shifts:\n"
        '    - {name: Early, from: "06:00", to: "14:00", days: [Mon, Tue]}\n'
        "    - {name: Night, from: 22:00, to: 06:00}\n",
    )
    assert read is not None
    assert [(shift.start, shift.end) for shift in read.shifts] == [(time(6), time(14)), (time(22), time(6))]
    assert read.shifts[0].days == {0, 1}
    assert read.shifts[1].days == set(range(7))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  shifts: [{name: Early, from: '06:00', to: '14:00'}]\n", "time_zone"),
        (
            (
                "  time_zone: UTC\n"
                "  shifts: [{name: A, from: '06:00', to: '14:00'}, {name: B, from: '13:59', to: '22:00'}]\n"
            ),
            "A and B overlap",
        ),
        ("  time_zone: UTC\n  shifts: [{name: A, from: sunrise, to: '14:00'}]\n", "not a time of day"),
        ("  time_zone: UTC\n  shifts: [{name: A, from: '06:00', to: '14:00', days: [Someday]}]\n", "days"),
        ("  time_zone: Berlin\n", "no such time zone"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        calendar(tmp_path, text)
    fault = str(caught.value.faults[0])
    assert said in fault
    assert "bridge.yaml:" in fault
