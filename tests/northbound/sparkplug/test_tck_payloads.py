"""The requirements of payloads, metrics and properties, on everything a node says in a life with every event.

Read with Tahu's schema. Each test has the name of its requirement.
"""

from __future__ import annotations

import math
from datetime import timedelta
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from bridge.hub.slots import Slots
from bridge.model.plant import Plant
from bridge.model.status import StatusCode
from bridge.model.value import DataValue, bad, to_milliseconds
from bridge.northbound.sparkplug import codec, dcmd
from bridge.northbound.sparkplug.codec import MetricType
from bridge.northbound.sparkplug.command_metric import DOOR, Answer
from bridge.northbound.sparkplug.config import SparkplugConfig
from bridge.northbound.sparkplug.plan import Plan
from bridge.northbound.sparkplug.publisher import _own_metrics
from bridge.northbound.sparkplug.session import BD_SEQ, REBIRTH, Session
from bridge.northbound.sparkplug.topic import EdgeNode
from tests.northbound.fake_desk import CONFIRMED, REFUSED
from tests.northbound.sparkplug import schema
from tests.one_of_everything import DEFINITIONS, NOW, filled_table, machine

if TYPE_CHECKING:
    from bridge.transport.mqtt import Message

NODE = EdgeNode("acme:essen", "bridge-1")
NOW_MS = to_milliseconds(NOW) + 10_000
BIRTHS, DATA = ("NBIRTH", "DBIRTH"), ("NDATA", "DDATA")
UINT32 = 2**32


class Said(NamedTuple):
    """One message."""

    kind: str
    device: str
    payload: Any


