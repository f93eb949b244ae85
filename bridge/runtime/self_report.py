"""What the bridge says of itself through its own tags, from the same facts as health and Prometheus."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from bridge.runtime.counters import counters

if TYPE_CHECKING:
    from bridge.runtime.bridge import Bridge
    from bridge.runtime.operations import BridgeOperations

COUNTERS_EVERY_S: Final = 60.0
"""Counters move whenever anything happens: said more often, they would be traffic of their own on every face."""


class SelfReport:
    """Ready, faces and certificates at once, counters and uptime every minute."""

    def __init__(self, bridge: Bridge, operations: BridgeOperations) -> None:
        self._bridge = bridge
        self._operations = operations
        self._counted = -math.inf
        self._tries: dict[str, tuple[float, datetime]] = {}

    def tick(self) -> None:
        """Say what changed."""
        say, why = self._bridge.keeper.say, self._operations.why_not_ready()
        say("Ready", not why)
        say("WhyNotReady", "; ".join(why))
        for name in self._bridge.faces:
            face = self._operations.face(name)
            say(f"Faces/{name}/Running", face.running)
            say(f"Faces/{name}/Trouble", face.detail)
        self._certificates()
        self._next_tries()
        now = self._bridge.clock.monotonic()
        if now - self._counted >= COUNTERS_EVERY_S:
            self._counted = now
            self._count()

    def _certificates(self) -> None:
        days = self._bridge.certificate_days
        reason = "No certificate is there" if days else "There is no OPC UA server"
        self._bridge.keeper.say("OpcuaCertificateDaysLeft", days.own if days else None, reason)
        self._bridge.keeper.say("OpcuaTrustedDaysLeft", days.trusted if days else None, reason)

    def _next_tries(self) -> None:
        """A moment is reckoned once for each try: it would move with every look otherwise."""
        clock = self._bridge.clock
        for name, runner in self._bridge.runners.items():
            due = runner.status.next_try_at
            if due is None:
                self._tries.pop(name, None)
                self._bridge.keeper.say(f"Sources/{name}/NextTry", None, "No try is due")
            elif self._tries.get(name, (None,))[0] != due:
                moment = clock.now() + timedelta(seconds=round(due - clock.monotonic(), 3))
                self._tries[name] = due, moment
                self._bridge.keeper.say(f"Sources/{name}/NextTry", moment)

    def _count(self) -> None:
        bridge, metrics = self._bridge, self._bridge.metrics()
        bridge.keeper.say("Uptime", int((bridge.clock.now() - bridge.started).total_seconds()))
        for name, metric, _ in counters(bridge.faces, has_broker=bridge.site.file.broker.enabled):
            if metric in metrics:
                bridge.keeper.say(name, int(metrics[metric]))
        for name, runner in bridge.runners.items():
            bridge.keeper.say(f"Sources/{name}/LastUpdate", runner.status.last_update, "Nothing has come yet")
