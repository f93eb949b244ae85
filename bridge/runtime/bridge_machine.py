"""The bridge itself as a machine: one model for Objects/Bridge, node metrics, the _bridge branch and Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.model.connection import SOURCE_STATES
from bridge.model.path import Place
from bridge.model.plant import BRIDGE_MACHINE_ID, Machine
from bridge.model.tag import Owner, Tag, TagDefinition, tag_id
from bridge.model.units import UNITS
from bridge.model.value import DataType
from bridge.runtime.counters import counters

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

ReadingShape = tuple[DataType, str | None, str]
"""Data type, unit and description."""

_EVERY: dict[str, ReadingShape] = {
    "ClockOffset": (DataType.Double, "s", "How far the vendor's clock is ahead of the bridge's"),
    "Profile": (DataType.String, None, "API generation the vendor speaks"),
    "TlsVerified": (DataType.Boolean, None, "The vendor's certificate was verified"),
}
_HOW_IT_GOES = "How reading {} goes: ok, not offered, not allowed, failed"
_OF_CLOUDS: dict[str, ReadingShape] = {
    "ClockOffset": _EVERY["ClockOffset"],
    "TlsVerified": _EVERY["TlsVerified"],
    "Logins": (DataType.Int64, None, "Tokens fetched since the bridge started"),
    "TokenExpires": (DataType.DateTime, None, "When the token ends"),
    "BudgetLimit": (DataType.Double, None, "Requests a minute this bridge may send"),
    "BudgetRate": (DataType.Double, None, "Requests a minute that are let out now; lower for a while after a 429"),
    "BudgetUsed": (DataType.Int64, None, "Requests sent in the last minute"),
    "Throttled": (DataType.Int64, None, "How often the vendor answered 429"),
}
READINGS: dict[str, dict[str, ReadingShape]] = {
    "qitech": {
        **_EVERY,
        "EthercatState": (DataType.String, None, "State of the machine bus, in the vendor's words"),
    },
    "quantiix": {
        **_OF_CLOUDS,
        "StatePeriod": (DataType.Double, "s", "How often each machine's state is really read"),
        "ActivityPeriod": (DataType.Double, "s", "How often each machine's activity is really read"),
    },
    "trackmymachines": {
        "ClockOffset": _EVERY["ClockOffset"],
        "TlsVerified": _EVERY["TlsVerified"],
        "KeyExpiresInDays": (DataType.Int32, "d", "Days until the API key ends, by api_key_expires"),
        "WriteAllowed": (DataType.Boolean, None, "The vendor takes writes with this key; no value until one was tried"),
        "Requests": (DataType.Int64, None, "Requests sent since the bridge started"),
        "HttpStatus": (DataType.Int32, None, "Of the newest answer"),
        "LastError": (DataType.String, None, "What the vendor, or the network, refused last"),
        "UnmappedEvents": (DataType.Int64, None, "Events known now whose machine has no foreign id"),
        "KnownEvents": (DataType.Int64, None, "Events known now, to see what is changed in them"),
        "Watermark": (DataType.DateTime, None, "The timeline is read up to here"),
        "PollPeriod": (DataType.Double, "s", "How often the timeline is really read"),
        "BudgetRate": _OF_CLOUDS["BudgetRate"],
        "Throttled": _OF_CLOUDS["Throttled"],
    },
    "iotistica": {
        "MqttMessages": (DataType.Int64, None, "Messages of agents taken since the bridge started"),
        "MqttRefused": (DataType.Int64, None, "Messages that could not be read"),
        "MqttDropped": (DataType.Int64, None, "Messages that came faster than they were taken, or were too large"),
        "MqttDuplicates": (DataType.Int64, None, "Messages that came more than once"),
        "MqttWaiting": (DataType.Int64, None, "Messages that wait for their dictionary"),
        "MqttLastFault": (DataType.String, None, "What could not be read last, and why"),
        "RestConnected": (DataType.Boolean, None, "The cloud's API answers"),
        "Profile": (DataType.String, None, "What the API is taken for"),
        "ServerStatus": (DataType.String, None, "What the API's server says of itself"),
        "ClockOffset": (DataType.Double, "s", "The server's clock less ours"),
        "Requests": (DataType.Int64, None, "Requests sent since the bridge started"),
        "Logins": (DataType.Int64, None, "Logins since the bridge started"),
        **{name: _OF_CLOUDS[name] for name in ("BudgetLimit", "BudgetUsed", "BudgetRate", "Throttled")},
        "Agents": (DataType.String, None, _HOW_IT_GOES.format("the list of agents")),
        "Incidents": (DataType.String, None, _HOW_IT_GOES.format("incidents")),
        "Alerts": (DataType.String, None, _HOW_IT_GOES.format("alerts")),
        "JobList": (DataType.String, None, _HOW_IT_GOES.format("jobs")),
        "AuditEvents": (DataType.String, None, _HOW_IT_GOES.format("audit events")),
        "Readings": (DataType.String, None, _HOW_IT_GOES.format("readings by REST")),
        "WebSockets": (DataType.Int64, None, "WebSockets that are open"),
        "BackfillWaiting": (DataType.Int64, None, "Gaps of metrics that wait to be filled"),
        "BackfillRows": (DataType.Int64, None, "Values that were filled in since the bridge started"),
    },
    "replay": {
        "Position": (DataType.Double, "s", "How far into the recording"),
        "Items": (DataType.Int64, None, "What has been published of the record"),
        "Progress": (DataType.Double, "%", "How much of the recording has passed"),
        "Ended": (DataType.Boolean, None, "The record is over; no more comes"),
    },
}
"""Facts that sources report about themselves: by source type, by name."""


def _own(name: str, data_type: DataType, description: str, unit: str | None = None) -> TagDefinition:
    units = UNITS[unit] if unit else None
    return TagDefinition(name, data_type, unit=units, description=description, owner=Owner.BRIDGE)


def _source_definitions(name: str, kind: str) -> Iterator[TagDefinition]:
    here = f"Sources/{name}"
    yield TagDefinition(
        f"{here}/State",
        DataType.UInt32,
        enumeration=SOURCE_STATES,
        description="How the bridge stands with this source",
        owner=Owner.BRIDGE,
    )
    yield _own(f"{here}/StateText", DataType.String, "State in words")
    yield _own(f"{here}/Connected", DataType.Boolean, "Values flow")
    yield _own(f"{here}/Reason", DataType.String, "Why it is so")
    yield _own(f"{here}/Since", DataType.DateTime, "Since when it is so")
    yield _own(f"{here}/Advice", DataType.String, "What a person can do about it")
    yield _own(f"{here}/Reconnects", DataType.Int64, "How often the connection was made anew")
    yield _own(f"{here}/LastUpdate", DataType.DateTime, "When something came last, to the minute")
    yield _own(f"{here}/NextTry", DataType.DateTime, "When it is tried again")
    for reading, (data_type, unit, description) in READINGS[kind].items():
        yield _own(f"{here}/{reading}", data_type, description, unit)


def _face_definitions(name: str) -> Iterator[TagDefinition]:
    yield _own(f"Faces/{name}/Running", DataType.Boolean, "The face runs")
    yield _own(f"Faces/{name}/Trouble", DataType.String, "What is wrong with it, in a sentence")


def bridge_machine(
    enterprise: str,
    site: str,
    sources: Mapping[str, str],
    slot: Callable[[str], int],
    faces: Collection[str] = (),
    *,
    has_broker: bool = False,
) -> Machine:
    """The bridge's own tags; `sources` gives each source's type by its name, `faces` are those that are enabled."""
    definitions = [
        _own("Version", DataType.String, "Version of plantbridge"),
        _own("Started", DataType.DateTime, "When this process started"),
        _own("Uptime", DataType.Int64, "How long this process runs, to the minute", "s"),
        _own("Ready", DataType.Boolean, "Values flow from every source to every face"),
        _own("WhyNotReady", DataType.String, "What is missing, in sentences"),
        _own("Configuration", DataType.String, "Hash of the configuration that runs"),
        _own("ConfigurationFaults", DataType.Int64, "Faults of the configuration that was refused last"),
        _own("Machines", DataType.Int64, "How many machines there are"),
        _own("Tags", DataType.Int64, "How many tags there are"),
        _own("OpcuaCertificateDaysLeft", DataType.Int32, "Days until the OPC UA server's certificate ends", "d"),
        _own("OpcuaTrustedDaysLeft", DataType.Int32, "Days until the first trusted client's certificate ends", "d"),
        *(definition for name, kind in sources.items() for definition in _source_definitions(name, kind)),
        *(definition for name in faces for definition in _face_definitions(name)),
        *(_own(name, DataType.Int64, description) for name, _, description in counters(faces, has_broker=has_broker)),
    ]
    tags = []
    for definition in definitions:
        identifier = tag_id(BRIDGE_MACHINE_ID, definition.name)
        tags.append(Tag(identifier, slot(identifier), BRIDGE_MACHINE_ID, definition))
    return Machine(BRIDGE_MACHINE_ID, Place(enterprise, site), "bridge", (), tuple(tags))
