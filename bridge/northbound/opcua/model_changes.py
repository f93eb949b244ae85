"""Changes of the address space, told to clients that browsed it: GeneralModelChangeEvents, NodeVersion (Part 3, 9.32).

SemanticChangeEvents (9.33) tell which values mean something else: their unit, range or enumeration is another one.
A change of the plant is one event, however many nodes it makes: of what was added below something new, only the topmost
node is named. A machine that is gone keeps its nodes, BadOutOfService: that is no change of the model until they are
taken out.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua

from bridge.model.status import StatusCode
from bridge.model.value import DataType, DataValue, to_milliseconds
from bridge.northbound.opcua.stack.event_filter import Notification
from bridge.northbound.opcua.stack.values import PlainValue
from bridge.northbound.opcua.tree import OWN, standard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from bridge.northbound.opcua.stack.space import Added, Record
    from bridge.northbound.opcua.tree import Tree
    from bridge.ports import Clock

MAX_CHANGES: Final = 500
"""Of one event; of the model, beyond it only the parents are named, which is what a client browses anew."""
MODEL_CHANGE, SEMANTIC_CHANGE = "GeneralModelChangeEventType", "SemanticChangeEventType"
NODE_ADDED, NODE_DELETED, REFERENCE_ADDED, REFERENCE_DELETED = 1, 2, 4, 8
"""Bits of a verb (Part 5, 12.16)."""

_V = ua.VariantType


class ModelChanges:
    """Watches what is made and taken out, and tells it."""

    def __init__(self, tree: Tree, clock: Clock, notify: Callable[[Notification], None]) -> None:
        self._tree = tree
        self._clock = clock
        self._notify = notify
        self._versions: dict[ua.NodeId, PlainValue] = {}
        self._types = {
            name: (standard(name), tree.space.supertypes(standard(name))) for name in (MODEL_CHANGE, SEMANTIC_CHANGE)
        }

    def give_version(self, node_id: ua.NodeId) -> None:
        """This node is to have a NodeVersion, which changes with what is below it."""
        property_id = ua.NodeId(f"{_words(node_id)}.NodeVersion", OWN)
        if node_id in self._versions or self._tree.space.get(property_id) is not None:
            return
        value = PlainValue(self._version(self._clock.now()), DataType.String)
        self._tree.look(self._tree.node(node_id), "NodeVersion", _V.String, value, identifier=property_id)
        self._versions[node_id] = value

    @contextmanager
    def told(self) -> Iterator[None]:
        """What changes meanwhile is one event; one more where values mean something else."""
        with self._tree.space.recorded() as record:
            yield
        changes = self._added(record.added)
        self._referred(record, changes)
        for parent, node_id in record.removed:
            changes[node_id] = NODE_DELETED | changes.get(node_id, 0) & NODE_ADDED  # of another type, it is both
            changes[parent] = changes.get(parent, 0) | REFERENCE_DELETED
        self._versions = {one: value for one, value in self._versions.items() if self._tree.space.get(one)}
        if changes:
            self._tell(changes)
        self._tell_meaning(record.restated)

    @staticmethod
    def _added(added: Iterable[Added]) -> dict[ua.NodeId, int]:
        listed = [one for one in added if one.node_id.NamespaceIndex == OWN]
        new = {one.node_id for one in listed}
        changes: dict[ua.NodeId, int] = {}
        for one in listed:
            if one.parent not in new:
                changes[one.node_id] = NODE_ADDED
                changes[one.parent] = changes.get(one.parent, 0) | REFERENCE_ADDED
        return changes

    @staticmethod
    def _referred(record: Record, changes: dict[ua.NodeId, int]) -> None:
        """References that came and went between nodes of ours: machines in areas, types of what was there."""
        new = {one.node_id for one in record.added}
        for verb, pairs in ((REFERENCE_ADDED, record.linked), (REFERENCE_DELETED, record.unlinked)):
            for node_id in (one for pair in pairs for one in pair):
                if node_id.NamespaceIndex == OWN and node_id not in new:
                    changes[node_id] = changes.get(node_id, 0) | verb

    def _tell(self, changes: dict[ua.NodeId, int]) -> None:
        now = self._clock.now()
        for node_id, value in self._versions.items():
            if any(_is_below(changed, node_id) for changed in changes):
                value.set(self._version(now))
        if len(changes) > MAX_CHANGES:
            parents = {node_id: verb for node_id, verb in changes.items() if verb & ~(NODE_ADDED | NODE_DELETED)}
            changes = dict(list(parents.items())[:MAX_CHANGES])
        type_of = self._tree.space.type_of
        listed = [ua.ModelChangeStructureDataType(one, type_of(one), verb) for one, verb in changes.items()]
        self._notify(self._notification(MODEL_CHANGE, listed, f"{len(listed)} nodes changed", now))

    def _tell_meaning(self, restated: Iterable[ua.NodeId]) -> None:
        type_of, now = self._tree.space.type_of, self._clock.now()
        listed = [ua.SemanticChangeStructureDataType(one, type_of(one)) for one in dict.fromkeys(restated)]
        for start in range(0, len(listed), MAX_CHANGES):
            part = listed[start : start + MAX_CHANGES]
            words = f"{len(part)} variables have another unit, range or enumeration"
            self._notify(self._notification(SEMANTIC_CHANGE, part, words, now))

    def _version(self, now: datetime) -> DataValue:
        return DataValue(str(to_milliseconds(now)), StatusCode.Good, now, now)

    def _notification(self, kind: str, listed: list[Any], words: str, now: datetime) -> Notification:
        server, (type_id, types) = standard("Server"), self._types[kind]
        fields = {
            "EventId": ua.Variant(uuid.uuid4().bytes, _V.ByteString),
            "EventType": ua.Variant(type_id, _V.NodeId),
            "SourceNode": ua.Variant(server, _V.NodeId),
            "SourceName": ua.Variant("Server", _V.String),
            "Time": ua.Variant(now, _V.DateTime),
            "ReceiveTime": ua.Variant(now, _V.DateTime),
            "Message": ua.Variant(ua.LocalizedText(words, "en"), _V.LocalizedText),
            "Severity": ua.Variant(100, _V.UInt16),
            "Changes": ua.Variant(listed, _V.ExtensionObject),
        }
        return Notification(type_id, types, server, {((0, name),): value for name, value in fields.items()})


def _words(node_id: ua.NodeId) -> str:
    """What the ids of its properties begin with."""
    return str(node_id.Identifier) if node_id.NamespaceIndex == OWN else "Machines"


def _is_below(changed: ua.NodeId, node_id: ua.NodeId) -> bool:
    """Whether it is this node, or one of the same machine."""
    if changed == node_id:
        return True
    return (
        node_id.NamespaceIndex == changed.NamespaceIndex == OWN
        and isinstance(changed.Identifier, str)
        and changed.Identifier.startswith(f"{node_id.Identifier}.")
    )
