"""The requirements of sessions, births, data and deaths, on all an edge node sends over two sessions with a broker.

What is on the wire is read packet by packet, with Tahu's schema. Each test carries the ids it proves.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from bridge.hub.slots import Slots
from bridge.model.plant import ALIVE
from bridge.model.status import StatusCode
from bridge.model.tag import TagDefinition
from bridge.model.value import DataType, DataValue
from bridge.northbound.sparkplug.config import SparkplugConfig
from bridge.northbound.sparkplug.fault import plant_faults
from bridge.northbound.sparkplug.node import SparkplugNode
from bridge.northbound.sparkplug.session import REBIRTH
from bridge.northbound.sparkplug.topic import EdgeNode
from tests.broker import Mosquitto
from tests.northbound.sparkplug.tap import DISCONNECT, PUBACK, PUBLISH, SUBSCRIBE, Packet, Session, Tap
from tests.northbound.sparkplug.test_node import CLOCK, NCMD, Watcher, rebirth_request, running, say, until, watching
from tests.one_of_everything import filled_table, machine, plant

if TYPE_CHECKING:
    from bridge.hub.table import Table

BIRTHS, DATA = ("NBIRTH", "DBIRTH"), ("NDATA", "DDATA")
BASE = "spBv1.0/acme:essen"
both = pytest.mark.parametrize("protocol", ["3.1.1", "5"])
tck = pytest.mark.tck
pytestmark = pytest.mark.peer("mosquitto")


class Life(NamedTuple):
    """Two sessions of a node, and its table as it was at their end."""

    sessions: list[Session]
    table: Table
    broken: list[str]
    """Rules that a host found broken."""

    @property
    def published(self) -> list[Packet]:
        return [packet for session in self.sessions for packet in session.published]

    def said(self, *messages: str) -> list[Packet]:
        found = [packet for packet in self.published if packet.message in messages]
        assert found
        return found


@cache
def life(protocol: str = "3.1.1") -> Life:
    return asyncio.run(_live(protocol))


async def _live(protocol: str) -> Life:
    table, _ = filled_table()
    with tempfile.TemporaryDirectory() as folder:
        async with Mosquitto() as server, Tap(server, protocol) as tap, watching(server) as host:
            config = SparkplugConfig.model_validate(
                {"broker": tap.config, "publish_interval": 0.02, "commands": {"enabled": True}}
            )
            node = SparkplugNode(config, CLOCK, Path(folder), "acme", "essen", "bridge-1")
            for turn in (1, 2):
                async with running(node, table):
                    await _one_session(table, host, turn)
                await until(lambda: not host.is_online)
            await until(lambda: all(session.is_over for session in tap.sessions))
        return Life(tap.sessions, table, host.broken)


async def _one_session(table: Table, host: Watcher, turn: int) -> None:
    """Births, a device that joins, data of device and node, a device that goes and comes, a rebirth."""
    await until(lambda: host.is_online and is_alive(host, "extruder-1"))
    say(table, ALIVE, True, "winder-2")
    await until(lambda: is_alive(host, "winder-2"))
    for number in range(3):
        pressure = 1000.0 * turn + number
        say(table, "Monitoring/Pressure", pressure)
        await until(lambda: host.tags["extruder-1"]["Monitoring/Pressure"].value == pressure)  # noqa: B023
    counter = table.plant.bridge.tag("Sources/panel/Reconnects")
    assert counter is not None
    table.update([(counter.slot, DataValue(turn * 100, StatusCode.Good, CLOCK.now(), CLOCK.now()))])
    await until(lambda: host.tags[""]["Sources/panel/Reconnects"].value == turn * 100)
    say(table, ALIVE, False)
    await until(lambda: "extruder-1" in host.dead)
    say(table, ALIVE, True)
    await until(lambda: is_alive(host, "extruder-1"))
    births = host.said.count("NBIRTH")
    host.publish(NCMD, rebirth_request())
    await until(lambda: host.said.count("NBIRTH") > births and is_alive(host, "winder-2"))
    say(table, "Monitoring/Pressure", -1.0)
    await until(lambda: host.tags["extruder-1"]["Monitoring/Pressure"].value == -1.0)


def is_alive(host: Watcher, device: str) -> bool:
    return device in host.tags and device not in host.dead


@both
def test_host_finds_no_rule_broken(protocol: str) -> None:
    assert life(protocol).broken == []


# 4.1 Identifiers and topics


BAD_IDS = ("a+b", "a/b", "a#b", "", "a\0b", "\ud800")


@tck("intro-group-id-string", "intro-group-id-chars", "topic-structure-namespace-valid-group-id")
@pytest.mark.parametrize("wrong", BAD_IDS)
def test_tck_intro_group_id(wrong: str) -> None:
    assert "group id" in plant_faults(EdgeNode(wrong, "bridge-1"), plant(Slots()), ())[0]


@tck("intro-edge-node-id-string", "intro-edge-node-id-chars", "topic-structure-namespace-valid-edge-node-id")
@pytest.mark.parametrize("wrong", BAD_IDS)
def test_tck_intro_edge_node_id(wrong: str) -> None:
    assert "edge node id" in plant_faults(EdgeNode("acme", wrong), plant(Slots()), ())[0]


@tck("intro-device-id-string", "intro-device-id-chars", "topic-structure-namespace-valid-device-id")
@pytest.mark.parametrize("wrong", BAD_IDS)
def test_tck_intro_device_id(wrong: str) -> None:
    slots = Slots()
    assert "device id" in plant_faults(EdgeNode("acme", "b"), plant(slots, machine(slots, wrong)), ())[0]


@tck(
    "intro-edge-node-id-uniqueness",
    "topic-structure-namespace-unique-edge-node-descriptor",
    "payloads-nbirth-edge-node-descriptor",
)
async def test_tck_unique_edge_node_descriptor(tmp_path: Path) -> None:
    """One client id for each edge node: a broker keeps only one of two bridges that would be the same."""
    table, _ = filled_table()
    async with Mosquitto() as server, Tap(server) as tap, AsyncExitStack() as stack:
        for name in ("bridge-1", "bridge-1", "bridge-2"):
            config = SparkplugConfig(broker=tap.config)
            node = SparkplugNode(config, CLOCK, tmp_path / str(len(tap.sessions)), "acme", "essen", name)
            await stack.enter_async_context(running(node, table))
            await until(lambda: node.is_online)  # noqa: B023
        first, second, *others = (session.connect.client_id for session in tap.sessions)
        assert first == second
        assert len({*others} - {first}) == 1  # the first two take each other's place, perhaps before the third came
        await until(lambda: tap.sessions[0].is_over)


@tck("topic-structure-namespace-unique-device-id")
def test_tck_unique_device_id() -> None:
    """No second DBIRTH of a device without its DDEATH or an NBIRTH between."""
    alive: set[str] = set()
    for packet in life().published:
        if packet.message in ("NBIRTH", "NDEATH"):
            alive.clear()
        elif packet.message == "DBIRTH":
            assert packet.device not in alive
            alive.add(packet.device)
        elif packet.message == "DDEATH":
            alive.remove(packet.device)
    assert len(life().said("DBIRTH")) == 10


@tck("topic-structure-namespace-duplicate-device-id-across-edge-node")
async def test_tck_duplicate_device_id_across_edge_node(tmp_path: Path) -> None:
    table, _ = filled_table()
    async with Mosquitto() as server, Tap(server) as tap, AsyncExitStack() as stack:
        for name in ("bridge-1", "bridge-2"):
            node = SparkplugNode(SparkplugConfig(broker=tap.config), CLOCK, tmp_path, "acme", "essen", name)
            await stack.enter_async_context(running(node, table))
            await until(lambda: node.is_online)  # noqa: B023
        await until(lambda: sum(packet.message == "DBIRTH" for packet in tap.published) == 2)
    born = [packet.topic for packet in tap.published if packet.message == "DBIRTH"]
    assert born == [f"{BASE}/DBIRTH/bridge-{number}/extruder-1" for number in (1, 2)]


@both
@tck(
    "topic-structure",
    "topic-structure-namespace-a",
    "topic-structure-namespace-device-id-associated-message-types",
    "topic-structure-namespace-device-id-non-associated-message-types",
    "topics-nbirth-topic",
    "message-flow-edge-node-birth-publish-nbirth-topic",
    "topics-dbirth-topic",
    "message-flow-device-birth-publish-dbirth-topic",
    "message-flow-device-birth-publish-dbirth-match-edge-node-topic",
    "topics-ndata-topic",
    "topics-ddata-topic",
    "topics-ddeath-topic",
    "topics-ndeath-topic",
)
def test_tck_topics(protocol: str) -> None:
    told = {packet.topic for packet in life(protocol).published}
    node = {f"{BASE}/{kind}/bridge-1" for kind in ("NBIRTH", "NDATA", "NDEATH")}
    devices = {
        f"{BASE}/{kind}/bridge-1/{device}"
        for kind in ("DBIRTH", "DDATA", "DDEATH")
        for device in ("extruder-1", "winder-2")
    }
    assert told == node | devices


@tck("case-sensitivity-sparkplug-ids")
def test_tck_case_sensitivity_sparkplug_ids() -> None:
    slots = Slots()
    (fault,) = plant_faults(EdgeNode("acme", "b"), plant(slots, machine(slots, "Line-1"), machine(slots, "line-1")), ())
    assert "upper and lower case" in fault


@tck("case-sensitivity-metric-names")
@pytest.mark.parametrize("names", [("Monitoring/Flow", "Monitoring/flow"), ("monitoring/a", "Monitoring/A")])
def test_tck_case_sensitivity_metric_names(names: tuple[str, str]) -> None:
    slots = Slots()
    one = machine(slots, "m", tuple(TagDefinition(name, DataType.Double) for name in names))
    (fault,) = plant_faults(EdgeNode("acme", "b"), plant(slots, one), ())
    assert "upper and lower case" in fault


# 4.2 MQTT session, will, bdSeq


@both
@tck("message-flow-edge-node-birth-publish-connect", "principles-birth-certificates-order")
def test_tck_first_connect_then_a_birth(protocol: str) -> None:
    for session in life(protocol).sessions:
        assert session.connect.level == (5 if protocol == "5" else 4)
        assert session.published[0].message == "NBIRTH"


@tck("principles-persistence-clean-session-311")
def test_tck_clean_session() -> None:
    assert all(session.connect.is_clean for session in life("3.1.1").sessions)


@tck("principles-persistence-clean-session-50")
def test_tck_clean_start_without_expiry() -> None:
    assert all(one.connect.is_clean and one.connect.expiry_s == 0 for one in life("5").sessions)


@both
@tck(
    "message-flow-edge-node-birth-publish-will-message",
    "payloads-ndeath-will-message",
    "message-flow-edge-node-birth-publish-will-message-topic",
    "message-flow-edge-node-birth-publish-will-message-payload",
    "message-flow-edge-node-birth-publish-will-message-qos",
    "payloads-ndeath-will-message-qos",
    "message-flow-edge-node-birth-publish-will-message-will-retained",
    "payloads-ndeath-will-message-retain",
)
def test_tck_will(protocol: str) -> None:
    for session in life(protocol).sessions:
        one = session.connect
        assert (one.will_topic, one.will_qos, one.will_retain) == (f"{BASE}/NDEATH/bridge-1", 1, False)
        assert [metric.name for metric in one.will.metrics] == ["bdSeq"]


@both
@tck("topics-ndeath-payload", "topics-ndeath-seq", "payloads-ndeath-seq")
def test_tck_ndeath_has_bdseq_only(protocol: str) -> None:
    one = life(protocol)
    for death in [*(packet.payload for packet in one.said("NDEATH")), *(s.connect.will for s in one.sessions)]:
        assert [metric.name for metric in death.metrics] == ["bdSeq"]
        assert not death.HasField("seq")


@both
@tck(
    "message-flow-edge-node-birth-publish-will-message-payload-bdSeq",
    "topics-nbirth-bdseq-increment",
    "payloads-ndeath-bdseq",
    "topics-nbirth-bdseq-included",
    "payloads-nbirth-bdseq",
    "message-flow-edge-node-birth-publish-nbirth-payload-bdSeq",
    "topics-nbirth-bdseq-matching",
    "payloads-nbirth-bdseq-repeat",
    "operational-behavior-data-commands-rebirth-action-3",
)
def test_tck_bdseq(protocol: str) -> None:
    """Int64; 0 and then 1; the same in will, in NDEATH and in each NBIRTH of the session, that of a rebirth too."""
    for number, session in enumerate(life(protocol).sessions):
        assert session.connect.bd_seq == number
        births = session.said("NBIRTH")
        assert len(births) == 2
        for packet in [*births, *session.said("NDEATH")]:
            (metric,) = [one for one in packet.payload.metrics if one.name == "bdSeq"]
            assert (metric.datatype, metric.WhichOneof("value"), metric.long_value) == (4, "long_value", number)
            assert not metric.HasField("alias")


@both
@tck("message-flow-edge-node-ncmd-subscribe", "message-flow-device-dcmd-subscribe")
def test_tck_subscriptions_before_births(protocol: str) -> None:
    for session in life(protocol).sessions:
        birth = session.packets.index(session.said("NBIRTH")[0])
        subscribed = {
            name: qos
            for packet in session.packets[:birth]
            if packet.kind == SUBSCRIBE
            for name, qos in packet.filters.items()
        }
        assert subscribed[f"{BASE}/NCMD/bridge-1"] == 1
        assert subscribed[f"{BASE}/DCMD/bridge-1/+"] == 1
        assert not any("#" in name for name in subscribed)


@both
@tck(
    "operational-behavior-edge-node-intentional-disconnect-ndeath",
    "operational-behavior-edge-node-intentional-disconnect-packet",
    "payloads-ndeath-will-message-publisher",
)
def test_tck_intentional_disconnect(protocol: str) -> None:
    """DDEATH of each live device, NDEATH, DISCONNECT."""
    for session in life(protocol).sessions:
        *_, one, other, ndeath, disconnect = [packet for packet in session.packets if packet.kind != PUBACK]
        assert {one.message, other.message} == {"DDEATH"}
        assert {one.device, other.device} == {"extruder-1", "winder-2"}
        assert (ndeath.message, ndeath.qos, ndeath.retain) == ("NDEATH", 1, False)
        assert disconnect.kind == DISCONNECT


@tck("payloads-ndeath-will-message-publisher-disconnect-mqtt311")
def test_tck_disconnect_mqtt311() -> None:
    for session in life("3.1.1").sessions:
        kinds = [packet.message if packet.kind == PUBLISH else packet.kind for packet in session.packets]
        assert kinds.index("NDEATH") < kinds.index(DISCONNECT)


@tck("payloads-ndeath-will-message-publisher-disconnect-mqtt50")
def test_tck_disconnect_mqtt50() -> None:
    for session in life("5").sessions:
        (disconnect,) = session.of(DISCONNECT)
        assert disconnect.reason == 0x04


# 4.3 to 4.6 NBIRTH, DBIRTH, NDATA, DDATA, DDEATH


@both
@tck(
    "topics-nbirth-mqtt",
    "payloads-nbirth-qos",
    "payloads-nbirth-retain",
    "message-flow-edge-node-birth-publish-nbirth-qos",
    "message-flow-edge-node-birth-publish-nbirth-retained",
    "topics-dbirth-mqtt",
    "payloads-dbirth-qos",
    "payloads-dbirth-retain",
    "message-flow-device-birth-publish-dbirth-qos",
    "message-flow-device-birth-publish-dbirth-retained",
    "topics-ndata-mqtt",
    "payloads-ndata-qos",
    "payloads-ndata-retain",
    "topics-ddata-mqtt",
    "payloads-ddata-qos",
    "payloads-ddata-retain",
    "topics-ddeath-mqtt",
)
@pytest.mark.parametrize("kind", ["NBIRTH", "DBIRTH", "NDATA", "DDATA", "DDEATH"])
def test_tck_qos_0_and_not_retained(protocol: str, kind: str) -> None:
    assert {(packet.qos, packet.retain) for packet in life(protocol).said(kind)} == {(0, False)}


@both
@tck(
    "topics-nbirth-seq-num",
    "payloads-nbirth-seq",
    "payloads-sequence-num-req-nbirth",
    "message-flow-edge-node-birth-publish-nbirth-payload-seq",
)
def test_tck_nbirth_seq_is_0_and_there(protocol: str) -> None:
    assert all(one.payload.HasField("seq") and one.payload.seq == 0 for one in life(protocol).said("NBIRTH"))


@both
@tck(
    "topics-dbirth-seq",
    "payloads-dbirth-seq",
    "payloads-dbirth-seq-inc",
    "message-flow-device-birth-publish-dbirth-payload-seq",
    "topics-ndata-seq-num",
    "payloads-ndata-seq",
    "payloads-ndata-seq-inc",
    "topics-ddata-seq-num",
    "payloads-ddata-seq",
    "payloads-ddata-seq-inc",
    "topics-ddeath-seq-num",
    "payloads-ddeath-seq",
    "payloads-ddeath-seq-inc",
    "payloads-ddeath-seq-number",
)
@pytest.mark.parametrize("kind", ["DBIRTH", "NDATA", "DDATA", "DDEATH"])
def test_tck_seq_follows_the_message_before(protocol: str, kind: str) -> None:
    counted = [packet for packet in life(protocol).published if packet.message != "NDEATH"]
    pairs = [(before, after) for before, after in pairwise(counted) if after.message == kind]
    assert pairs
    for before, after in pairs:
        assert after.payload.HasField("seq")
        assert after.payload.seq == (before.payload.seq + 1) % 256


@both
@tck(
    "topics-nbirth-timestamp",
    "payloads-nbirth-timestamp",
    "topics-dbirth-timestamp",
    "payloads-dbirth-timestamp",
    "topics-ndata-timestamp",
    "payloads-ndata-timestamp",
    "topics-ddata-timestamp",
    "payloads-ddata-timestamp",
    "payloads-ddeath-timestamp",
)
@pytest.mark.parametrize("kind", ["NBIRTH", "DBIRTH", "NDATA", "DDATA", "DDEATH"])
def test_tck_payload_timestamp_is_when_it_was_published(protocol: str, kind: str) -> None:
    for packet in life(protocol).said(kind):
        assert packet.at_ms - 2000 < packet.payload.timestamp <= packet.at_ms


@both
@tck(
    "message-flow-edge-node-birth-publish-nbirth-payload",
    "message-flow-device-birth-publish-dbirth-payload",
    "topics-nbirth-metrics",
    "operational-behavior-data-publish-nbirth-values",
    "topics-dbirth-metrics",
    "operational-behavior-data-publish-dbirth-values",
)
@pytest.mark.parametrize("kind", BIRTHS)
def test_tck_birth_metrics_have_name_type_and_value_or_null(protocol: str, kind: str) -> None:
    metrics = [metric for packet in life(protocol).said(kind) for metric in packet.payload.metrics]
    assert {metric.is_null for metric in metrics} >= {False}
    for metric in metrics:
        assert metric.HasField("name")
        assert metric.HasField("datatype")
        assert metric.is_null is (metric.WhichOneof("value") is None)


@both
@tck("operational-behavior-data-publish-nbirth-values", "operational-behavior-data-publish-dbirth-values")
def test_tck_births_hold_what_is_on_the_table(protocol: str) -> None:
    """The last births of the first session came after the last changes but one."""
    births = life(protocol).sessions[0].said("NBIRTH", "DBIRTH")
    node = {metric.name: metric for metric in births[-3].payload.metrics}
    device = {metric.name: metric for metric in births[-2].payload.metrics}
    assert node["Sources/panel/Reconnects"].long_value == 100
    assert device["Monitoring/Pressure"].double_value == 1002.0
    assert device["Monitoring/Temperature/Front"].is_null
    assert device[ALIVE].boolean_value is True


@both
@tck(
    "topics-nbirth-rebirth-metric",
    "payloads-nbirth-rebirth-req",
    "operational-behavior-data-commands-rebirth-name",
    "operational-behavior-data-commands-rebirth-datatype",
    "operational-behavior-data-commands-rebirth-value",
    "operational-behavior-data-commands-rebirth-name-aliases",
)
def test_tck_rebirth_metric(protocol: str) -> None:
    for packet in life(protocol).said("NBIRTH"):
        (metric,) = [one for one in packet.payload.metrics if one.name == REBIRTH]
        assert (metric.datatype, metric.WhichOneof("value"), metric.boolean_value) == (11, "boolean_value", False)
        assert not metric.HasField("alias")


@both
@tck(
    "topics-nbirth-metric-reqs",
    "operational-behavior-data-publish-nbirth",
    "topics-dbirth-metric-reqs",
    "operational-behavior-data-publish-dbirth",
)
def test_tck_births_know_every_metric_of_the_data(protocol: str) -> None:
    """And every tag of the plant, said or not."""
    one = life(protocol)
    born: dict[str, set[str]] = {}
    for packet in one.published:
        names = {metric.name for metric in packet.payload.metrics}
        if packet.message in BIRTHS:
            owner = one.table.plant.machines[packet.device] if packet.device else one.table.plant.bridge
            assert names >= {tag.name for tag in owner.tags}
            born[packet.device] = names
        elif packet.message in DATA:
            assert names <= born[packet.device]


@both
@tck("topics-nbirth-templates", "payloads-template-definition-nbirth")
def test_tck_no_template_without_its_definition(protocol: str) -> None:
    """We publish no templates, so that no definition can be missing."""
    metrics = [metric for packet in life(protocol).published for metric in packet.payload.metrics]
    assert not [metric.name for metric in metrics if metric.datatype == 19 or metric.HasField("template_value")]


@both
@tck(
    "message-flow-device-birth-publish-nbirth-wait",
    "payloads-dbirth-order",
    "payloads-ndata-order",
    "payloads-ddata-order",
)
def test_tck_births_before_data(protocol: str) -> None:
    """NBIRTH, then the DBIRTHs of all devices that live, then the rest; after the rebirth too."""
    for session in life(protocol).sessions:
        kinds = [packet.message for packet in session.published]
        starts = [index for index, kind in enumerate(kinds) if kind == "NBIRTH"]
        assert starts[0] == 0
        living = 1 if session is life(protocol).sessions[0] else 2
        assert kinds[1 : 1 + living] == ["DBIRTH"] * living
        assert kinds[starts[1] : starts[1] + 4] == ["NBIRTH", "DBIRTH", "DBIRTH", "DDATA"]


@both
@tck(
    "topics-ndata-payload",
    "topics-ddata-payload",
    "operational-behavior-data-publish-nbirth-change",
    "operational-behavior-data-publish-dbirth-change",
    "principles-rbe-recommended",
)
def test_tck_data_is_what_changed_and_nothing_else(protocol: str) -> None:
    told: dict[tuple[str, str], list[object]] = {}
    for packet in life(protocol).sessions[0].said(*DATA):
        assert packet.payload.metrics
        for metric in packet.payload.metrics:
            value = getattr(metric, metric.WhichOneof("value"))
            told.setdefault((packet.device, metric.name), []).append(value)
    assert told == {
        ("extruder-1", "Monitoring/Pressure"): [1000.0, 1001.0, 1002.0, -1.0],
        ("", "Sources/panel/Reconnects"): [100],
    }


@both
@tck("operational-behavior-data-publish-nbirth-order", "operational-behavior-data-publish-dbirth-order")
def test_tck_metrics_are_in_order_of_time(protocol: str) -> None:
    for packet in life(protocol).said(*BIRTHS, *DATA):
        stamps = [metric.timestamp for metric in packet.payload.metrics]
        assert stamps == sorted(stamps)
        assert stamps[-1] <= packet.payload.timestamp


@both
@tck("operational-behavior-device-ddeath")
def test_tck_ddeath_when_contact_is_lost(protocol: str) -> None:
    first = life(protocol).sessions[0]
    (lost, *_) = first.said("DDEATH")
    assert lost.device == "extruder-1"
    after = first.published[first.published.index(lost) + 1]
    assert (after.message, after.device) == ("DBIRTH", "extruder-1")


# 4.11 Commands: rebirth


@both
@tck("operational-behavior-data-commands-rebirth-action-1", "operational-behavior-data-commands-rebirth-action-2")
async def test_tck_rebirth_actions(protocol: str, tmp_path: Path) -> None:
    """Data that is due when the request comes is in the births; all births follow; no NDEATH goes before them."""
    table, _ = filled_table()
    async with Mosquitto() as server, Tap(server, protocol) as tap, watching(server) as host:
        config = SparkplugConfig.model_validate({"broker": tap.config, "publish_interval": 0.5})
        node = SparkplugNode(config, CLOCK, tmp_path, "acme", "essen", "bridge-1")
        async with running(node, table):
            await until(lambda: node.is_online and is_alive(host, "extruder-1"))
            say(table, "Monitoring/Pressure", 1.0)
            await until(lambda: host.said[-1] == "DDATA extruder-1")
            say(table, "Monitoring/Pressure", 2.0)  # due in half a second
            host.publish(NCMD, rebirth_request())
            await until(lambda: host.said.count("DBIRTH extruder-1") == 2)
            assert host.said == ["NBIRTH", "DBIRTH extruder-1", "DDATA extruder-1", "NBIRTH", "DBIRTH extruder-1"]
            assert host.tags["extruder-1"]["Monitoring/Pressure"].value == 2.0
    assert host.broken == []
