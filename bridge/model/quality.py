"""How an OPC UA status looks in Sparkplug and in the Unified Namespace: one table for all faces.

Source: Sparkplug 3.0, tck-id-payloads-propertyset-quality-value-value (0, 192, 500); CESMII i3X quality words for UNS.
"""

from __future__ import annotations

from enum import Enum, StrEnum

from bridge.model.status import StatusCode


class SparkplugQuality(int, Enum):
    """The three codes Sparkplug 3.0 allows; 192 is implied where the property is absent."""

    BAD = 0
    GOOD = 192
    STALE = 500


class UnsQuality(StrEnum):
    """Quality words in UNS payloads."""

    Good = "Good"
    Uncertain = "Uncertain"
    Bad = "Bad"
    GoodNoData = "GoodNoData"


def sparkplug_quality(status: StatusCode) -> SparkplugQuality:
    """Sparkplug's view of a status."""
    if status.is_good:
        return SparkplugQuality.GOOD
    return SparkplugQuality.STALE if status.is_uncertain else SparkplugQuality.BAD


def uns_quality(status: StatusCode) -> UnsQuality:
    """The UNS word for a status; a tag nobody has sent yet is GoodNoData, as in i3X."""
    if status.is_good:
        return UnsQuality.Good
    if status.is_uncertain:
        return UnsQuality.Uncertain
    return UnsQuality.GoodNoData if status is StatusCode.BadWaitingForInitialData else UnsQuality.Bad
