"""A tag as a Sparkplug metric: its bytes, and what hosts already know of it. Pure.

Timestamps are those of the source, in milliseconds; never in the future (the conformance kit allows not one
millisecond), and never before what was sent for the same metric (hosts refuse older live values).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.model.quality import SparkplugQuality, sparkplug_quality
from bridge.model.status import StatusCode
from bridge.model.value import to_milliseconds
from bridge.northbound.sparkplug.codec import METRIC_TYPES, MetricEncoder, MetricType, is_absent, property_set, stamp

if TYPE_CHECKING:
    from datetime import datetime

    from bridge.model.tag import Tag, TagDefinition
    from bridge.model.value import DataValue, Value

    Properties = dict[str, tuple[MetricType, Value]]

_QUALITY = {quality: property_set({"Quality": (MetricType.Int32, quality.value)}) for quality in SparkplugQuality}
"""The Quality property alone, as DATA carries it (tck-id-payloads-propertyset-quality-value-value)."""


class Stamps:
    """The milliseconds of the last moment: the values of one payload share it."""

    __slots__ = ("_milliseconds", "_moment")

    def __init__(self) -> None:
        self._moment: datetime | None = None
        self._milliseconds = 0

    def milliseconds(self, moment: datetime) -> int:
        """Milliseconds since 1970 UTC."""
        if moment is not self._moment:
            self._moment, self._milliseconds = moment, to_milliseconds(moment)
        return self._milliseconds


class TagMetric:
    """One tag's metric. `birth` and `data` give the bytes to send and remember them as sent; `past` does not."""

    __slots__ = (
        "_born",
        "_is_open",
        "_last",
        "_last_ms",
        "_past_quality",
        "_quality",
        "_sends_quality",
        "_typed",
        "encoder",
        "tag",
    )

    def __init__(
        self, tag: Tag, *, sends_quality: bool = True, datatype_in_data: bool = False, takes_commands: bool = False
    ) -> None:
        self.tag = tag
        self.encoder = MetricEncoder(tag.name, METRIC_TYPES[tag.definition.data_type])
        self._is_open = takes_commands
        self._born: bytes | None = None
        self._sends_quality = sends_quality
        self._typed = datatype_in_data
        self._last: DataValue | None = None
        self._last_ms = 0
        self._quality = self._past_quality = SparkplugQuality.GOOD

    @property
    def said_ms(self) -> int:
        """The time that was sent last."""
        return self._last_ms

    @property
    def said(self) -> DataValue | None:
        """What was sent last, births included."""
        return self._last

    def succeed(self, before: TagMetric) -> None:
        """Take over what hosts hold of the metric of this name: its time never goes back, and good is said again."""
        self._last_ms = before._last_ms
        self._quality, self._past_quality = before._quality, before._past_quality

    def birth(self, value: DataValue, now_ms: int, stamps: Stamps) -> bytes:
        """Name, type, properties and current value or null (tck-id-topics-dbirth-metrics)."""
        quality = self._take(value, now_ms, stamps)
        if quality is not None:
            known = birth_properties(self.tag.definition, self._is_open)
            properties = property_set({**known, "Quality": (MetricType.Int32, quality.value)})
        else:
            self._born = self._born or property_set(birth_properties(self.tag.definition, self._is_open))
            properties = self._born
        return self.encoder.birth(stamp(self._last_ms), value.value, properties)

    def data(self, value: DataValue, now_ms: int, stamps: Stamps) -> tuple[int, bytes] | None:
        """The time and bytes of a change; None where hosts know value, quality and time already."""
        last, raw = self._last, value.value
        if value is last or (last is not None and raw == last.value and _looks_like(value, last)):
            return None
        quality = self._take(value, now_ms, stamps)
        properties = b"" if quality is None else _QUALITY[quality]
        return self._last_ms, self.encoder.encode(stamp(self._last_ms), raw, properties, self._typed)

    def past(self, value: DataValue, stamps: Stamps) -> tuple[int, bytes]:
        """The time and bytes of a value that hosts missed: historical, at its own time, and nothing to go by.

        To be called in order of time; what is current stays as it was sent.
        """
        quality = _quality_of(value)
        said = self._said(quality, self._past_quality)
        self._past_quality = quality
        time_ms = stamps.milliseconds(value.source_timestamp)
        properties = b"" if said is None else _QUALITY[said]
        return time_ms, self.encoder.encode(stamp(time_ms), value.value, properties, self._typed, historical=True)

    def _take(self, value: DataValue, now_ms: int, stamps: Stamps) -> SparkplugQuality | None:
        """Remember this value as sent. The quality to say with it: when it is not good, and once when it is again."""
        self._last = value
        time_ms = stamps.milliseconds(value.source_timestamp)
        if time_ms < self._last_ms:
            time_ms = self._last_ms
        self._last_ms = time_ms if time_ms < now_ms else now_ms
        before = self._quality
        if value.status is StatusCode.Good and before is SparkplugQuality.GOOD and not is_absent(value.value):
            return None
        self._quality = _quality_of(value)
        return self._said(self._quality, before)

    def _said(self, quality: SparkplugQuality, before: SparkplugQuality) -> SparkplugQuality | None:
        is_worth_saying = quality is not SparkplugQuality.GOOD or before is not SparkplugQuality.GOOD
        return quality if is_worth_saying and self._sends_quality else None


def _quality_of(value: DataValue) -> SparkplugQuality:
    """What hosts are told: a number JSON does not know is as bad as none."""
    if is_absent(value.value):
        return SparkplugQuality.BAD
    return SparkplugQuality.GOOD if value.status is StatusCode.Good else sparkplug_quality(value.status)


def _looks_like(value: DataValue, last: DataValue) -> bool:
    """Hosts could not tell these equal values apart."""
    return value.source_timestamp == last.source_timestamp and sparkplug_quality(value.status) is sparkplug_quality(
        last.status
    )


def birth_properties(definition: TagDefinition, takes_commands: bool) -> Properties:
    """What a birth tells about a metric, in the words Ignition understands."""
    properties: Properties = {"readOnly": (MetricType.Boolean, not (definition.writable and takes_commands))}
    if definition.unit is not None and definition.unit.symbol:
        properties["engUnit"] = (MetricType.String, definition.unit.symbol)
    if definition.eu_range is not None:
        properties["engLow"] = (MetricType.Double, float(definition.eu_range.low))
        properties["engHigh"] = (MetricType.Double, float(definition.eu_range.high))
    documentation = _documentation(definition)
    if documentation:
        properties["documentation"] = (MetricType.String, documentation)
    return properties


def _documentation(definition: TagDefinition) -> str:
    """The description, and for an enumeration what its numbers mean: Sparkplug has no enumerations."""
    numbers = ", ".join(f"{number} {text}" for text, number in (definition.enumeration or {}).items())
    label = "" if definition.display_name == definition.name.rpartition("/")[2] else definition.display_name
    return "; ".join(part for part in (definition.description or label, numbers) if part)
