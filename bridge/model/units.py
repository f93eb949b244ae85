"""Engineering units: UCUM codes as written in mappings, UNECE codes as OPC UA wants them.

Source: UNECE Recommendation 20; OPC UA Part 8, 5.6.4.3 (UnitId is the code's ASCII bytes, big-endian);
OPC Foundation UNECE_to_OPCUA.csv.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineeringUnits:
    """A unit of measure.

    `code` is UCUM (what a mapping says), `unece` the UNECE common code, `symbol` what a person reads.
    """

    code: str
    unece: str
    symbol: str
    name: str

    @property
    def unit_id(self) -> int:
        """OPC UA EUInformation.UnitId."""
        return int.from_bytes(self.unece.encode("ascii"), "big")


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
