"""Logs: one line each, for a person, on standard error; quiet in normal operation."""

from __future__ import annotations

import logging
import sys

NOISY = ("asyncua", "aiomqtt", "amqtt", "httpx", "httpcore", "uvicorn", "transitions", "aiohttp", "paho")
"""Libraries whose own lines repeat what we say better."""


def set_up_logging(level: str = "info") -> None:
    """Log to standard error from `level` on; libraries from WARNING on unless debugging."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("asyncio").addFilter(_is_news)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.INFO if level == "debug" else logging.WARNING)


def _is_news(record: logging.LogRecord) -> bool:
    """The event loop says once for each message that amqtt still writes to a subscriber who has left."""
    return record.msg != "socket.send() raised exception."
