"""A plant with one of everything, used by every northbound's tests.

Each data type, each access, each status, the extremes of each type, several parts, a place with gaps.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bridge.hub.slots import Slots
from bridge.hub.table import Table
from bridge.model.command import Argument, ArgumentRange, CommandDefinition
from bridge.model.history import EventPage
from bridge.model.path import Place
from bridge.model.plant import ALIVE, BRIDGE_MACHINE_ID, ITEM_STATE, Machine, Part, Plant
from bridge.model.status import StatusCode
from bridge.model.tag import Limits, Owner, Range, Tag, TagDefinition, tag_id
from bridge.model.units import UNITS
from bridge.model.value import DataType, DataValue, bad
from bridge.transport.clock import SystemClock

NOW = datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC)
MODES = {"Standby": 0, "Heat": 1, "Extrude": 2}
ITEM_STATES = {"NotAvailable": 0, "OutOfService": 1, "NotExecuting": 2, "Executing": 3}
CONNECTION_STATES = {"Unknown": 0, "Connected": 1, "Degraded": 2, "Lost": 3, "Refused": 4, "Vanished": 5}

DEFINITIONS = (
    TagDefinition(
        "Monitoring/Pressure",
        DataType.Double,
        UNITS["bar"],
        Range(0, 350),
        label={"en": "Melt pressure", "de": "Massedruck"},
        description="Pressure before the die",
        limits=Limits(high=250, high_high=300),
        history=True,
    ),
    TagDefinition("Monitoring/Temperature/Front", DataType.Double, UNITS["Cel"], Range(0, 350)),
    TagDefinition("Monitoring/Plain", DataType.Double),
    TagDefinition("Monitoring/Count", DataType.Int64, UNITS["{piece}"]),
    TagDefinition("Monitoring/Small", DataType.Int32),
    TagDefinition("Monitoring/Natural", DataType.UInt32),
    TagDefinition("Monitoring/Changed", DataType.DateTime),
    TagDefinition("Status/Homed", DataType.Boolean),
    TagDefinition("Status/Message", DataType.String),
    TagDefinition("Setpoints/Mode", DataType.UInt32, enumeration=MODES, writable=True, hazards=frozenset({"heat"})),
    TagDefinition("Setpoints/ModeText", DataType.String),
    TagDefinition("Setpoints/ScrewSpeed", DataType.Double, UNITS["r/min"], Range(0, 44), writable=True),
    TagDefinition("Setpoints/Enabled", DataType.Boolean, writable=True),
    TagDefinition(ITEM_STATE, DataType.UInt32, enumeration=ITEM_STATES, owner=Owner.BRIDGE),
    TagDefinition(ALIVE, DataType.Boolean, owner=Owner.BRIDGE),
    TagDefinition("Connection/values/State", DataType.UInt32, enumeration=CONNECTION_STATES, owner=Owner.BRIDGE),
    TagDefinition("Connection/values/StateText", DataType.String, owner=Owner.BRIDGE),
    TagDefinition("Connection/values/Reason", DataType.String, owner=Owner.BRIDGE),
    TagDefinition("Connection/values/LastUpdate", DataType.DateTime, owner=Owner.BRIDGE),
    TagDefinition("Connection/values/Age", DataType.Double, UNITS["s"], owner=Owner.BRIDGE),
)

COMMANDS = (
    CommandDefinition("Standby", "values", safe=True, description="Motors and heaters off"),
    CommandDefinition(
        "SetPid/Front",
        "values",
        (
            Argument("Kp", DataType.Double, ArgumentRange(0, 100)),
            Argument("Zone", DataType.String, enumeration=("front", "back")),
        ),
        hazards=frozenset({"protection"}),
    ),
)

BRIDGE_DEFINITIONS = (
    TagDefinition("Version", DataType.String, owner=Owner.BRIDGE),
    TagDefinition("Sources/panel/Connected", DataType.Boolean, owner=Owner.BRIDGE),
    TagDefinition("Sources/panel/Reconnects", DataType.Int64, owner=Owner.BRIDGE),
)

VALUES: dict[str, DataValue] = {}


def _good(value: object, at: datetime = NOW) -> DataValue:
    return DataValue(value, StatusCode.Good, at, at)  # type: ignore[arg-type]


VALUES.update(
    {
        "Monitoring/Pressure": _good(12.5),
        "Monitoring/Temperature/Front": bad(StatusCode.BadSensorFailure, "The sensor reports a wiring error", NOW),
        "Monitoring/Plain": _good(-1.7976931348623157e308),
        "Monitoring/Count": _good(-(2**63)),
        "Monitoring/Small": _good(-5),
        "Monitoring/Natural": _good(2**32 - 1),
        "Monitoring/Changed": _good(NOW - timedelta(days=1)),
        "Status/Homed": _good(False),
        "Status/Message": _good('Grüße, "Panel" \\ /'),
        "Setpoints/Mode": DataValue(
            2,
            StatusCode.UncertainLastUsableValue,
            NOW,
            NOW,
            "Nothing has been heard for 3 s",
            NOW + timedelta(seconds=3),
        ),
        "Setpoints/ModeText": _good("Extrude"),
        "Setpoints/ScrewSpeed": _good(30.0),
        "Setpoints/Enabled": _good(True),
        ITEM_STATE: _good(3),
        ALIVE: _good(True),
        "Connection/values/State": _good(1),
        "Connection/values/StateText": _good("Connected"),
        "Connection/values/Reason": _good(""),
        "Connection/values/LastUpdate": _good(NOW),
        "Connection/values/Age": _good(0.0),
        "Version": _good("0.1.0"),
        "Sources/panel/Connected": _good(True),
        "Sources/panel/Reconnects": _good(0),
    }
)
"""Values by tag name; a tag without one still waits for its first (none does here but in `second_machine`)."""


def machine(
    slots: Slots,
    identifier: str = "extruder-1",
    definitions: tuple[TagDefinition, ...] = DEFINITIONS,
    place: Place | None = None,
) -> Machine:
    """A machine with one tag of each kind."""
    tags = tuple(
        Tag(tag_id(identifier, d.name), slots.slot(tag_id(identifier, d.name)), identifier, d) for d in definitions
    )
    return Machine(
        identifier,
        place or Place("acme", "essen", "extrusion", "line-1"),
        "qitech/extruder",
        (Part("values", "panel", "1/4/57922", "qitech/extruder"),),
        tags,
        COMMANDS,
        {
            "Manufacturer": "QiTech",
            "Model": "Extruder",
            "SerialNumber": "57922",
            "ProductInstanceUri": "urn:qitech:extruder:57922",
        },
        "Extruder 1",
    )


def bridge_machine(slots: Slots) -> Machine:
    """The bridge itself, as a machine."""
    tags = tuple(
        Tag(tag_id(BRIDGE_MACHINE_ID, d.name), slots.slot(tag_id(BRIDGE_MACHINE_ID, d.name)), BRIDGE_MACHINE_ID, d)
        for d in BRIDGE_DEFINITIONS
    )
    return Machine(BRIDGE_MACHINE_ID, Place("acme", "essen"), "bridge", (), tags)


def plant(slots: Slots, *machines: Machine) -> Plant:
    """The bridge and these machines; by default extruder-1 and a winder-2 whose place has no line."""
    chosen = machines or (machine(slots), machine(slots, "winder-2", place=Place("acme", "essen", "winding")))
    return Plant(bridge_machine(slots), {one.id: one for one in chosen})


class NoEvents:
    """An event log in which nothing ever happens."""

    async def read(self, reader: str, limit: int = 100) -> list[tuple[int, object]]:
        import asyncio

        await asyncio.Event().wait()
        return []

    def acknowledge(self, reader: str, position: int) -> None:
        return None

    async def query(self, *_: object, **__: object) -> EventPage:
        return EventPage([], None)


def filled_table(slots: Slots | None = None, log: object = None, history: object = None) -> tuple[Table, Slots]:
    """A table with `plant()`, extruder-1 and the bridge filled with VALUES, winder-2 still waiting."""
    slots = slots or Slots()
    table = Table(plant(slots), SystemClock(), log or NoEvents(), history)  # type: ignore[arg-type]
    fill(table, "extruder-1")
    fill(table, BRIDGE_MACHINE_ID)
    return table, slots


def fill(table: Table, identifier: str) -> None:
    """Give every tag of a machine its value from VALUES."""
    one = table.plant.bridge if identifier == BRIDGE_MACHINE_ID else table.plant.machines[identifier]
    table.update([(tag.slot, VALUES[tag.name]) for tag in one.tags])
