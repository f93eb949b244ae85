"""The key dictionary of one agent: names by index, and messages that hold indices instead.

    {"v": version, "p": [[index, value], ["a", arrayKey, [[pair, ...], ...]], ...]}

As the current agent does it, indices are counted in each of five domains apart, so that one index stands for several
fields of one object: only the order of the pairs, that of the plain message, tells them apart (recorded). `flat` counts
them once, as older agents did. The version never moves; qualityCode is left out. Sources: facts 1.11; recorded.
"""

from __future__ import annotations

import re
from typing import Any

QUALITY = {"GOOD": 1, "BAD": 2, "UNCERTAIN": 3, "NOT_CONNECTED": 4}
DOMAINS = ("key", "metric", "unit", "quality", "device")
PROMOTE_AFTER = {"device": 10, "metric": 50}
"""Sightings after which a name gets a number of its own."""
_QUALITY_WORDS = ("quality", "qualitycode", "code", "status", "state", "condition")
_UNIT_WORDS = ("unit", "unitcode", "engineering_unit", "unit_of_measure")


class Dictionary:
    """What one agent has learned of its own messages."""

    def __init__(self, agent: str, flat: bool = False, version: int = 1) -> None:
        self.agent = agent
        self.version = version
        self.is_flat = flat
        self._fields: dict[str, dict[str, int]] = {domain: {} for domain in DOMAINS}
        self._order: list[str] = []
        self._told = 0
        self._seen: dict[tuple[str, str, str], int] = {}
        self._names: dict[str, dict[str, dict[str, int]]] = {"metric": {}, "device": {}}
        self._promoted = False

    def compact(self, message: dict[str, Any], protocol: str) -> dict[str, Any]:
        """The message with indices; learns what is new in it."""
        return {"v": self.version, "p": self._pairs(message, "", protocol)}

    def legacy(self, message: dict[str, Any], protocol: str) -> dict[str, Any]:
        """The older form: indices and data apart, arrays as they are."""
        pairs = [(self._index(key), value) for key, value in message.items()]
        return {"v": self.version, "i": [index for index, _ in pairs], "d": [value for _, value in pairs]}

    @property
    def has_news(self) -> bool:
        """There is something a delta would tell."""
        return self._told < len(self._order) or self._promoted

    def full(self, now: float) -> dict[str, Any]:
        """What is retained at meta/dictionary."""
        rest = {"format_version": 2, **self._enums(), "metadata": self._metadata(now)}
        self._told, self._promoted = len(self._order), False
        if self.is_flat:
            return {"version": self.version, "fields": list(self._order), **rest}
        by_domain = {
            domain: [{"index": index, "name": name} for name, index in fields.items()]
            for domain, fields in self._fields.items()
        }
        fields = [name for names in self._fields.values() for name in names]
        known = {"version": self.version, "fields": fields, "fieldsByDomain": by_domain, "format_version": 2}
        return {**known, "keys": by_domain["key"], **rest}

    def delta(self, now: float) -> dict[str, Any]:
        """What is published at meta/dictionary/delta, once: fields since the last, and every enum."""
        news, self._told, self._promoted = self._order[self._told :], len(self._order), False
        rows = [{"name": name, "domain": _domain(name), "index": self._known(name)} for name in news]
        domains = {} if self.is_flat else {"newFieldsWithDomains": rows}
        return {
            "version": self.version, "newFields": news, **domains, "format_version": 2,
            **self._enums(), "metadata": self._metadata(now), "deviceUuid": self.agent, "timestamp": int(now * 1000),
        }  # fmt: skip

    def _pairs(self, content: dict[str, Any], path: str, protocol: str) -> list[list[Any]]:
        pairs: list[list[Any]] = []
        for key, value in content.items():
            name = f"{path}.{key}" if path else key
            if key == "qualityCode":
                continue
            if key in ("metric", "deviceName") and isinstance(value, str):
                kind = "metric" if key == "metric" else "device"
                pairs.append([self._index(name), self._named(kind, protocol, value)])
            elif isinstance(value, list):
                pairs.append(["a", key, [self._element(item, f"{name}[]", protocol) for item in value]])
            elif isinstance(value, dict):
                pairs += self._pairs(value, name, protocol)
            else:
                index = self._index(name)
                short = QUALITY.get(value, value) if isinstance(value, str) and _domain(name) == "quality" else value
                pairs.append([index, short])
        return pairs

    def _element(self, item: Any, path: str, protocol: str) -> list[list[Any]]:
        return self._pairs(item, path, protocol) if isinstance(item, dict) else [[self._index(path), item]]

    def _index(self, name: str) -> int:
        fields = self._fields[_domain(name)]
        if name not in fields:
            fields[name] = len(self._order) if self.is_flat else len(fields)
            self._order.append(name)
        return fields[name]

    def _known(self, name: str) -> int:
        return self._fields[_domain(name)][name]

    def _named(self, kind: str, protocol: str, name: str) -> str | int:
        """A name, or its number once it was seen often enough."""
        numbers = self._names[kind].setdefault(protocol, {})
        if name in numbers:
            return numbers[name]
        seen = self._seen[(kind, protocol, name)] = self._seen.get((kind, protocol, name), 0) + 1
        if seen < PROMOTE_AFTER[kind]:
            return name
        numbers[name], self._promoted = len(numbers) + 1, True
        return numbers[name]

    def _enums(self) -> dict[str, Any]:
        enums = {"quality": QUALITY, "qualityCode": {}, "unit": {}}
        return {"enums": enums, "metrics": self._filled("metric"), "devices": self._filled("device")}

    def _filled(self, kind: str) -> dict[str, dict[str, int]]:
        return {protocol: dict(numbers) for protocol, numbers in self._names[kind].items() if numbers}

    def _metadata(self, now: float) -> dict[str, Any]:
        totals = {kind: sum(map(len, self._names[kind].values())) for kind in ("metric", "device")}
        return {
            "timestamp": int(now * 1000), "deviceUuid": self.agent, "totalMetricsPromoted": totals["metric"],
            "totalDevicesPromoted": totals["device"], "totalQualityCodesPromoted": 0,
        }  # fmt: skip


def _domain(name: str) -> str:
    """Which of the five counts a field, by the sound of it."""
    base = re.split(r"[.\[]", name.removesuffix("[]"))[-1].lower()
    if any(base == word or base.endswith(f"_{word}") for word in _QUALITY_WORDS):
        return "quality"
    if any(base == word or base.endswith(f"_{word}") for word in _UNIT_WORDS):
        return "unit"
    # The vendor looks for "device" in lower case, so that rawDeviceName is none (recorded).
    if "device" in re.split(r"[.\[]", name.removesuffix("[]"))[-1]:
        return "device"
    return "key" if "[" in name else "metric"
