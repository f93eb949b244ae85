"""The primary host: whether it is online at the broker in use. Pure.

It says so itself, retained, on spBv1.0/STATE/<host id>: {"online": true | false, "timestamp": ms since 1970 UTC}.
Its death is its will, written when it connected; one that comes late is known by its older timestamp. So the newest is
remembered over our own reconnects, for each broker (tck-id-message-flow-edge-node-birth-publish-phid-wait-timestamp,
tck-id-operational-behavior-edge-node-termination-host-offline-timestamp).

Hosts of before Sparkplug 3.0 say ONLINE or OFFLINE on STATE/<host id>, without a timestamp. That counts only where it
is allowed, and while the form of 3.0 was not heard at the same broker: hosts that say both would contradict themselves.
"""

from __future__ import annotations

import json
import logging

from bridge.errors import ProtocolError
from bridge.northbound.sparkplug.codec import NAMESPACE

logger = logging.getLogger(__name__)

_LEGACY = {b"ONLINE": True, b"OFFLINE": False}


class PrimaryHost:
    """One host application, as its STATE messages tell of it."""

    def __init__(self, host_id: str, takes_legacy: bool = False) -> None:
        self.id = host_id
        self._topic = f"{NAMESPACE}/STATE/{host_id}"
        self._legacy = f"STATE/{host_id}" if takes_legacy else None
        self._newest: dict[str, int] = {}
        self._has_warned = False

    @property
    def topics(self) -> tuple[str, ...]:
        """What to subscribe to."""
        return (self._topic,) if self._legacy is None else (self._topic, self._legacy)

    def hear(self, broker: str, topic: str, payload: bytes) -> bool | None:
        """Whether the host is online; None where this message does not say. Raises ProtocolError."""
        if topic == self._legacy and broker not in self._newest:
            return _legacy_state(payload)
        return self._state(broker, payload) if topic == self._topic else None

    def _state(self, broker: str, payload: bytes) -> bool | None:
        is_online, timestamp = _state(payload)
        newest = self._newest.get(broker)
        if newest is not None and timestamp < newest:
            self._warn(timestamp, newest)
            return None
        self._newest[broker] = timestamp
        return is_online

    def _warn(self, timestamp: int, newest: int) -> None:
        if not self._has_warned:
            self._has_warned = True
            text = "Ignored a STATE of host %s that is %d ms older than the one before: was its clock set back?"
            logger.warning(text, self.id, newest - timestamp)


def _state(payload: bytes) -> tuple[bool, int]:
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a STATE is no JSON: {error}") from None
    is_online = content.get("online") if isinstance(content, dict) else None
    timestamp = content.get("timestamp") if isinstance(content, dict) else None
    if not isinstance(is_online, bool) or isinstance(timestamp, bool) or not isinstance(timestamp, int):
        raise ProtocolError('a STATE is not {"online": true or false, "timestamp": milliseconds}')
    return is_online, timestamp


def _legacy_state(payload: bytes) -> bool:
    try:
        return _LEGACY[payload.strip().upper()]
    except KeyError:
        raise ProtocolError("a STATE of the old form is neither ONLINE nor OFFLINE") from None
