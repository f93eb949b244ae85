"""Figures: what an agent's WebSocket tells, message by message, as the channel `system`. Pure.

The vendor says everything at least twice: snapshots twice each, live reports twice some milliseconds apart, and after a
reconnection all of it again (facts 1.10, recorded). So only what is newer than the newest counts, unless it repeats it.
Memory: a snapshot divides by 1024 twice, a live report does not, and agents report megabytes or bytes: what is too
small to be bytes is megabytes, and a snapshot's 0 of 0 says nothing. Here it is always bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.sources.iotistica.rest.rows import MEGABYTE, SMALLEST, iso, milliseconds, number, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REPEATED: Final = 1000
"""Milliseconds within which the same value again is the same report."""

INTERFACES: Final = 50
_INTERFACE: Final = ("name", "type", "ip4", "ip6", "mac", "status", "operstate")


class Figures:
    """One agent's."""

    def __init__(self) -> None:
        self._told: dict[str, Any] = {}
        self._newest: dict[str, tuple[int, Any]] = {}
        self._errors = 0
        self._warnings = 0
        self.repeated = 0
        """Samples that said nothing new."""

    def take(self, message: Mapping[str, Any]) -> dict[str, Any] | None:
        """A message of a channel; the channel `system` where that changed it."""
        data = message.get("data")
        if not isinstance(data, dict):
            return None
        before = dict(self._told)
        kind = message.get("type")
        if kind == "history":
            self._history(data)
        elif kind == "system-info":
            self._system(data)
        elif kind == "network-interfaces":
            self._interfaces(data)
        elif kind == "logs":
            self._logs(data)
        return None if self._told == before else dict(self._told)

    def _history(self, data: Mapping[str, Any]) -> None:
        for row in _rows(data.get("cpu")):
            value = number(row.get("value"))
            if value is not None and self._is_news("cpu", row, value):
                self._told |= {"cpu_usage": value, "time": iso(self._newest["cpu"][0])}
        for row in _rows(data.get("memory")):
            used, free = number(row.get("used")), number(row.get("available"))
            if used is None or free is None or used + free <= 0:
                continue
            scale = MEGABYTE if used + free < SMALLEST else 1
            if self._is_news("memory", row, (used * scale, free * scale)):
                self._told |= {"memory_used": used * scale, "memory_available": free * scale}

    def _is_news(self, what: str, row: Mapping[str, Any], value: Any) -> bool:
        at = milliseconds(row.get("time"))
        if at is None:
            return False
        before = self._newest.get(what)
        if before is not None and (at <= before[0] or (at - before[0] <= REPEATED and value == before[1])):
            self.repeated += 1
            return False
        self._newest[what] = (at, value)
        return True

    def _system(self, data: Mapping[str, Any]) -> None:
        known = {"hostname": text(data.get("hostname")), "os": text(data.get("os"))}
        known["architecture"] = text(data.get("architecture"))
        known["ip_address"] = text(data.get("ipAddress"))
        self._told |= {name: value for name, value in known.items() if value and value != "Unknown"}
        uptime = number(data.get("uptime"))
        if uptime:
            self._told["uptime"] = uptime

    def _interfaces(self, data: Mapping[str, Any]) -> None:
        rows = _rows(data.get("interfaces"))[:INTERFACES]
        self._told["interfaces"] = [{name: text(row.get(name)) for name in _INTERFACE if row.get(name)} for row in rows]

    def _logs(self, data: Mapping[str, Any]) -> None:
        """How many errors and warnings, not their words: those may hold anything, secrets too."""
        for row in sorted(_rows(data.get("logs")), key=lambda row: milliseconds(row.get("timestamp")) or 0):
            level = (text(row.get("level")) or "").lower()
            service = text(row.get("serviceName")) or text(row.get("service_name")) or ""
            if level not in ("error", "fatal", "warn", "warning") or not self._is_news(
                f"log {level}", row_at(row), row
            ):
                continue
            is_error = level in ("error", "fatal")
            self._errors += is_error
            self._warnings += not is_error
            self._told |= {"log_errors": self._errors, "log_warnings": self._warnings}
            if is_error:
                self._told |= {"last_error": iso(self._newest[f"log {level}"][0]), "last_error_service": service}


def row_at(row: Mapping[str, Any]) -> dict[str, Any]:
    """A log's row with its time as the others have it."""
    return {"time": row.get("timestamp")}


def _rows(found: Any) -> list[Mapping[str, Any]]:
    rows: Iterable[Any] = found if isinstance(found, list) else ()
    return [row for row in rows if isinstance(row, dict)]
