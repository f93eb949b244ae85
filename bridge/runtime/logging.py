"""Logs: one line each, on standard error; quiet in normal operation.

    record -> Repeats (same sentence again within a minute: counted) -> human or JSON line -> standard error
                                                                     -> Tail (bounded, for support bundles)

A sentence has an id that stays as long as its words do: docs/reference/log.md lists them all.
"""

from __future__ import annotations

import logging
import sys
import time
import zlib
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import orjson

from bridge.errors import NotChanged, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NOISY = ("asyncua", "aiomqtt", "amqtt", "httpx", "httpcore", "uvicorn", "transitions", "aiohttp", "paho")
"""Libraries whose own lines repeat what we say better."""
LEVELS = ("debug", "info", "warning", "error")
Level = Literal["debug", "info", "warning", "error"]
Form = Literal["human", "json"]

ROOMS: Mapping[str, str] = {
    "all": "bridge",
    "qitech": "bridge.sources.qitech",
    "quantiix": "bridge.sources.quantiix",
    "trackmymachines": "bridge.sources.trackmymachines",
    "iotistica": "bridge.sources.iotistica",
    "sources": "bridge.sources",
    "opcua": "bridge.northbound.opcua",
    "sparkplug": "bridge.northbound.sparkplug",
    "uns": "bridge.northbound.uns",
    "status": "bridge.northbound.status",
    "mqtt": "bridge.transport",
    "commands": "bridge.commands",
    "hub": "bridge.hub",
    "runtime": "bridge.runtime",
}
"""What a person calls a part of the bridge, and its logger."""

AGAIN_S = 60.0
"""The same line within this time is counted, and told once when it is over."""
MAX_KNOWN = 500
"""Lines whose repetitions are counted at a time."""
TAIL, LONGEST = 2000, 2000
"""Lines that are kept in memory, and characters of one."""


def set_up_logging(level: str = "info", form: Form = "human") -> None:
    """Log to standard error from `level` on; libraries from WARNING on unless debugging."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else HumanLines())
    repeats.use(handler)
    logging.basicConfig(level=level.upper(), handlers=[handler, tail], force=True)
    logging.getLogger("asyncio").addFilter(_is_news)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.INFO if level == "debug" else logging.WARNING)


def set_level(room: str, level: str) -> None:
    """Tell more, or less, of a room from now on. Raises NotChanged, which says what there is."""
    if room not in ROOMS:
        raise NotChanged(_unknown("part", room, ROOMS))
    if level not in LEVELS:
        raise NotChanged(_unknown("level", level, LEVELS))
    chosen = logging.getLogger(ROOMS[room])
    chosen.setLevel(level.upper())
    if room in ("all", "sources"):  # what was set below it is set anew with it
        for name in ROOMS.values():
            if name.startswith(f"{chosen.name}."):
                logging.getLogger(name).setLevel(logging.NOTSET)


def levels() -> dict[str, str]:
    """From which level on each room tells."""
    return {
        room: logging.getLevelName(logging.getLogger(name).getEffectiveLevel()).lower() for room, name in ROOMS.items()
    }


def _unknown(what: str, word: str, known: Mapping[str, str] | tuple[str, ...]) -> str:
    hint = did_you_mean(word, known)
    return f"there is no {what} {word[:60]!r}; there is {', '.join(known)}" + (f"; {hint}" if hint else "")


def sentence_id(template: str) -> str:
    """The id of a log sentence: made of its words, without what is filled in."""
    return f"PB{zlib.crc32(template.encode()) & 0xFFFFFF:06X}"


def _template(record: logging.LogRecord) -> str:
    return str(getattr(record, "template", record.msg))


_UNSEEN: Mapping[int, str] = {
    code: chr(code).encode("unicode_escape").decode()
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
"""Line ends, terminals' escapes, turned writing directions: what a vendor or a stranger says is one line, and text."""


class HumanLines(logging.Formatter):
    """`2026-03-04 05:06:07,089 WARNING bridge.runtime.supervisor: Source panel-1 is lost: … [PB1A2B3C]`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line, with the id of the sentence where a person may have to look it up."""
        line = super().formatMessage(record).translate(_UNSEEN)
        return f"{line} [{sentence_id(_template(record))}]" if record.levelno >= logging.WARNING else line


class JsonLines(logging.Formatter):
    """`{"time", "level", "id", "logger", "message", "exception"?}`, one object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "id": sentence_id(_template(record)),
            "logger": record.name,
            "message": _encodable(record.getMessage()),
        }
        if record.exc_info:
            said["exception"] = _encodable(self.formatException(record.exc_info))
        return orjson.dumps(said, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode()


def _encodable(text: str) -> str:
    """Names of files may have bytes that are no text."""
    return text.encode("utf-8", "backslashreplace").decode()


class Repeats(logging.Filter):
    """Lets a line through once a minute; what came meanwhile is counted, and told when the minute is over.

    Errors with a traceback always pass: no two are surely the same.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._known: dict[tuple[str, str], tuple[float, int, logging.LogRecord]] = {}
        self._handler: logging.Handler | None = None
        self.held_total = 0
        """Lines that were counted instead of told."""

    def use(self, handler: logging.Handler) -> None:
        """Stand before this handler, and no other."""
        if self._handler is not None:
            self._handler.removeFilter(self)
        self._handler = handler
        self._known.clear()
        handler.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is told now."""
        if record.exc_info or record.levelno < logging.WARNING:
            return True
        self.flush()
        try:
            key = record.name, record.getMessage()
        except Exception:
            return True
        known = self._known.get(key)
        if known is not None:
            self._known[key] = (known[0], known[1] + 1, record)
            self.held_total += 1
            return False
        if len(self._known) < MAX_KNOWN:
            self._known[key] = (self._monotonic() + AGAIN_S, 0, record)
        return True

    def flush(self) -> None:
        """Tell of what was counted, where its minute is over. To be called now and then."""
        now = self._monotonic()
        while self._known:
            key, (until, count, record) = next(iter(self._known.items()))
            if until > now:
                return
            del self._known[key]
            if count and self._handler is not None:
                again = logging.makeLogRecord({**record.__dict__, "template": _template(record)})
                again.msg, again.args = f"{record.getMessage()} (again, {count} times in {AGAIN_S:.0f} s)", ()
                self._handler.emit(again)


class Tail(logging.Handler):
    """The newest lines, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(HumanLines())
        self._lines: deque[str] = deque(maxlen=TAIL)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        try:
            self._lines.append(self.format(record)[:LONGEST])
        except Exception:
            self._lines.append(f"{record.name}: {record.msg!r:.{LONGEST}}")

    @property
    def lines(self) -> list[str]:
        """Oldest first."""
        return [*self._lines]


def _is_news(record: logging.LogRecord) -> bool:
    """The event loop says once for each message that amqtt still writes to a subscriber who has left."""
    return record.msg != "socket.send() raised exception."


repeats, tail = Repeats(), Tail()
"""Of this process: there is one standard error."""
