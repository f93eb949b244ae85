"""What agents publish, held to what the vendor's agent published."""

from __future__ import annotations

import json
import random
import zlib
from typing import Any

import msgpack
import pytest

from bridge.sim.clock import VirtualClock
from bridge.sim.iotistica import Behaviour, default_agent
from bridge.sim.iotistica.agent_link import AgentLink, Message
from bridge.sim.iotistica.dictionary import Dictionary, _domain
from bridge.sim.iotistica.encoding import ENCODINGS, Encoder, destroyed, map16, packed
from bridge.sim.iotistica.state import State
from bridge.sim.iotistica.tenant import Tenant
from bridge.sim.iotistica.topics import encoded, topic
from tests.sim.iotistica.vendor import FOLDER, NOON

MQTT = FOLDER / "mqtt"


def published(name: str) -> Any:
    """A recorded message, decoded."""
    payload = (MQTT / f"{name}.bin").read_bytes()
    if payload[:1] == b"\x78":
        payload = zlib.decompress(payload)
    return json.loads(payload) if payload[:1] == b"{" else msgpack.unpackb(payload)


def link(**switches: str) -> tuple[AgentLink, VirtualClock]:
    clock = VirtualClock(NOON, speed=0)
    agent = default_agent(0, 2, 1, NOON)
    tenant = Tenant(clock, [agent], Behaviour(**switches))
    return AgentLink(tenant, agent, State(tenant, 1), 1), clock


def telemetry(messages: list[Message]) -> list[Message]:
    return [message for message in messages if "/endpoints/" in message.topic]


def advanced(seconds: float = 5, lost: bool = False, **switches: str) -> list[Message]:
    """What an agent publishes after so many seconds."""
    agent_link, clock = link(**switches)
    if lost:
        agent_link.agent.devices[0].lost.append((0, float("inf")))
    clock.advance(seconds)
    return agent_link.due()


def readings(batch: Any) -> list[dict[str, Any]]:
    return [row for message in batch["messages"] for row in message.get("readings", [message])]


