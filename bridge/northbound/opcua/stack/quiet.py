"""asyncua's own log lines, made few: it writes several per request and a traceback per malformed one."""

from __future__ import annotations

import logging
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.ports import Clock

_log = logging.getLogger(__name__)

PER_MINUTE = 3
"""Lines of one kind (same place in asyncua) that are passed on in a minute."""
MAX_KINDS = 200
ORDINARY = (
    "sending service fault response",
    "Attempt to read",
    "Invalid datachange",
    "%s attempted to do something",
    "%s has datatypedefinition",
)
"""What asyncua calls an error or warning and is a client's everyday mistake, answered to the client itself."""


class _Few(logging.Handler):
    """Passes on what asyncua says, without tracebacks, at most PER_MINUTE of each kind."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(logging.WARNING)
        self._clock = clock
        self._seen: OrderedDict[tuple[str, int], list[float]] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith(ORDINARY):
            _log.debug("asyncua: %s", record.getMessage())
        elif self._is_one_of_few(record):
            _log.warning("asyncua: %s%s", record.getMessage(), _cause(record))

    def _is_one_of_few(self, record: logging.LogRecord) -> bool:
        now, kind = self._clock.monotonic(), (record.pathname, record.lineno)
        times = self._seen.setdefault(kind, [])
        times[:] = [time for time in times if now - time < 60][-PER_MINUTE:]
        if len(self._seen) > MAX_KINDS:
            self._seen.popitem(last=False)
        if len(times) >= PER_MINUTE:
            return False
        times.append(now)
        return True


def _cause(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return f" ({type(error).__name__}: {error})" if error else ""


@contextmanager
def few_words(clock: Clock) -> Iterator[None]:
    """While this is entered, asyncua's loggers speak through ours."""
    loggers = [logging.getLogger(name) for name in ("asyncua", "asyncuagds")]
    before = [(logger, logger.level, logger.propagate) for logger in loggers]
    handler = _Few(clock)
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, level, propagate in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
