"""Percentiles."""

from __future__ import annotations

from collections.abc import Iterable


def percentile_ms(ordered: list[float], share: float) -> float:
    """Of sorted seconds, in milliseconds; 0 where there is nothing."""
    if not ordered:
        return 0.0
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2)


def p50_p99_ms(seconds: Iterable[float]) -> tuple[float, float]:
    """Median and 99th percentile of seconds, in milliseconds."""
    ordered = sorted(seconds)
    return percentile_ms(ordered, 0.5), percentile_ms(ordered, 0.99)
