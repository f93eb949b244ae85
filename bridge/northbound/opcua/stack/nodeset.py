"""The address space as NodeSet2 XML (Part 6, Annex F): what engineering tools import to work without the server.

Our instances and types, with the values that never change (units, ranges, enumerations, arguments, identification);
live values are left out. asyncua's exporter writes every value, asks node by node, and loses structures.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from datetime import datetime
from enum import IntEnum
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.sax.saxutils import XMLGenerator

from asyncua import ua

from bridge.northbound.opcua.stack.values import TagValue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncua.server.address_space import AddressSpace, NodeData

SCHEMA = "http://opcfoundation.org/UA/2011/03/UANodeSet.xsd"
TYPES_SCHEMA = "http://opcfoundation.org/UA/2008/02/Types.xsd"
CHUNK = 200
"""Nodes written before the loop may turn: a few milliseconds."""

A = ua.AttributeIds
_ELEMENTS = {
    ua.NodeClass.Object: "UAObject",
    ua.NodeClass.Variable: "UAVariable",
    ua.NodeClass.Method: "UAMethod",
    ua.NodeClass.ObjectType: "UAObjectType",
}
_PLAIN = {
    "WriteMask": (A.WriteMask, 0),
    "EventNotifier": (A.EventNotifier, 0),
    "ValueRank": (A.ValueRank, -1),
    "AccessLevel": (A.AccessLevel, 1),
    "MinimumSamplingInterval": (A.MinimumSamplingInterval, 0.0),
    "Historizing": (A.Historizing, False),
    "IsAbstract": (A.IsAbstract, False),
    "Executable": (A.Executable, True),
}
"""XML attributes, where they come from, and what the schema takes for granted."""


class Model(NamedTuple):
    """A nodeset that must be there first."""

    uri: str
    version: str
    published: str


BASE = Model("http://opcfoundation.org/UA/", "1.05.02", "2022-11-01T00:00:00Z")
_MODEL = re.compile(r'<Model ModelUri="([^"]+)"[^>]*? Version="([^"]+)" PublicationDate="([^"]+)"')


def model_of(xml: str) -> Model:
    """Which one a nodeset's text is."""
    found = _MODEL.search(xml)
    if found is None:
        raise ValueError("This nodeset does not say which model it is")
    return Model(*found.groups())


async def nodeset(
    aspace: AddressSpace,
    uris: Sequence[str],
    exported: Sequence[int],
    required: Sequence[Model],
    version: str,
    now: datetime,
) -> str:
    """The nodes of the `exported` namespaces; `uris` are all namespaces by index."""
    return await _Writer(aspace, uris, exported, required, version, now).document()


