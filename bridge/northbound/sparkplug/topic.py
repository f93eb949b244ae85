"""Sparkplug topics and ids: `<namespace>/<group>/<type>/<edge node>[/<device>]`. Pure.

Source: Sparkplug 3.0, chapter 4. The namespace is the codec's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bridge.northbound.sparkplug.codec import NAMESPACE

FORBIDDEN = frozenset("+/#\0")
"""Characters no id may have (tck-id-intro-group-id-chars and its kin)."""

DISCOURAGED = frozenset(".,\\@#$%^&*()[]{}|!`~:;'\"<>?")
"""Characters in metric names that hosts choke on (Sparkplug 3.0, 6.4.6 and Ignition's tag names)."""


class MessageType(StrEnum):
    """The verbs of a topic that an edge node says or hears."""

    NBIRTH = "NBIRTH"
    NDEATH = "NDEATH"
    NDATA = "NDATA"
    NCMD = "NCMD"
    DBIRTH = "DBIRTH"
    DDEATH = "DDEATH"
    DDATA = "DDATA"
    DCMD = "DCMD"


@dataclass(frozen=True, slots=True)
class EdgeNode:
    """One edge node's name: group id and edge node id. Makes and reads its topics."""

    group_id: str
    edge_node_id: str

    def __str__(self) -> str:
        return f"{self.group_id}/{self.edge_node_id}"

    def topic(self, kind: MessageType, device_id: str | None = None) -> str:
        """The topic of a message of this node, or of one of its devices.

        tck-id-topic-structure, tck-id-topic-structure-namespace-device-id-associated-message-types.
        """
        if (kind[0] == "D") != (device_id is not None):
            raise ValueError(f"{kind}: a device id belongs to D messages, and only to them")
        node = f"{NAMESPACE}/{self.group_id}/{kind}/{self.edge_node_id}"
        return node if device_id is None else f"{node}/{device_id}"

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """What a node must hear before its birth; "+" also covers devices that come later."""
        return (self.topic(MessageType.NCMD), self.topic(MessageType.DCMD, "+"))

    @property
    def publications(self) -> str:
        """A filter for all that a node and its devices say."""
        return f"{NAMESPACE}/{self.group_id}/+/{self.edge_node_id}/#"

    def read(self, topic: str) -> tuple[MessageType, str | None] | None:
        """The type and device of a topic of this node; None for every other topic."""
        levels = topic.split("/")
        if len(levels) not in (4, 5) or levels[0] != NAMESPACE or levels[2] not in MessageType.__members__:
            return None
        kind = MessageType(levels[2])
        device_id = levels[4] if len(levels) == 5 else None
        is_ours = levels[1] == self.group_id and levels[3] == self.edge_node_id
        return (kind, device_id) if is_ours and (kind[0] == "D") == (device_id is not None) else None


def id_fault(what: str, identifier: str) -> str | None:
    """Why this group, edge node or device id cannot be used, or None."""
    if not identifier:
        return f"the {what} is empty"
    wrong = sorted(FORBIDDEN & set(identifier))
    if wrong:
        return f"the {what} {identifier!r} has {' '.join(map(repr, wrong))}, which Sparkplug forbids"
    try:
        identifier.encode()
    except UnicodeEncodeError:
        return f"the {what} {identifier!r} is not valid Unicode"
    if what == "group id" and identifier == "STATE":
        return "the group id STATE is taken by the topics of hosts"
    return None


def metric_fault(name: str) -> str | None:
    """Why hosts would choke on this metric name, or None."""
    if not all(name.split("/")):
        return f"the metric name {name!r} has an empty level"
    wrong = sorted(DISCOURAGED & set(name))
    if wrong:
        return f"the metric name {name!r} has {' '.join(wrong)}, which hosts refuse"
    if not all(level[0].isalnum() or level[0] == "_" for level in name.split("/")):
        return f"the metric name {name!r} has a level that does not begin with a letter, a digit or _"
    return None
