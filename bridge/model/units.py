"""Engineering units: UCUM codes as written in mappings, UNECE codes as OPC UA wants them.

Source: UNECE Recommendation 20; OPC UA Part 8, 5.6.4.3 (UnitId is the code's ASCII bytes, big-endian);
OPC Foundation UNECE_to_OPCUA.csv.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class EngineeringUnits:
    """A unit of measure.

    `code` is UCUM (what a mapping says), `unece` the UNECE common code, `symbol` what a person reads. A unit that only
    its own vendor knows has neither code.
    """

    code: str
    unece: str
    symbol: str
    name: str

    @property
    def unit_id(self) -> int:
        """OPC UA EUInformation.UnitId; -1 where there is no code (Part 8, 5.6.4.3)."""
        return -1 if not self.unece else int.from_bytes(self.unece.encode("ascii"), "big")


def _table(*rows: tuple[str, str, str, str]) -> dict[str, EngineeringUnits]:
    return {row[0]: EngineeringUnits(*row) for row in rows}


UNITS = _table(
    ("Cel", "CEL", "°C", "degree Celsius"),
    ("K", "KEL", "K", "kelvin"),
    ("bar", "BAR", "bar", "bar"),
    ("kPa", "KPA", "kPa", "kilopascal"),
    ("r/min", "RPM", "r/min", "revolutions per minute"),
    ("m/min", "2X", "m/min", "metre per minute"),
    ("m/s", "MTS", "m/s", "metre per second"),
    ("mm", "MMT", "mm", "millimetre"),
    ("um", "4H", "µm", "micrometre"),
    ("m", "MTR", "m", "metre"),
    ("deg", "DD", "°", "degree of angle"),
    ("A", "AMP", "A", "ampere"),
    ("mA", "4K", "mA", "milliampere"),
    ("V", "VLT", "V", "volt"),
    ("W", "WTT", "W", "watt"),
    ("kW", "KWT", "kW", "kilowatt"),
    ("Wh", "WHR", "Wh", "watt hour"),
    ("kWh", "KWH", "kWh", "kilowatt hour"),
    ("Hz", "HTZ", "Hz", "hertz"),
    ("mHz", "MTZ", "mHz", "millihertz"),
    ("N", "NEW", "N", "newton"),
    ("N.m", "NU", "N·m", "newton metre"),
    ("kg", "KGM", "kg", "kilogram"),
    ("g", "GRM", "g", "gram"),
    ("kg/h", "E93", "kg/h", "kilogram per hour"),
    ("g/min", "F28", "g/min", "gram per minute"),
    ("l/min", "L2", "l/min", "litre per minute"),
    ("l", "LTR", "l", "litre"),
    ("s", "SEC", "s", "second"),
    ("ms", "C26", "ms", "millisecond"),
    ("us", "B98", "µs", "microsecond"),
    ("min", "MIN", "min", "minute"),
    ("h", "HUR", "h", "hour"),
    ("d", "DAY", "d", "day"),
    ("%", "P1", "%", "percent"),
    ("{piece}", "H87", "pcs", "piece"),
    ("1", "C62", "", "one"),
    ("By", "AD", "B", "byte"),
    ("kBy", "2P", "kB", "kilobyte"),
    ("MBy", "4L", "MB", "megabyte"),
    ("By/s", "P93", "B/s", "byte per second"),
    ("dB[mW]", "DBM", "dBm", "decibel milliwatt"),
)
"""Every unit a mapping may name."""

_SPELLINGS = {
    "degC": "Cel",
    "°c": "Cel",
    "C": "Cel",
    "celsius": "Cel",
    "deg C": "Cel",
    "℃": "Cel",
    "kelvin": "K",
    "rpm": "r/min",
    "1/min": "r/min",
    "U/min": "r/min",
    "°": "deg",
    "degree": "deg",
    "degrees": "deg",
    "amp": "A",
    "ampere": "A",
    "amps": "A",
    "volt": "V",
    "volts": "V",
    "watt": "W",
    "hertz": "Hz",
    "percent": "%",
    "pct": "%",
    "pcs": "{piece}",
    "pieces": "{piece}",
    "count": "{piece}",
    "sec": "s",
    "seconds": "s",
    "minutes": "min",
    "hours": "h",
    "hrs": "h",
    "L": "l",
    "L/min": "l/min",
    "Nm": "N.m",
    "bytes": "By",
    "KB": "kBy",
    "MB": "MBy",
    "dBm": "dB[mW]",
    "μm": "um",
    "μs": "us",
    "degreesCelsius": "Cel",
    "degreesKelvin": "K",
    "bars": "bar",
    "kilopascals": "kPa",
    "revolutionsPerMinute": "r/min",
    "metersPerMinute": "m/min",
    "metersPerSecond": "m/s",
    "millimeters": "mm",
    "micrometers": "um",
    "meters": "m",
    "degreesAngular": "deg",
    "amperes": "A",
    "milliamperes": "mA",
    "watts": "W",
    "kilowatts": "kW",
    "wattHours": "Wh",
    "kilowattHours": "kWh",
    "millihertz": "mHz",
    "newtons": "N",
    "newtonMeters": "N.m",
    "kilograms": "kg",
    "grams": "g",
    "kilogramsPerHour": "kg/h",
    "gramsPerMinute": "g/min",
    "litersPerMinute": "l/min",
    "liters": "l",
    "milliseconds": "ms",
    "microseconds": "us",
    "days": "d",
}
"""How vendors write units besides code, symbol, name and UNECE code; looked up as written, then without case. The long
words are BACnet's (ASHRAE 135, BACnetEngineeringUnits), which Iotistica's agents write for every protocol."""


@lru_cache(maxsize=10_000)
def unit_of(text: str) -> EngineeringUnits:
    """The unit that a vendor calls `text`; one of that symbol without codes where nobody else knows it."""
    return _known_unit(text.strip()) or EngineeringUnits("", "", text.strip(), text.strip())


def is_known_unit(text: str) -> bool:
    """There is a code for it."""
    return bool(unit_of(text).unece)


def _known_unit(text: str) -> EngineeringUnits | None:
    known = _WRITTEN.get(text)
    return _FOLDED.get(text.casefold()) if known is None else known


def _written() -> dict[str, EngineeringUnits]:
    names = {word: unit for unit in UNITS.values() for word in (unit.name, unit.unece, unit.symbol) if word}
    return {**names, **{word: UNITS[code] for word, code in _SPELLINGS.items()}, **UNITS}


_WRITTEN = _written()


def _folded() -> dict[str, EngineeringUnits]:
    """Spellings that mean one unit in whatever case: not mHz, which is not MHz."""
    found: dict[str, set[EngineeringUnits]] = {}
    for word, unit in _WRITTEN.items():
        if len(word) > 3:
            found.setdefault(word.casefold(), set()).add(unit)
    return {word: units.pop() for word, units in found.items() if len(units) == 1}


_FOLDED = _folded()
