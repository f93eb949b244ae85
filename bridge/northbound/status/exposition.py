"""The Prometheus text of a Health.

Source: Prometheus text exposition format 0.0.4; names by its conventions: one prefix, base units, counters end in
`_total`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bridge.ports import Health

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "plantbridge_"

_SAMPLE = re.compile(r"([^{]+)(\{.*\})?\Z", re.DOTALL)
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')

Sample = tuple[str, str, float]
"""Name, labels as written between braces (or ""), value."""


DESCRIPTIONS: Final = {
    "info": "Version and configuration of the bridge",
    "live": "1 while the process lives",
    "ready": "1 while values flow from every source to every face",
    "start_time_seconds": "When the process started, in seconds since 1970",
    "source_state": "1 for the state a source is in",
    "source_reconnects_total": "How often the connection to a source was made anew",
    "source_last_update_seconds": "When a source said a value last, in seconds since 1970",
    "face_running": "1 while a face runs",
    "status_views": "Browsers and programs that look at the status page or read its stream",
    "status_views_dropped_total": "Views that were closed because they took nothing",
    "status_sessions": "Logins at the status page",
}


def exposition(health: Health, more: Mapping[str, float] = MappingProxyType({})) -> str:
    """Every metric, grouped by name, with what it is and its type.

    `metrics` of the health, and `more`, may carry labels: `polls_total{source="panel"}`.
    """
    families: dict[str, dict[str, float]] = {}
    for name, labels, value in (*_own(health), *_given({**health.metrics, **more})):
        families.setdefault(name.removeprefix(PREFIX), {})[labels] = value
    words = {**health.descriptions, **DESCRIPTIONS}
    return "".join(_family(name, words.get(name, ""), samples) for name, samples in sorted(families.items()))


def _own(health: Health) -> Iterator[Sample]:
    yield "info", labelled(version=health.version, configuration=health.configuration), 1
    yield "live", "", health.live
    yield "ready", "", health.ready
    yield "start_time_seconds", "", health.started.timestamp()
    for source in health.sources:
        yield "source_state", labelled(source=source.name, type=source.type, state=source.state), 1
        yield "source_reconnects_total", labelled(source=source.name), source.reconnects
        if source.last_update:
            yield "source_last_update_seconds", labelled(source=source.name), source.last_update.timestamp()
    for face in health.faces:
        yield "face_running", labelled(face=face.name), face.running


def labelled(**labels: str) -> str:
    r"""`{source="panel"}`, with `\`, `"` and line ends escaped."""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _given(metrics: Mapping[str, float]) -> Iterator[Sample]:
    for key, value in metrics.items():
        match = _SAMPLE.match(key)
        if match:
            name, labels = match.groups()
            yield re.sub(r"[^a-zA-Z0-9_:]", "_", name), _clean(labels or ""), value


def _clean(labels: str) -> str:
    pairs = [f'{name}="{value}"' for name, value in _LABEL.findall(labels.replace("\n", r"\n"))]
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _family(name: str, words: str, samples: dict[str, float]) -> str:
    kind = "counter" if name.endswith("_total") else "gauge"
    told = f"# HELP {PREFIX}{name} {_help(words)}\n" if words else ""
    lines = (f"{PREFIX}{name}{labels} {_number(value)}\n" for labels, value in samples.items())
    return f"{told}# TYPE {PREFIX}{name} {kind}\n" + "".join(lines)


def _help(words: str) -> str:
    return words.replace("\\", r"\\").replace("\n", r"\n")


def _number(value: float) -> str:
    """Whole numbers without a point; the rest as Python writes a float (which is what Prometheus reads)."""
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
