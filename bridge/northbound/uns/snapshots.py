"""All values of a machine in one document, for whoever asks.

    <machine>/_snapshot -> what the table holds now -> the MQTT 5 response topic, or <machine>/_snapshot/result

Reading is no command: this door is open without `commands.enabled`, and takes nothing but "tell me".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from bridge.model.status import StatusCode
from bridge.northbound.uns import payload
from bridge.northbound.uns.answers import FORBIDDEN, answer, may_be_answered
from bridge.northbound.uns.request import MAX_ID, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.model.command import Outcome
    from bridge.northbound.uns.branches import Branch
    from bridge.ports import Clock, TagView
    from bridge.transport.mqtt import Link, Message

PER_SECOND, BURST = 5.0, 20.0
"""Snapshots told, over all machines and clients: a machine of 2 000 tags costs some milliseconds."""
MAX_REQUEST = 4096
"""Bytes of a request that are looked at; an "id" fits."""
MAX_SNAPSHOT = 1 << 20
"""Bytes; brokers in the cloud take less, mosquitto takes it."""

TOO_OFTEN = refusal(
    StatusCode.BadTooManyOperations,
    f"At most {PER_SECOND:.0f} snapshots a second are told; ask again in a second, or subscribe to the values",
)
TOO_LARGE = refusal(StatusCode.BadNotSupported, "A snapshot of this machine is too large; subscribe to its values")
RETAINED = refusal(StatusCode.BadInvalidState, "The request is retained and would be answered at every connect")
GONE = refusal(StatusCode.BadNotFound, "This machine is no longer part of the plant")
NOWHERE = refusal(StatusCode.BadInvalidArgument, FORBIDDEN)


class Snapshots:
    """Answers what is asked on `topics`."""

    def __init__(self, clock: Clock, properties: tuple[tuple[str, str], ...]) -> None:
        self._clock = clock
        self._properties = properties
        self._branches: dict[str, Branch] = {}
        self._roots: frozenset[str] = frozenset()
        self._credit, self._counted = BURST, clock.monotonic()
        self.told_total = 0
        self.refused_total = 0

    @property
    def topics(self) -> frozenset[str]:
        """What to subscribe to."""
        return frozenset(self._branches)

    def learn(self, branches: Iterable[Branch]) -> None:
        """What there is to tell."""
        known = [*branches]
        self._branches = {branch.snapshot: branch for branch in known}
        self._roots = frozenset(branch.root for branch in known)

    def take(self, message: Message, link: Link, view: TagView) -> bool:
        """Answer a request; False where the message is none. Does not wait. Raises LinkLost."""
        branch = self._branches.get(message.topic)
        if branch is None:
            return False
        identifier = _identifier(message.payload)
        told = self._told(message, identifier, branch, view)
        if isinstance(told, bytes):
            whole = answer(message, told, self._properties)
            if link.fits(whole):
                self.told_total += 1
                link.publish(whole)
                return True
            told = TOO_LARGE
        self.refused_total += 1
        content = payload.answer(identifier, told, self._clock.now())
        link.publish(answer(message, content, self._properties, at_result=told is NOWHERE))
        return True

    def _told(self, message: Message, identifier: str | int | None, branch: Branch, view: TagView) -> bytes | Outcome:
        if not may_be_answered(message, self._roots):
            return NOWHERE
        if message.retain:
            return RETAINED
        if not self._is_affordable():
            return TOO_OFTEN
        machine = next((one for one in view.plant.everything() if one.id == branch.machine.id), None)
        if machine is None:
            return GONE  # and the batch that says so is on its way
        values = {tag.name: view.read(tag) for tag in machine.tags}
        content = payload.snapshot(identifier, machine, values, self._clock.now())
        return content if len(content) <= MAX_SNAPSHOT else TOO_LARGE

    def _is_affordable(self) -> bool:
        now = self._clock.monotonic()
        self._credit = min(BURST, self._credit + (now - self._counted) * PER_SECOND)
        self._counted = now
        if self._credit < 1:
            return False
        self._credit -= 1
        return True


def _identifier(content: bytes) -> str | int | None:
    """The "id" a client gave, to find its answer by; whatever else a request holds does not matter."""
    try:
        document = orjson.loads(content) if len(content) <= MAX_REQUEST else None
    except orjson.JSONDecodeError:
        return None
    given = document.get("id") if isinstance(document, dict) else None
    if isinstance(given, bool) or not isinstance(given, str | int):
        return None
    return given if isinstance(given, int) or len(given) <= MAX_ID else None
