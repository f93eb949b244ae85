"""Units: how people write them at machines, as UCUM codes the house knows. Pure.

What is not in the table goes on as it was written: a unit nobody knows is still a word a person can read.
"""

from __future__ import annotations

from typing import Final

from bridge.model.units import UNITS

_SPELLINGS: Final = {
    "Cel": ("°C", "ºC", "℃", "degC", "deg C", "C", "celsius", "degrees celsius", "degree celsius", "degreesCelsius"),
    "K": ("kelvin",),
    "bar": ("bars", "BAR"),
    "r/min": ("rpm", "RPM", "revolutionsPerMinute", "1/min", "min-1", "rev/min", "U/min"),
    "m/min": (),
    "m/s": (),
    "l/min": ("L/min", "lpm", "LPM"),
    "l": ("L", "litre", "liter"),
    "um": ("µm", "μm", "micron"),
    "deg": ("°",),
    "A": ("amp", "amps", "ampere"),
    "mA": ("milliampere",),
    "V": ("volt", "volts", "VAC", "VDC"),
    "W": ("watt", "watts"),
    "kWh": ("KWH", "kwh"),
    "Hz": ("hertz", "HZ"),
    "N.m": ("Nm", "N·m"),
    "h": ("hr", "hrs", "hour", "hours"),
    "min": ("minute", "minutes"),
    "s": ("sec", "secs", "second", "seconds"),
    "d": ("day", "days"),
    "ms": ("millisecond", "milliseconds"),
    "%": ("percent", "pct", "%RH", "% RH"),
    "{piece}": ("pcs", "piece", "pieces", "parts", "units"),
    "By": ("B", "byte", "bytes"),
    "kBy": ("kB", "KB"),
    "MBy": ("MB",),
    "dB[mW]": ("dBm",),
}
_CODES: Final = {code: code for code in UNITS} | {
    spelling: code for code, spellings in _SPELLINGS.items() for spelling in spellings if code in UNITS
}
_FOLDED: Final = {spelling.casefold(): code for spelling, code in _CODES.items() if len(spelling) > 3}
"""Longer words in whatever case; short ones (mV, MV) mean different things."""


def unit_code(written: object) -> str | None:
    """The UCUM code of a unit, or the words themselves; None where there is none."""
    if not isinstance(written, str):
        return None
    code = _CODES.get(written)
    if code is not None:
        return code
    word = written.strip()
    return _CODES.get(word) or _FOLDED.get(word.casefold()) or word[:40] or None
