"""What time it is for the vendor."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bridge.sim.clock import VirtualClock
from bridge.sources._vendorclock import VendorClock
from bridge.transport.http import Answer

START = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)


def answer(date: str | None) -> Answer:
    return Answer("vendor", 200, {} if date is None else {"date": date}, b"")


def test_the_vendor_is_as_far_ahead_as_its_newest_date_whatever_answers_without_one() -> None:
    ours = VirtualClock(START, 0)
    theirs = VendorClock(ours)
    assert theirs.now() == START.timestamp() * 1000
    for date in ("Tue, 10 Mar 2026 12:00:00 GMT", None, "yesterday"):
        theirs.hear(answer(date))
        assert theirs.offset == pytest.approx(3 * 3600 + 0.5)
    theirs.hear(answer("Tue, 10 Mar 2026 09:00:00 GMT"))
    assert theirs.offset == pytest.approx(0.5)