class _Writer:
    def __init__(
        self,
        aspace: AddressSpace,
        uris: Sequence[str],
        exported: Sequence[int],
        required: Sequence[Model],
        version: str,
        now: datetime,
    ) -> None:
        self._aspace = aspace
        self._exported = exported
        self._required = required
        others = [index for index in range(2, len(uris)) if index not in exported]
        self._order = [*exported, *others]
        self._indices = {0: 0, **{index: place for place, index in enumerate(self._order, 1)}}
        self._uris = uris
        self._version = version
        self._now = now
        self._text = StringIO()
        self._value_schema: dict[str, str] = {}
        self._xml = XMLGenerator(self._text, "utf-8", short_empty_elements=True)

    async def document(self) -> str:
        self._xml.startDocument()
        self._begin("UANodeSet", {"xmlns": SCHEMA, "LastModified": _stamp(self._now)})
        self._begin("NamespaceUris")
        for index in self._order:
            self._leaf("Uri", self._uris[index])
        self._end("NamespaceUris")
        self._models()
        chosen = [node_id for node_id in list(self._aspace.keys()) if node_id.NamespaceIndex in self._exported]
        chosen.sort(key=lambda one: (self._exported.index(one.NamespaceIndex), str(one.Identifier)))
        for count, node_id in enumerate(chosen, 1):
            node = self._aspace.get(node_id)
            if node is not None:
                self._node(node)
            if not count % CHUNK:
                await asyncio.sleep(0)
        self._xml.endElement("UANodeSet")
        self._xml.endDocument()
        return self._text.getvalue()

    def _models(self) -> None:
        """What is required is said once: asyncua's importer refuses a file that says it for each of its models."""
        self._begin("Models")
        for index in self._exported:
            about = {"ModelUri": self._uris[index], "Version": self._version, "PublicationDate": _stamp(self._now)}
            self._begin("Model", about)
            for other in self._required if index == self._exported[0] else ():
                wanted = {"ModelUri": other.uri, "Version": other.version, "PublicationDate": other.published}
                self._begin("RequiredModel", wanted)
                self._end("RequiredModel")
            self._end("Model")
        self._end("Models")

    # --- nodes -------------------------------------------------------------------------------------------------------

    def _node(self, node: NodeData) -> None:
        element = _ELEMENTS.get(_value(node, A.NodeClass))
        if element is None:
            return
        browse_name = _value(node, A.BrowseName)
        index = self._indices.get(browse_name.NamespaceIndex, 0)
        about = {
            "NodeId": self._id(node.nodeid),
            "BrowseName": f"{index}:{browse_name.Name}" if index else browse_name.Name,
        }
        for name, (attribute, usual) in _PLAIN.items():
            value = _value(node, attribute)
            if value is not None and value != usual:
                about[name] = str(value).lower() if isinstance(value, bool) else str(value)
        data_type = _value(node, A.DataType)
        if data_type is not None:
            about["DataType"] = self._id(data_type)
        self._begin(element, about)
        self._localized("DisplayName", _value(node, A.DisplayName))
        description = _value(node, A.Description)
        if description is not None and description.Text:
            self._localized("Description", description)
        self._references(node)
        held = node.attributes.get(A.Value)
        if held is not None and not isinstance(held, TagValue) and held.value is not None:
            self._variant(held.value.Value)
        self._end(element)

    def _references(self, node: NodeData) -> None:
        self._begin("References")
        for one in node.references:
            if one.NodeId.NamespaceIndex == 1:
                continue
            about = {"ReferenceType": self._id(one.ReferenceTypeId)}
            if not one.IsForward:
                about["IsForward"] = "false"
            self._leaf("Reference", self._id(one.NodeId), about)
        self._end("References")

    def _id(self, node_id: ua.NodeId) -> str:
        index = self._indices[node_id.NamespaceIndex]
        kind = "s" if isinstance(node_id.Identifier, str) else "i"
        return f"ns={index};{kind}={node_id.Identifier}" if index else f"{kind}={node_id.Identifier}"

    # --- values ------------------------------------------------------------------------------------------------------

    def _variant(self, variant: ua.Variant | None) -> None:
        if variant is None or variant.Value is None:
            return
        value = variant.Value
        self._begin("Value")
        self._value_schema = {"xmlns": TYPES_SCHEMA}
        if isinstance(value, list):
            kind = (
                "ExtensionObject" if variant.VariantType == ua.VariantType.ExtensionObject else variant.VariantType.name
            )
            self._begin(f"ListOf{kind}", self._typed())
            for one in value:
                self._scalar(kind, one)
            self._end(f"ListOf{kind}")
        else:
            self._scalar(variant.VariantType.name, value)
        self._end("Value")

    def _typed(self) -> dict[str, str]:
        """The schema of values, on the outermost element."""
        found, self._value_schema = self._value_schema, {}
        return found

    def _scalar(self, kind: str, value: Any) -> None:
        if kind == "ExtensionObject":
            self._structure(value)
        elif isinstance(value, ua.LocalizedText):
            self._begin("LocalizedText", self._typed())
            self._members(value)
            self._end("LocalizedText")
        else:
            self._leaf(kind, _words(value), self._typed())

    def _structure(self, value: Any) -> None:
        name = type(value).__name__
        identifier = getattr(ua.ObjectIds, f"{name}_Encoding_DefaultXml")
        self._begin("ExtensionObject", self._typed())
        self._begin("TypeId")
        self._leaf("Identifier", f"i={identifier}")
        self._end("TypeId")
        self._begin("Body")
        self._begin(name)
        self._members(value)
        self._end(name)
        self._end("Body")
        self._end("ExtensionObject")

    def _members(self, value: Any) -> None:
        for name, one in _members_of(value):
            if one is None:
                continue
            if isinstance(one, ua.NodeId):
                self._begin(name)
                self._leaf("Identifier", self._id(one))
                self._end(name)
            elif is_dataclass(one):
                self._begin(name)
                self._members(one)
                self._end(name)
            elif isinstance(one, list):
                continue  # ArrayDimensions of scalars
            else:
                self._leaf(name, _words(one))

    # --- XML ---------------------------------------------------------------------------------------------------------

    def _localized(self, name: str, text: ua.LocalizedText) -> None:
        self._leaf(name, _clean(text.Text or ""), {"Locale": text.Locale} if text.Locale else {})

    def _leaf(self, name: str, words: str, about: Mapping[str, str] | None = None) -> None:
        self._xml.startElement(name, _cleaned(about))  # type: ignore[arg-type]
        self._xml.characters(words)
        self._end(name)

    def _begin(self, name: str, about: Mapping[str, str] | None = None) -> None:
        """An element with others in it; asyncua's importer takes a value that begins without white space for none."""
        self._xml.startElement(name, _cleaned(about))  # type: ignore[arg-type]
        self._xml.characters("\n")

    def _end(self, name: str) -> None:
        self._xml.endElement(name)
        self._xml.characters("\n")


def _cleaned(about: Mapping[str, str] | None) -> dict[str, str]:
    return {key: _clean(words) for key, words in (about or {}).items()}


def _members_of(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, ua.LocalizedText):
        yield "Locale", value.Locale
        yield "Text", value.Text
        return
    for one in fields_of(value):
        if one.name not in ("TypeId", "Encoding", "data_type"):
            yield one.name, getattr(value, one.name)


def _value(node: NodeData, attribute: ua.AttributeIds) -> Any:
    held = node.attributes.get(attribute)
    return held.value.Value.Value if held is not None and held.value and held.value.Value else None


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return _stamp(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(int(value)) if isinstance(value, IntEnum) else _clean(str(value))


def _clean(text: str) -> str:
    """Without what XML cannot carry."""
    return "".join(sign if sign >= " " or sign in "\t\n\r" else " " for sign in text)


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
