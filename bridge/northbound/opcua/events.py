"""Events of the one log as OPC UA events: their types, and their fields (Part 5, 6.4).

    BaseEventType
      BridgeEventType           Kind, Key, Machine, Source, Data
        <Kind>EventType         what events of this kind say, a property for each
    AuditEventType
      CommandEndedEventType     who asked for what, by which door, and how it ended

Vendors have kinds of their own. A kind that was never seen gets its type when it comes; what the log knows has one from
the start. SourceNode is the machine, or the bridge's own object where an event is of none.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua

from bridge.model.alarm import ALARM_EVENTS
from bridge.northbound.opcua import convert
from bridge.northbound.opcua.conditions import condition_fields, type_of
from bridge.northbound.opcua.stack import space as sp
from bridge.northbound.opcua.stack.event_filter import Notification
from bridge.northbound.opcua.tree import OWN, PROPERTY, TYPES, standard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from bridge.model.event import Event
    from bridge.northbound.opcua.tree import Tree

COMMAND_ENDED: Final = "CommandEnded"
MAX_KINDS: Final = 200
MAX_FIELDS: Final = 40
"""Of one kind."""

_V = ua.VariantType
_COMMON: Final = {
    "Kind": (_V.String, "What happened, as the bridge or the vendor calls it"),
    "Key": (_V.String, "The event's id: the same on every face, and when it is told again"),
    "Machine": (_V.String, "The machine's id; empty for the bridge itself"),
    "Source": (_V.String, "The source that told it"),
    "Data": (_V.String, "All that is known of it, as JSON"),
}
_OWN_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "SourceLost": (),
    "SourceReturned": (),
    "MachineAppeared": (),
    "MachineConnected": (),
    "MachineLost": (),
    "MachineVanished": (),
    "MachineReturned": (),
    "MachineRefused": (),
    "MachineWaiting": (),
    "MachineAdopted": (),
    "MachineWithoutMapping": (),
    "TagsAppeared": (),
    "TagsRefused": (),
    "RowsUnreadable": (),
    "ValuesContrary": (),
    "UnitUnknown": (),
    "ConfigurationChanged": (),
    "ConfigurationRefused": (),
    "SetpointChangedAtMachine": ("tag", "before", "after"),
    "MachineRestartedToDefaults": (),
    COMMAND_ENDED: ("id", "target", "requested", "requester", "door", "role", "result", "status", "sentence"),
}
"""The bridge's own kinds, with the fields each has; all of them texts."""

_WORD = re.compile(r"[A-Za-z0-9]+")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,59}")


def event_id(key: str) -> bytes:
    """EventId: 16 bytes that follow from our event's id, so that a client knows an event that is told again."""
    return hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=16).digest()