class Life:
    """An edge node that says everything: data of each quality, answers, the past, deaths, changes, rebirths."""

    def __init__(self, **switches: Any) -> None:
        self.said: list[Said] = []
        self.table, self.slots = filled_table(Slots())
        self.config = SparkplugConfig.model_validate({"commands": {"enabled": True}, **switches})
        self.plan = Plan(self.table.plant.bridge, self.config)
        self.plan.follow(self.plan.difference(self.table.plant))
        self.session = Session(NODE)
        self.now_ms = NOW_MS
        self._live()

    def _live(self) -> None:
        self.say(self.session.connect(7, self.now_ms))
        self.session.accepted()
        self.session.subscribed(0.0)
        self.births()
        for number in range(300):
            self.data(number)
        self.answers()
        self.history()
        self.say(self.session.device_death(self.now_ms, "extruder-1"))
        self.device_birth("extruder-1")
        self.change_device()
        self.data(1)
        self.session.want_rebirth(1.0)
        self.births()
        self.data(2)
        for message in self.session.stop(self.now_ms):
            self.say(message)

    def say(self, message: Message | None) -> None:
        assert message is not None
        _, _, kind, _, *device = message.topic.split("/")
        self.said.append(Said(kind, device[0] if device else "", schema.decode(message.payload)))

    def births(self) -> None:
        self.plan.begin_births()
        own = _own_metrics(self.now_ms, self.plan.aliases)
        self.say(self.session.node_birth(self.now_ms, [*own, *self.plan.node.birth(self.table, NOW, self.now_ms)]))
        for device_id in self.plan.devices:
            self.device_birth(device_id)
        self.session.births_are_out(1.0)

    def device_birth(self, device_id: str) -> None:
        metrics = self.plan.devices[device_id].birth(self.table, NOW, self.now_ms)
        self.say(self.session.device_birth(self.now_ms, device_id, metrics))

    def data(self, number: int) -> None:
        """A turn of qualities and values, for one device and for the node."""
        self.now_ms += 100
        at = NOW + timedelta(milliseconds=self.now_ms - NOW_MS)
        device = self.plan.devices["extruder-1" if number % 2 else "winder-2"]
        by_name = {one.tag.name: slot for slot, one in device.metrics.items()}
        fresh = [
            DataValue(float(number), StatusCode.Good, at, at),
            DataValue(float(number), StatusCode.UncertainLastUsableValue, at, at, "old", at),
            bad(StatusCode.BadNoCommunication, "lost", at),
            DataValue(math.nan, StatusCode.Good, at, at),
            DataValue(math.inf, StatusCode.Good, at + timedelta(hours=1), at),
        ][number // 2 % 5]
        values = [(by_name["Monitoring/Pressure"], fresh)]
        values += [(by_name["Monitoring/Small"], DataValue(-number, StatusCode.Good, at, at))]
        values += [(by_name["Monitoring/Natural"], DataValue(UINT32 - 1 - number, StatusCode.Good, at, at))]
        self.table.update(values)
        self.say(self.session.data(self.now_ms, device.id, device.data(values, self.now_ms)))
        reconnects = self.table.plant.bridge.tag("Sources/panel/Reconnects")
        assert reconnects is not None
        counted = [(reconnects.slot, DataValue(1000 + number, StatusCode.Good, at, at))]
        self.say(self.session.data(self.now_ms, None, self.plan.node.data(counted, self.now_ms)))

    def answers(self) -> None:
        device = self.plan.devices["extruder-1"]
        assert device.commands is not None
        for subject, outcome in (("Standby", CONFIRMED), (DOOR, REFUSED)):
            device.commands.tell(Answer(subject, outcome), self.now_ms)
        self.say(self.session.data(self.now_ms, device.id, device.commands.data()))

    def history(self) -> None:
        device = self.plan.devices["extruder-1"]
        slot = next(slot for slot, one in device.metrics.items() if one.tag.definition.history)
        then = NOW - timedelta(hours=1)
        past = [
            (slot, DataValue(1.0, StatusCode.Good, then, then)),
            (slot, bad(StatusCode.BadNoCommunication, "x", NOW)),
        ]
        self.say(self.session.data(self.now_ms, device.id, device.past(past)))

    def change_device(self) -> None:
        after = Plant(
            self.table.plant.bridge,
            {**self.table.plant.machines, "extruder-1": machine(self.slots, definitions=DEFINITIONS[:-1])},
        )
        change = after.changes_since(self.table.plant)
        assert change is not None
        for device_id in self.plan.follow(change).die:
            self.say(self.session.device_death(self.now_ms, device_id))
            self.device_birth(device_id)

    def of(self, *kinds: str) -> list[Said]:
        found = [one for one in self.said if one.kind in kinds]
        assert found
        return found

    def metrics(self, *kinds: str) -> list[Any]:
        return [metric for one in self.of(*kinds) for metric in one.payload.metrics]


@cache
def life(aliases: bool = False, datatype_in_data: bool = False) -> Life:
    return Life(aliases=aliases, datatype_in_data=datatype_in_data)


LIVES = [{}, {"aliases": True}, {"datatype_in_data": True}]
every_life = pytest.mark.parametrize("switches", LIVES, ids=str)


@every_life
@pytest.mark.tck("payloads-timestamp-in-UTC")
def test_tck_payloads_timestamp_in_utc(switches: dict[str, bool]) -> None:
    one = life(**switches)
    assert all(NOW_MS <= said.payload.timestamp <= one.now_ms for said in one.said)


@every_life
@pytest.mark.tck("payloads-metric-timestamp-in-UTC")
def test_tck_payloads_metric_timestamp_in_utc(switches: dict[str, bool]) -> None:
    """Milliseconds of the source's clock, and never of the future, not even where the source says so."""
    one = life(**switches)
    a_day = 86_400_000
    for said in one.said:
        assert all(NOW_MS - 2 * a_day < metric.timestamp <= said.payload.timestamp for metric in said.payload.metrics)


@every_life
@pytest.mark.tck("payloads-name-birth-data-requirement")
def test_tck_payloads_name_birth_data_requirement(switches: dict[str, bool]) -> None:
    assert all(metric.HasField("timestamp") for metric in life(**switches).metrics(*BIRTHS, *DATA))


@every_life
@pytest.mark.tck("payloads-sequence-num-always-included")
def test_tck_payloads_sequence_num_always_included(switches: dict[str, bool]) -> None:
    assert all(said.payload.HasField("seq") is (said.kind != "NDEATH") for said in life(**switches).said)


@every_life
@pytest.mark.tck("payloads-sequence-num-incrementing")
def test_tck_payloads_sequence_num_incrementing(switches: dict[str, bool]) -> None:
    counted = [said for said in life(**switches).said if said.kind != "NDEATH"]
    assert len(counted) > 600
    for before, after in pairwise(counted):
        expected = 0 if after.kind == "NBIRTH" else (before.payload.seq + 1) % 256
        assert after.payload.seq == expected


@pytest.mark.tck("payloads-name-requirement")
def test_tck_payloads_name_requirement() -> None:
    assert all(metric.name for metric in life().metrics(*BIRTHS, *DATA))
    assert not any(metric.HasField("alias") for metric in life().metrics(*BIRTHS, *DATA))


@pytest.mark.tck("payloads-alias-uniqueness")
def test_tck_payloads_alias_uniqueness() -> None:
    """Over the node and its devices, and over every birth since an NBIRTH."""
    given: dict[int, tuple[str, str]] = {}
    seen: set[int] = set()
    for said in life(aliases=True).of(*BIRTHS):
        if said.kind == "NBIRTH":
            seen.clear()
        numbers = [metric.alias for metric in said.payload.metrics if metric.HasField("alias")]
        assert len({*numbers}) == len(numbers)
        assert not seen & {*numbers}
        seen.update(numbers)
        for metric in said.payload.metrics:
            if metric.HasField("alias"):
                assert given.setdefault(metric.alias, (said.device, metric.name)) == (said.device, metric.name)


@pytest.mark.tck("payloads-alias-birth-requirement", "operational-behavior-data-commands-rebirth-name-aliases")
def test_tck_payloads_alias_birth_requirement() -> None:
    metrics = life(aliases=True).metrics(*BIRTHS)
    assert {metric.name for metric in metrics if not metric.HasField("alias")} == {BD_SEQ, REBIRTH}
    assert all(metric.name for metric in metrics)


@pytest.mark.tck("payloads-alias-data-cmd-requirement")
def test_tck_payloads_alias_data_cmd_requirement() -> None:
    metrics = life(aliases=True).metrics(*DATA)
    assert len(metrics) > 600
    assert all(metric.HasField("alias") and not metric.HasField("name") for metric in metrics)


@pytest.mark.tck("payloads-name-cmd-requirement")
def test_tck_payloads_name_cmd_requirement() -> None:
    """A command's metrics may have a timestamp, so they may have none."""
    for stamp in (b"", b"\x18\x01"):
        metric = b"\x0a\x14Setpoints/ScrewSpeed" + stamp + b"\x20\x0a" + b"\x69" + bytes(8)
        payload = codec.decode(b"\x12" + bytes((len(metric),)) + metric)
        assert [value for _, value in asked(payload)] == [0.0]


@every_life
@pytest.mark.tck("payloads-metric-datatype-req")
def test_tck_payloads_metric_datatype_req(switches: dict[str, bool]) -> None:
    assert all(metric.HasField("datatype") for metric in life(**switches).metrics(*BIRTHS))


@every_life
@pytest.mark.tck("payloads-metric-datatype-not-req")
def test_tck_payloads_metric_datatype_not_req(switches: dict[str, bool]) -> None:
    said = {metric.HasField("datatype") for metric in life(**switches).metrics(*DATA)}
    assert said == {switches.get("datatype_in_data", False)}


VALUE_FIELDS = {
    3: "int_value",
    4: "long_value",
    10: "double_value",
    11: "boolean_value",
    12: "string_value",
    13: "long_value",
}


@every_life
@pytest.mark.tck("payloads-metric-datatype-value-type", "payloads-metric-datatype-value")
def test_tck_payloads_metric_datatype_value(switches: dict[str, bool]) -> None:
    """From the enumeration, and the value in the field that belongs to it, or null and no value; in data too."""
    types: dict[tuple[str, str], int] = {}
    names: dict[int, str] = {}
    for said in life(**switches).of(*BIRTHS, *DATA):
        for metric in said.payload.metrics:
            if said.kind in BIRTHS:
                names[metric.alias] = metric.name
                types[said.device, metric.name] = metric.datatype
            name = metric.name or names[metric.alias]
            kind = types[said.device, name]
            assert kind in VALUE_FIELDS, "small and unsigned integers are promoted: decoders disagree about them"
            assert metric.WhichOneof("value") == (None if metric.is_null else VALUE_FIELDS[kind]), name
    assert {*types.values()} == {*VALUE_FIELDS}


def quality_and_others(metrics: list[Any]) -> tuple[list[Any], list[Any]]:
    pairs = [pair for one in metrics for pair in zip(one.properties.keys, one.properties.values, strict=True)]
    return [value for key, value in pairs if key == "Quality"], [value for key, value in pairs if key != "Quality"]


@every_life
@pytest.mark.tck("payloads-propertyset-keys-array-size", "payloads-propertyset-values-array-size")
def test_tck_payloads_propertyset_array_sizes(switches: dict[str, bool]) -> None:
    metrics = life(**switches).metrics(*BIRTHS, *DATA)
    assert all(len(metric.properties.keys) == len(metric.properties.values) for metric in metrics)
    assert all(len({*metric.properties.keys}) == len(metric.properties.keys) for metric in metrics)


@every_life
@pytest.mark.tck(
    "payloads-metric-propertyvalue-type-type",
    "payloads-metric-propertyvalue-type-value",
    "payloads-metric-propertyvalue-type-req",
)
def test_tck_payloads_metric_propertyvalue_type(switches: dict[str, bool]) -> None:
    fields = {3: "int_value", 10: "double_value", 11: "boolean_value", 12: "string_value"}
    for values in quality_and_others(life(**switches).metrics(*BIRTHS, *DATA)):
        assert all(fields[value.type] == value.WhichOneof("value") for value in values)
    assert quality_and_others(life(**switches).metrics(*DATA))[1] == [], "births tell what does not change"


@every_life
@pytest.mark.tck("payloads-propertyset-quality-value-type", "payloads-propertyset-quality-value-value")
def test_tck_payloads_propertyset_quality_value(switches: dict[str, bool]) -> None:
    qualities, _ = quality_and_others(life(**switches).metrics(*BIRTHS, *DATA))
    assert {(value.type, value.WhichOneof("value")) for value in qualities} == {(MetricType.Int32, "int_value")}
    assert {value.int_value for value in qualities} == {0, 192, 500}


@every_life
def test_quality_is_192_only_after_another_one_and_nothing_without_a_value_is_good(switches: dict[str, bool]) -> None:
    held: dict[tuple[str, str, bool], int] = {}
    names: dict[int, str] = {}
    for said in life(**switches).of(*BIRTHS, *DATA):
        for metric in said.payload.metrics:
            if said.kind in BIRTHS:
                names[metric.alias] = metric.name
            key = (said.device, metric.name or names[metric.alias], metric.is_historical)
            values, _ = quality_and_others([metric])
            quality = values[0].int_value if values else 192
            assert len(values) <= 1
            assert not (values and quality == held.get(key, 192) == 192), "good is said only on recovery"
            if "Commands/" not in key[1]:
                assert not metric.is_null or quality == 0
            held[key] = quality


@every_life
def test_historical_is_never_said_false_and_nothing_else_moves_time_back(switches: dict[str, bool]) -> None:
    last: dict[tuple[str, str], int] = {}
    names: dict[int, str] = {}
    historical = 0
    for said in life(**switches).of(*BIRTHS, *DATA):
        for metric in said.payload.metrics:
            if said.kind in BIRTHS:
                names[metric.alias] = metric.name
            assert metric.is_historical or not metric.HasField("is_historical")
            historical += metric.is_historical
            key = (said.device, metric.name or names[metric.alias])
            if not metric.is_historical:
                assert last.get(key, 0) <= metric.timestamp
                last[key] = metric.timestamp
    assert historical == 2


ENVELOPE = dcmd.Envelope(SparkplugConfig().commands.role, NOW, "unique")


def asked(payload: codec.Payload) -> list[tuple[str, Any]]:
    device = life().plan.devices["winder-2"]
    assert device.commands is not None
    requests = dcmd.read(device.machine, device.commands, device.named(payload), ENVELOPE).requests
    return [(one.command.target, one.command.arguments.get("value")) for one in requests]


@pytest.mark.tck(
    "operational-behavior-data-commands-dcmd-metric-name", "operational-behavior-data-commands-ncmd-metric-name"
)
def test_tck_operational_behavior_data_commands_metric_name() -> None:
    """Names that no birth had are passed over, and the others of the message count."""
    payload = schema.encode(("Setpoints/Nothing", 10, 1.0), ("Setpoints/ScrewSpeed", 10, 2.0), ("", 10, 3.0))
    assert asked(codec.decode(payload)) == [("winder-2.Setpoints.ScrewSpeed", 2.0)]


@pytest.mark.tck(
    "operational-behavior-data-commands-dcmd-metric-value", "operational-behavior-data-commands-ncmd-metric-value"
)
def test_tck_operational_behavior_data_commands_metric_value() -> None:
    """What no reading makes a value of is refused; a rebirth is asked for by true, not by a text."""
    wrong = schema.Payload()
    wrong.metrics.add(name="Setpoints/ScrewSpeed", datatype=10, is_null=True)
    wrong.metrics.add(name="Setpoints/ScrewSpeed", datatype=17, bytes_value=b"30")
    wrong.metrics.add(name="Setpoints/ScrewSpeed", int_value=2**32 - 5)
    wrong.metrics.add(name="Setpoints/ScrewSpeed", datatype=24, bytes_value=b"\x05\0\0\0")
    assert asked(codec.decode(wrong.SerializeToString())) == []
    truths = [
        codec.decode(schema.encode((REBIRTH, *one))).metrics[0].truth for one in ((11, True), (3, 1), (11, False))
    ]
    assert truths == [True, True, False]
    assert codec.decode(schema.encode((REBIRTH, 12, "true"))).metrics[0].truth is None