def keys(value: Any) -> Any:
    """Keys in their order, all the way down; values left out."""
    if isinstance(value, dict):
        return [(key, keys(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [keys(inner) for inner in value[:1]]
    return None


@pytest.mark.parametrize(
    ("word", "short"),
    [
        ("d9069bba-f80e-424a-9c4c-583ea4deb9a4", "2QabuvgOQkqcTFg-pN65pA"),
        ("7c2f1a90-4b7e-4d53-9a0e-2f8f6f1d3c55", "fC8akEt-TVOaDi-Pbx08VQ"),
        ("73eddd385ce8", "c-3dOFzo"),
        ("self-hosted", "self-hosted"),
    ],
)
def test_ids_are_shortened_as_by_the_vendor(word: str, short: str) -> None:
    assert encoded(word) == short
    index = json.loads((MQTT / "index.json").read_text())["messages"]
    agent = "7c2f1a90-4b7e-4d53-9a0e-2f8f6f1d3c55"
    assert topic("self-hosted", agent, "state") in {message["topic"] for message in index}


def test_custom_readings_have_the_vendors_keys_in_its_order() -> None:
    theirs = published("custom_all_types_json_deflate")
    ours = [row for m in telemetry(advanced(lost=True)) for row in readings(json.loads(m.payload))]
    assert keys(json.loads(telemetry(advanced())[0].payload))[:2] == keys(theirs)[:2]
    for wanted in (
        lambda row: row["quality"] == "BAD",
        lambda row: row["quality"] == "GOOD" and row["unit"] == "degreesCelsius",
        lambda row: row["quality"] == "GOOD" and row["unit"] == "rpm",
        lambda row: isinstance(row["value"], bool),
        lambda row: isinstance(row["value"], str),
    ):
        mine, vendors = next(filter(wanted, ours)), next(filter(wanted, readings(theirs)))
        assert keys(mine) == keys(vendors)


@pytest.mark.parametrize(("kind", "rows"), [("tags", "tags"), ("ecp", "tags"), ("ml", "features")])
def test_other_formats_have_the_vendors_keys(kind: str, rows: str) -> None:
    theirs = published(f"{kind}_json")
    messages = [json.loads(m.payload) for m in telemetry(advanced(lost=True, format=kind))]
    assert list(messages[0]) == list(theirs)
    shapes = {tuple(row) for row in theirs[rows]}
    ours = [row for message in messages for row in message[rows]]
    assert {tuple(row) for row in ours} <= shapes
    assert {"error" in row for row in ours} == {True, False}
    if kind == "ecp":
        assert {row["type"] for row in ours if "type" in row} == {1, 2, 3, 4}


def test_every_field_is_counted_in_the_vendors_domain() -> None:
    delta = published("dictionary_json_02")
    assert {row["name"]: _domain(row["name"]) for row in delta["newFieldsWithDomains"]} == {
        row["name"]: row["domain"] for row in delta["newFieldsWithDomains"]
    }


def test_dictionary_gives_the_vendors_indices_to_the_vendors_message() -> None:
    """A plain message of the run before, in the same order of devices, learned anew."""
    delta = published("dictionary_json_02")
    dictionary = Dictionary("7c2f1a90-4b7e-4d53-9a0e-2f8f6f1d3c55")
    plain = published("custom_all_types_json_deflate")
    compacted = dictionary.compact(plain, "modbus")
    ours = dictionary.delta(0)
    assert list(ours) == list(delta)
    for domain in ("key", "metric", "unit", "quality", "device"):
        mine = [row["name"] for row in ours["newFieldsWithDomains"] if row["domain"] == domain]
        theirs = [row["name"] for row in delta["newFieldsWithDomains"] if row["domain"] == domain]
        assert mine == [name for name in theirs if name in mine]
        assert [r["index"] for r in ours["newFieldsWithDomains"] if r["domain"] == domain] == list(range(len(mine)))
    run = [published(f"dictionary_json_{number:02}") for number in range(1, 13)]
    vendors = next(message for message in run if "p" in message)
    assert keys(compacted) == keys(vendors)
    assert [pair[0] for pair in compacted["p"]] == [pair[0] for pair in vendors["p"]]
    assert list(dictionary.full(0)) == list(next(message for message in run if "fields" in message))


def test_dictionary_names_a_device_by_number_after_ten_sightings() -> None:
    agent_link, clock = link(encoding="dictionary")
    deltas = []
    for _ in range(3):
        clock.advance(30)
        deltas += [json.loads(m.payload) for m in agent_link.due() if m.topic.endswith("/delta")]
    assert set(deltas[-1]["devices"]["modbus"].values()) == {1, 2}
    assert {delta["version"] for delta in deltas} == {1}


def test_first_publish_is_plain_json_and_delta_follows_its_message() -> None:
    agent_link, clock = link(encoding="dictionary")
    clock.advance(5)
    assert all(json.loads(m.payload)["messages"] for m in telemetry(agent_link.due()))
    clock.advance(5)
    tails = [message.topic.rpartition("/a/")[2].partition("/")[2] for message in agent_link.due()]
    assert tails.index("meta/dictionary/delta") > tails.index("endpoints/modbus")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("deflate", [False, True])
def test_encodings_are_told_apart_by_their_first_byte(encoding: str, deflate: bool) -> None:
    message = json.loads(telemetry(advanced(60))[0].payload)
    encoder = Encoder(encoding, deflate, Dictionary("a"), random.Random(1))
    assert json.loads(encoder.encode(message, "modbus")) == message
    payload = encoder.encode(message, "modbus")
    assert payload[:1] == (b"\x78" if deflate else {"msgpack-map16": b"\xde"}.get(encoding, payload[:1]))
    plain = zlib.decompress(payload) if deflate else payload
    if encoding in ("msgpack", "msgpack-map16"):
        assert msgpack.unpackb(plain) == message
    elif encoding == "dictionary+msgpack":
        assert set(msgpack.unpackb(plain)) == {"v", "p"}
    elif encoding == "dictionary-legacy":
        assert set(json.loads(plain)) == {"v", "i", "d"}


def test_small_messages_are_not_deflated() -> None:
    encoder = Encoder("json", True, Dictionary("a"), random.Random(1))
    assert {encoder.encode({"x": 1}, "modbus") for _ in range(3)} == {b'{"x":1}'}


def test_map16_is_a_map_that_msgpack_reads() -> None:
    assert msgpack.unpackb(map16({"a": [1, None, True]})) == {"a": [1, None, True]}
    assert packed({"a": 1})[:1] == b"\x81"


def test_buffered_binary_is_destroyed_as_recorded() -> None:
    theirs = (MQTT / "replay_destroyed.bin").read_bytes()
    assert theirs[:3] == b"\xef\xbf\xbd"
    assert destroyed(packed({"a" * 40: 1}))[:3] == b"\xef\xbf\xbd"


def test_outage_is_replayed_after_what_is_new_with_old_time_stamps() -> None:
    agent_link, clock = link(encoding="msgpack")
    clock.advance(5)
    agent_link.due()
    agent_link.agent.connected = False
    clock.advance(600)
    assert agent_link.due() == []
    agent_link.agent.connected = True
    clock.advance(5)
    stamps = []
    for message in telemetry(agent_link.due()):
        content = json.loads(message.payload) if message.payload[:1] == b"{" else msgpack.unpackb(message.payload)
        stamps.append((message.payload[:1] == b"{", readings(content)[0]["timestamp"]))
    newest = max(stamp for plain, stamp in stamps if not plain)
    replayed = [stamp for plain, stamp in stamps if plain]
    assert len(replayed) >= 10
    assert all(stamp < newest for stamp in replayed)
    assert stamps.index((False, newest)) < stamps.index((True, replayed[0]))


def test_state_first_is_whole_and_then_lacks_most() -> None:
    agent_link, clock = link()
    reports = []
    for _ in range(2):
        reports += [m for m in agent_link.due() if m.topic.endswith("/state")]
        clock.advance(60)
    first, second = (json.loads(m.payload)[agent_link.agent.uuid] for m in reports)
    assert set(first) - set(second) == {"version", "agent_version", "architecture", "local_ip", "config", "devices"}
    recorded = next(iter(published("state_first").values()))
    assert set(first) - {"temperature"} <= set(recorded)
    assert set(next(iter(first["endpoints_health"].values()))) == set(recorded["endpoints_health"]["extruder-1"])
    assert set(first["devices"][0]) == set(recorded["devices"][0])


def test_heartbeats_share_the_prefix_and_are_off_as_shipped() -> None:
    assert not [m for m in advanced(301) if "heartbeat" in m.topic]
    beats = [m for m in advanced(301, heartbeat="yes") if "heartbeat" in m.topic]
    assert keys(json.loads(beats[0].payload)) == keys(published("heartbeat"))
    assert {beat.qos for beat in beats} == {0}


def test_duplicates_have_one_msgid() -> None:
    messages = telemetry(advanced(duplicates="yes"))
    assert len(messages) % 2 == 0
    assert messages[0].payload == messages[1].payload


def test_same_seed_same_bytes() -> None:
    assert advanced(300, encoding="mixed", deflate="yes") == advanced(300, encoding="mixed", deflate="yes")