class EventTypes:
    """The types in the address space, and what makes a notification of an event."""

    def __init__(self, tree: Tree, server_uri: str) -> None:
        self._tree = tree
        self._server_uri = server_uri
        self._fields: dict[str, dict[str, tuple[str, ua.VariantType]]] = {}
        """By kind: the field of each key of the event's data, and its type."""
        self._types: dict[str, frozenset[ua.NodeId]] = {}

    def begin(self, known: Iterable[Event] = ()) -> None:
        """The bridge's own kinds, and those of the events that are known."""
        base, audit = self._tree.standard_node("BaseEventType"), self._tree.standard_node("AuditEventType")
        self._type(base.nodeid, "BridgeEventType", "An event of the bridge or of a vendor")
        for kind, keys in _OWN_KINDS.items():
            parent = audit.nodeid if kind == COMMAND_ENDED else ua.NodeId("BridgeEventType", TYPES)
            self._kind(kind, parent)
            for key in keys:
                self._field(kind, key, "")
        for event in known:
            self.learn(event)

    def learn(self, event: Event) -> bool:
        """Make a type and fields for what was never seen; whether there was anything."""
        if event.kind in ALARM_EVENTS:
            return False
        is_new = event.kind not in self._fields
        if is_new:
            if len(self._fields) >= MAX_KINDS or not _type_name(event.kind):
                return False
            self._kind(event.kind, ua.NodeId("BridgeEventType", TYPES))
        added = [self._field(event.kind, key, value) for key, value in event.data.items() if value is not None]
        return is_new or any(added)

    def _kind(self, kind: str, parent: ua.NodeId) -> None:
        self._type(parent, _type_name(kind), f"Events of the kind {kind}")
        self._fields[kind] = {}

    def _type(self, parent: ua.NodeId, name: str, description: str) -> None:
        identifier = ua.NodeId(name, TYPES)
        if self._tree.space.get(identifier) is not None:
            return
        named = sp.names(ua.QualifiedName(name, TYPES), ua.LocalizedText(name, "en"), description)
        attributes = sp.object_type_attributes(named)
        node = self._tree.node(parent)
        self._tree.space.add(node, identifier, attributes, None, reference=sp.HAS_SUBTYPE)
        if parent.NamespaceIndex == 0:
            for field, (kind, words) in _COMMON.items():
                self._property(name, field, kind, words)

    def _field(self, kind: str, key: str, value: object) -> bool:
        fields = self._fields[kind]
        if key in fields or len(fields) >= MAX_FIELDS:
            return False
        name = _camel(key)
        taken = {field for field, _ in fields.values()} | set(_COMMON)
        if not _NAME.fullmatch(name) or name in taken:
            return False
        variant_type = _variant_type(value)
        fields[key] = (name, variant_type)
        self._property(_type_name(kind), name, variant_type, "")
        return True

    def _property(self, type_name: str, name: str, kind: ua.VariantType, description: str) -> None:
        identifier = ua.NodeId(f"{type_name}.{name}", TYPES)
        named = sp.names(ua.QualifiedName(name, TYPES), ua.LocalizedText(name, "en"), description)
        attributes = sp.variable_attributes(named, ua.NodeId(kind.value))
        self._tree.space.add(
            self._tree.node(ua.NodeId(type_name, TYPES)),
            identifier,
            attributes,
            PROPERTY,
            reference=sp.HAS_PROPERTY,
            value=sp.constant(None, _V.Null),
            is_declaration=True,
        )

    # --- events ------------------------------------------------------------------------------------------------------

    def notification(self, event: Event, received: datetime) -> Notification:
        """The event as clients are told it; `received` is when the bridge heard of it."""
        is_alarm = event.kind in ALARM_EVENTS
        type_id = ua.NodeId(_type_name(event.kind) if event.kind in self._fields else "BridgeEventType", TYPES)
        if is_alarm:
            type_id = type_of(event)
        source, source_name = self._source(event)
        fields = {
            "EventId": ua.Variant(event_id(event.id), _V.ByteString),
            "EventType": ua.Variant(type_id, _V.NodeId),
            "SourceNode": ua.Variant(source, _V.NodeId),
            "SourceName": ua.Variant(source_name, _V.String),
            "Time": ua.Variant(event.time, _V.DateTime),
            "ReceiveTime": ua.Variant(received, _V.DateTime),
            "Message": ua.Variant(convert.localized(event.message), _V.LocalizedText),
            "Severity": ua.Variant(max(1, min(event.severity, 1000)), _V.UInt16),
        }
        if event.kind == COMMAND_ENDED:
            fields |= self._audit(event)
        own = {
            "Kind": event.kind,
            "Key": event.id,
            "Machine": event.machine,
            "Source": event.source,
            "Data": json.dumps(dict(event.data), default=str, ensure_ascii=False),
        }
        of_data = {
            name: _variant(event.data.get(key), kind) for key, (name, kind) in self._fields.get(event.kind, {}).items()
        }
        return Notification(
            type_id,
            self.supertypes(type_id),
            source,
            {
                **{((0, name),): value for name, value in fields.items()},
                **(condition_fields(event) if is_alarm else {}),
                **{((TYPES, name),): ua.Variant(convert.text(text), _V.String) for name, text in own.items()},
                **{((TYPES, name),): value for name, value in of_data.items()},
            },
            ua.NodeId(str(event.data["condition"]), OWN) if is_alarm else None,
        )

    def _source(self, event: Event) -> tuple[ua.NodeId, str]:
        for identifier in (event.machine, f"Bridge.Sources.{event.source}", "Bridge"):
            node_id = ua.NodeId(identifier, OWN)
            if identifier and self._tree.space.get(node_id) is not None:
                return node_id, convert.text(event.machine or event.source or "Bridge")
        return standard("Server"), "Bridge"

    def _audit(self, event: Event) -> dict[str, ua.Variant]:
        """Part 5, 6.4.3: who did it, and whether it was done."""
        data = event.data
        return {
            "ActionTimeStamp": ua.Variant(event.time, _V.DateTime),
            "Status": ua.Variant(bool(data.get("done")), _V.Boolean),
            "ServerId": ua.Variant(self._server_uri, _V.String),
            "ClientAuditEntryId": ua.Variant(convert.text(str(data.get("id") or "")), _V.String),
            "ClientUserId": ua.Variant(convert.text(str(data.get("requester") or "")), _V.String),
        }

    def supertypes(self, type_id: ua.NodeId) -> frozenset[ua.NodeId]:
        """A type and everything above it."""
        known = self._types.get(type_id.Identifier)
        if known is None:
            known = self._types[type_id.Identifier] = self._tree.space.supertypes(type_id)
        return known


def _type_name(kind: str) -> str:
    words = _camel(kind)
    return f"{words}EventType" if _NAME.fullmatch(words) else ""


def _camel(text: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in _WORD.findall(text))


def _variant_type(value: object) -> ua.VariantType:
    """Every number is a Double: whether a vendor's count comes as 3 or as 3.0 must not change a type."""
    if isinstance(value, bool):
        return _V.Boolean
    return _V.Double if isinstance(value, int | float) else _V.String


def _variant(value: Any, kind: ua.VariantType) -> ua.Variant:
    if value is None or (kind is not _V.String and _variant_type(value) is not kind):
        return ua.Variant(None, _V.Null)
    if kind is _V.Double:
        return ua.Variant(float(value), kind)
    return ua.Variant(value if kind is _V.Boolean else convert.text(str(value)), kind)
