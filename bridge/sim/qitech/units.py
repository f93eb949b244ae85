"""Set points go through the panel's units and come back a bit different: 12.3 rpm reads 12.300000000000002.

Each function gives what reads back. The panel keeps SI inside (rad/s, K, Pa, m, m/s, Hz).
"""

from __future__ import annotations

from math import pi


def rpm(value: float) -> float:
    """Revolutions per minute, by way of rad/s."""
    return value * 2 * pi / 60 * 60 / (2 * pi)


def celsius(value: float) -> float:
    """Degrees Celsius, by way of kelvin."""
    return value + 273.15 - 273.15


def bar(value: float) -> float:
    """Bar, by way of pascal."""
    return value * 1e5 / 1e5


def millimeter(value: float) -> float:
    """Millimetres, by way of metres."""
    return value * 1e-3 / 1e-3


def meter_per_minute(value: float) -> float:
    """Metres per minute, by way of m/s."""
    return value / 60 * 60


def millihertz(value: float) -> float:
    """Millihertz, by way of hertz: 500.5 reads 500.50000000000006, as recorded."""
    return value * 1e-3 / 1e-3
