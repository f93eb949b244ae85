from __future__ import annotations

import json
import random
import zlib
from datetime import timedelta
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.model.observation import Observation
from bridge.model.status import StatusCode
from bridge.sources.iotistica.mqtt import shelf, waiting
from bridge.sources.iotistica.mqtt.newest import Newest
from bridge.sources.iotistica.mqtt.seen import Seen
from tests.sources.iotistica import recorded
from tests.sources.iotistica.rig import AGENT, OTHER, PRESS, PUMP, START, Rig, batch, reading
from tests.sources.iotistica.test_dictionary import FLAT

ENDPOINT = "endpoints/line1"


def at(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat()


# -- telemetry


def test_an_agent_is_found_by_what_it_says_and_told_once() -> None:
    rig = Rig()
    rig.take(ENDPOINT, batch(reading(2.5)))
    rig.take("endpoints/line1/deep/er", batch(reading(3.5, timestamp=at(1))))
    (told,) = rig.inventory
    assert [(one.key, one.identity["serial"]) for one in told.appeared] == [(AGENT, AGENT)]
    assert rig.values() == {(PUMP, "pressure"): 3.5}


def test_only_the_agents_that_are_configured_are_read() -> None:
    rig = Rig(agents=[OTHER])
    rig.take(ENDPOINT, batch(reading()))
    rig.take(ENDPOINT, batch(reading()), agent=OTHER)
    assert rig.said("readings") == []
    assert len(rig.said("readings", OTHER)) == 1


def test_ten_thousand_messages_in_mixed_encodings_lose_nothing() -> None:
    """Acceptance check 8 of facts 5.4."""
    rig, chance = Rig(), random.Random(7)
    rig.take("meta/dictionary", FLAT, retain=True)
    for number in range(10_000):
        way = chance.randrange(6)
        moment = at(number / 1000)
        message = batch(reading(float(number), timestamp=moment), msgId=f"m-{number}")
        raw = json.dumps(message).encode()
        if way >= 2:
            raw = msgpack.packb(message)
        if way >= 4:
            pairs = [[2, moment], [3, "pump"], [4, "pressure"], [5, float(number)], [6, 1]]
            compact = {"v": 3, "p": [[1, "modbus"], ["a", "messages", [pairs]]]}
            raw = json.dumps(compact).encode() if way == 4 else msgpack.packb(compact)
        rig.take(ENDPOINT, zlib.compress(raw, 1) if way % 2 else raw)
    values = [row["value"] for said in rig.said("readings") for row in said.payload]
    assert values == [float(number) for number in range(10_000)]
    assert (rig.figures["MqttRefused"], rig.figures["MqttWaiting"]) == (0, 0)


def test_a_zip_bomb_is_a_sentence() -> None:
    rig = Rig()
    rig.take(ENDPOINT, zlib.compress(b" " * (20 << 20), 9))
    assert rig.figures["MqttRefused"] == 1
    assert "more than 8 MiB" in rig.figures["MqttLastFault"]


def test_old_samples_never_move_a_current_value_back() -> None:
    """Acceptance check 9 of facts 5.4."""
    rig = Rig()
    rig.clock.advance(100)
    rig.take(ENDPOINT, batch(reading(5.0, timestamp=at(100))))
    for seconds in (10, 20, 30):
        rig.take(ENDPOINT, batch(reading(float(seconds), timestamp=at(seconds)), msgId=f"kept-{seconds}"))
    assert rig.values() == {(PUMP, "pressure"): 5.0}
    assert [row["value"] for rows in rig.earlier for row in rows] == [10.0, 20.0, 30.0]
    rig.take(ENDPOINT, batch(reading(6.0, timestamp=at(101))))
    assert rig.values() == {(PUMP, "pressure"): 6.0}


def test_of_several_samples_in_a_message_the_latest_is_so_now_and_the_others_were() -> None:
    rig = Rig()
    rig.take(ENDPOINT, batch(*(reading(float(n), timestamp=at(n)) for n in (1, 2, 3)), reading(9, "flow")))
    assert rig.values() == {(PUMP, "pressure"): 3.0, (PUMP, "flow"): 9}
    assert [[row["value"] for row in rows] for rows in rig.earlier] == [[1.0], [2.0]], "each observation has it once"


def test_two_devices_with_one_metric_name_stay_two() -> None:
    """Acceptance check 10 of facts 5.4, as far as this room goes."""
    rig = Rig()
    rig.take(ENDPOINT, batch(reading(1.0), reading(2.0, device=PRESS)))
    assert rig.values() == {(PUMP, "pressure"): 1.0, (PRESS, "pressure"): 2.0}


def test_a_message_that_comes_twice_counts_once() -> None:
    rig = Rig()
    for _ in range(2):
        rig.take(ENDPOINT, batch(reading(1.0), msgId="a-1"))
    for _ in range(2):
        rig.take(ENDPOINT, batch(reading(2.0, timestamp=at(1))))
    assert len(rig.said("readings")) == 2
    assert rig.figures["MqttDuplicates"] == 2


def test_a_clock_that_was_wrong_for_a_while_does_not_stop_its_values() -> None:
    rig = Rig()
    rig.take(ENDPOINT, batch(reading(1.0, timestamp=at(3600))))
    rig.clock.advance(10)
    rig.take(ENDPOINT, batch(reading(2.0, timestamp=at(10))))
    assert rig.values() == {(PUMP, "pressure"): 2.0}


def test_a_heartbeat_is_a_sign_of_life_and_nothing_else() -> None:
    rig = Rig()
    rig.take("endpoints/beat", {"endpoint": "x", "state": "CONNECTED", "stats": {}, "timestamp": at(0)})
    assert [said.channel for said in rig.items if isinstance(said, Observation)] == ["link"]
    assert rig.figures["MqttRefused"] == 0


def test_destinations_are_an_agents_own_topics() -> None:
    rig = Rig(mqtt={"destinations": [{"topic": "plant/+/ecp", "agent": OTHER}]})
    tags = [{"name": "t", "value": 5, "type": 2}]
    rig.take_at("plant/line1/ecp", {"timestamp": 1_795_298_400_000, "node": "n", "group": "g", "tags": tags})
    rig.take_at("plant/line1/other", {"timestamp": 1, "node": "n", "group": "g", "tags": tags})
    (said,) = rig.said("readings", OTHER)
    assert said.payload[0]["value"] == 5
    assert rig.figures["MqttMessages"] == 1


# -- the dictionary


def compact(value: float, version: int = 3, seconds: float = 0.0) -> dict[str, Any]:
    pairs = [[2, at(seconds)], [3, 7], [4, 1], [5, value], [6, 1]]
    return {"v": version, "p": [[1, "modbus"], ["a", "messages", [pairs]]]}


def test_messages_wait_for_their_dictionary_and_keep_their_order() -> None:
    rig = Rig()
    for number in range(3):
        rig.take(ENDPOINT, compact(float(number), seconds=number))
    assert rig.said("readings") == []
    assert rig.figures["MqttWaiting"] == 3
    rig.take("meta/dictionary", FLAT, retain=True)
    assert [said.payload[0]["value"] for said in rig.said("readings")] == [0.0, 1.0, 2.0]
    assert rig.said("readings")[0].payload[0]["device"] == "pump"
    assert rig.figures["MqttWaiting"] == 0


def test_a_message_of_a_newer_version_waits_for_the_addition() -> None:
    rig = Rig()
    rig.take("meta/dictionary", FLAT)
    rig.take(ENDPOINT, compact(1.0, 4))
    rig.take(ENDPOINT, compact(2.0, 3, 1))
    assert rig.said("readings") == [], "the second one does not overtake the first"
    rig.take("meta/dictionary/delta", {"version": 4, "newFields": ["messages[].x"]})
    assert [said.payload[0]["value"] for said in rig.said("readings")] == [1.0]
    rig.pass_time(65)
    assert [said.payload[0]["value"] for said in rig.said("readings")] == [1.0, 2.0], (
        "an older version is read in the end"
    )


def test_nobody_waits_longer_than_a_minute() -> None:
    rig = Rig()
    rig.take(ENDPOINT, compact(1.0))
    rig.pass_time(65)
    assert (rig.figures["MqttWaiting"], rig.figures["MqttRefused"]) == (0, 1)
    assert "no dictionary of this agent was heard, and none came" in rig.figures["MqttLastFault"]


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST", 10)
    rig = Rig()
    for number in range(25):
        rig.take(ENDPOINT, compact(float(number)))
    assert (rig.figures["MqttWaiting"], rig.figures["MqttRefused"]) == (10, 15)


def test_what_waits_is_kept_as_small_as_it_came() -> None:
    """A message of some kilobytes may be inflated to 8 MiB: a thousand of these would be the memory."""
    rig = Rig()
    message = compact(1.0)
    message["p"].append([9, " " * (1 << 20)])
    rig.take(ENDPOINT, zlib.compress(json.dumps(message).encode(), 9))
    assert rig.figures["MqttWaiting"] == 1
    waiter = rig.intake._waiting.first(AGENT)
    assert waiter is not None
    assert len(waiter.raw) < 10_000
    rig.take("meta/dictionary", {**FLAT, "fields": [*FLAT["fields"], "note"]}, retain=True)
    assert [said.payload[0]["value"] for said in rig.said("readings")] == [1.0]


def test_a_compact_message_that_comes_twice_counts_once() -> None:
    rig, story = Rig(), recorded.story("dictionary_json")
    for message in story:
        rig.take_at(message.topic, message.payload, retain=message.retain)
    rows = [row for said in rig.said("readings", recorded.AGENT) for row in said.payload]
    for message in story:
        rig.take_at(message.topic, message.payload, retain=message.retain)
    assert [row for said in rig.said("readings", recorded.AGENT) for row in said.payload] == rows
    assert rig.figures["MqttDuplicates"] >= sum(
        "delta" not in one.topic and "dictionary" not in one.topic for one in story
    )


def test_what_was_recorded_of_a_run_is_read_in_the_end_whatever_came_first() -> None:
    rig = Rig()
    for message in recorded.story("dictionary_json"):
        rig.take_at(message.topic, message.payload, retain=message.retain)
    rows = [row for said in rig.said("readings", recorded.AGENT) for row in said.payload]
    assert len({row["time"] for row in rows if row["metric"] == "screw_speed"}) >= 8
    assert (rig.figures["MqttRefused"], rig.figures["MqttWaiting"]) == (0, 0)


def test_a_restart_of_the_bridge_loses_nothing_of_what_additions_told() -> None:
    """The broker's is as the agent's run began; the metric's number and one field came as additions."""
    began = {**FLAT, "version": 1, "metrics": {}, "metadata": {"timestamp": 1000}}
    addition = {
        "version": 1, "newFieldsWithDomains": [{"name": "messages[].anomaly_score", "domain": "metric", "index": 0}],
        "enums": FLAT["enums"], "metrics": FLAT["metrics"], "devices": FLAT["devices"], "timestamp": 2000,
    }  # fmt: skip
    rig = Rig()
    rig.take("meta/dictionary", began, retain=True)
    rig.take("meta/dictionary/delta", addition)
    for retained in ([], [began]):
        rig = rig.restarted()
        for told in retained:
            rig.take("meta/dictionary", told, retain=True)
        rig.take(ENDPOINT, compact(2.5, 1))
        assert [row["metric"] for said in rig.said("readings") for row in said.payload] == ["pressure"]
        assert (rig.figures["MqttRefused"], rig.figures["MqttWaiting"]) == (0, 0)
        rig.intake.shelf.change()


def test_what_is_kept_is_bounded_and_agents_that_are_away_keep_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    rig.take("meta/dictionary", FLAT, retain=True)
    after = rig.restarted()
    assert after.intake.shelf.news() is None
    after.take("meta/dictionary", FLAT, agent=OTHER, retain=True)
    page = after.intake.shelf.news()
    assert page is not None
    assert set(page) == {AGENT, OTHER}
    monkeypatch.setattr(shelf, "MOST", len(json.dumps(page[OTHER])))
    after.intake.shelf.change()
    assert set(after.intake.shelf.news() or ()) == {OTHER}, "who is there comes first"


@pytest.mark.parametrize("kept", [[], {"version": 1}, {"version": 1, "fieldsByDomain": {"key": [5]}}, "x", None])
def test_what_was_kept_and_cannot_be_read_is_as_if_it_were_not(kept: Any) -> None:
    rig = Rig()
    rig.intake.shelf.recall({AGENT: kept})
    rig.take(ENDPOINT, compact(2.5))
    assert rig.figures["MqttWaiting"] == 1
    rig.take("meta/dictionary", FLAT, retain=True)
    assert len(rig.said("readings")) == 1


# -- faults


def test_messages_that_cannot_be_read_are_counted_and_the_next_one_is() -> None:
    rig = Rig()
    rig.take(ENDPOINT, b"\x00garbage")
    rig.take(ENDPOINT, {"what": "else"})
    rig.take(ENDPOINT, batch(reading(1.0)))
    assert rig.values() == {(PUMP, "pressure"): 1.0}
    assert rig.conditions == []
    assert rig.figures["MqttRefused"] == 2


def test_an_agent_of_whom_nothing_can_be_read_is_bad_with_a_sentence() -> None:
    rig = Rig()
    for _ in range(5):
        rig.take(ENDPOINT, b"\x00garbage")
    (condition,) = rig.conditions
    assert (condition.machine, condition.channel, condition.status) == (AGENT, "readings", StatusCode.BadDecodingError)
    assert "no JSON" in condition.reason
    assert condition.advice


tails = st.sampled_from([ENDPOINT, "state", "agent/status", "agent/broker", "events/anomaly", "meta/dictionary",
                         "meta/dictionary/delta", "nothing/we/know"])  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.tuples(tails, st.binary(max_size=60) | st.sampled_from([one.payload for one in recorded.ALL])),
                max_size=12))  # fmt: skip
def test_nothing_that_comes_in_raises(messages: list[tuple[str, bytes]]) -> None:
    rig = Rig()
    for tail, payload in messages:
        rig.take(tail, payload, agent=recorded.AGENT)
        rig.take(tail, payload[::-1])
    rig.pass_time(70)
    assert rig.figures["MqttMessages"] == 2 * len(messages)


# -- the agent itself


def state(agent: str = AGENT, **told: Any) -> dict[str, Any]:
    return {agent: {"apps": {}, "is_online": True, "version": 4, **told}}


def test_the_recorded_states_are_merged_and_clean() -> None:
    rig = Rig()
    for message in recorded.ALL:
        if message.told.get("kind") == "state":
            rig.take_at(message.topic, message.payload)
    told = rig.said("state", recorded.AGENT)[-1].payload
    assert told["memory_total"] == 24103 << 20, "megabytes are bytes from here on"
    assert told["agent_version"] == "1.0.547"
    assert told["endpoints"] == {"total": 3, "enabled": 3, "lost": 1}
    everything = json.dumps([said.payload for said in rig.items if isinstance(said, Observation)])
    assert "connectionString" not in everything, "the plant's credentials stay where they are"
    health = {row["name"]: row["connected"] for row in rig.said("health", recorded.AGENT)[-1].payload}
    assert health == {"dryer-3": False, "extruder-1": True, "extruder-2": True}
    devices = {row["name"]: row["device_uuid"] for row in rig.said("devices", recorded.AGENT)[-1].payload}
    assert devices["extruder-1"] == "9d3e4c10-77aa-4a0e-9c2b-5b1e2a3c0001"


def test_a_delta_changes_what_it_names_and_nothing_else() -> None:
    rig = Rig()
    rig.take("state", state(cpu_usage="12.5", uptime=100, os_version="Debian 12", memory_total=8 << 30))
    rig.take("state", state(uptime=110))
    told = rig.said("state")[-1].payload
    assert (told["cpu_usage"], told["uptime"], told["os_version"]) == (12.5, 110, "Debian 12")
    assert told["memory_total"] == 8 << 30


def test_a_state_of_somebody_else_is_refused() -> None:
    rig = Rig()
    rig.take("state", state(OTHER))
    assert rig.said("state") == []
    assert "not of the agent" in rig.figures["MqttLastFault"]


def test_an_agent_that_falls_silent_is_gone_and_comes_back() -> None:
    rig = Rig(mqtt={"report_period": "60s"})
    rig.take("state", state(cpu_usage=1))
    rig.pass_time(170)
    assert rig.events == []
    rig.pass_time(20)
    (gone,) = rig.events
    assert (gone.kind, gone.machine) == ("agent_offline", AGENT)
    assert {(one.channel, one.machine, one.status) for one in rig.conditions} == {
        (channel, AGENT, StatusCode.BadNoCommunication) for channel in ("readings", "state")
    }
    assert rig.said("link")[-1].payload["online"] is False
    assert "nothing was heard" in rig.said("link")[-1].payload["reason"]
    rig.pass_time(600)
    assert len(rig.events) == 1
    rig.take(ENDPOINT, batch(reading()))
    assert [event.kind for event in rig.events] == ["agent_offline", "agent_online"]
    assert rig.said("link")[-1].payload["online"] is True
    assert rig.said("state")[-1].payload["cpu_usage"] == 1, "what it told of itself is so again"
    assert len({event.id for event in rig.events}) == 2


def test_what_the_broker_kept_is_no_sign_of_life() -> None:
    rig = Rig(mqtt={"report_period": "60s"})
    rig.take("agent/status", {"type": "update_started", "timestamp": 1_795_298_400_000}, retain=True)
    assert rig.said("link") == []
    rig.pass_time(200)
    assert rig.said("link")[-1].payload["online"] is False


def test_a_last_will_counts_at_once_unless_it_is_old() -> None:
    rig = Rig()
    rig.take(ENDPOINT, batch(reading()))
    rig.take("agent/broker", b"offline", retain=True)
    assert rig.said("link")[-1].payload["online"] is True, "it is heard: the will that was kept is of before"
    rig.take("agent/broker", b"offline")
    assert rig.said("link")[-1].payload["online"] is False
    assert rig.events[-1].kind == "agent_offline"


def test_a_session_that_was_down_makes_nobody_gone() -> None:
    rig = Rig(mqtt={"report_period": "60s"})
    rig.take("state", state())
    rig.clock.advance(1000)
    rig.intake.begin()
    rig.pass_time(100)
    assert rig.events == []


def test_endpoints_that_are_lost_and_come_back_are_told() -> None:
    rig = Rig()

    def health(connected: bool, error: str | None = None) -> None:
        row = {"protocol": "modbus", "connected": connected, "status": "online", "lastError": error}
        rig.take("state", state(endpoints_health={"press": row}))

    health(True)
    health(False, "ECONNREFUSED")
    health(False, "ECONNREFUSED")
    health(True)
    assert [(event.kind, event.data["endpoint"]) for event in rig.events] == [
        ("endpoint_lost", "press"),
        ("endpoint_back", "press"),
    ]
    assert "ECONNREFUSED" in rig.events[0].message


def test_an_anomaly_is_an_event_whose_id_stays() -> None:
    rig = Rig()
    told = {
        "timestampMs": 1_795_298_400_000, "metric": f"{AGENT}_{OTHER}_flow", "fingerprint": "f-1",
        "severity": "critical",
        "severityReason": "far off", "deviceName": "pump", "observedValue": 9.5, "anomalyScore": 0.97, "eventCount": 3,
    }  # fmt: skip
    for _ in range(2):
        rig.take("events/anomaly", told)
    first, second = rig.events
    assert first == second
    assert (first.kind, first.severity, first.time) == ("anomaly", 700, START)
    assert first.message == "flow of pump is unusual: far off"
    assert rig.said("anomaly")[-1].payload["score"] == 0.97


def test_an_update_is_told_and_told_again_as_the_same() -> None:
    told = {"type": "update_failed", "version": "1.1", "error": "no space", "timestamp": 1_795_298_400_000}
    ids = set()
    for _ in range(2):
        rig = Rig()
        rig.take("agent/status", told, retain=True)
        (event,) = rig.events
        ids.add(event.id)
        assert (event.kind, event.severity) == ("agent_update_failed", 500)
        assert event.message == "The agent could not update itself to 1.1: no space"
    assert len(ids) == 1


# -- bounds


def test_ids_are_remembered_within_bounds() -> None:
    seen = Seen(3)
    assert [seen.is_new(name) for name in "abcabcd"] == [True, True, True, False, False, False, True]
    assert seen.is_new("a"), "the oldest one is forgotten"
    assert not seen.is_new("d")


def test_series_beyond_the_bound_are_news_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.sources.iotistica.mqtt.newest.SERIES", 1)
    newest = Newest()
    row = {"device_uuid": "d", "metric": "m", "value": 1, "quality": "good"}
    other = {**row, "metric": "n"}
    for moment in (START, START - timedelta(seconds=5)):
        current, earlier = newest.split(AGENT, [(moment, row), (moment, other)], START)
        assert other in current
    assert earlier == [(START - timedelta(seconds=5), row)]


def test_a_flood_of_agents_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.sources.iotistica.roster.MOST", 5)
    rig = Rig()
    for number in range(20):
        rig.take(ENDPOINT, batch(reading()), agent=f"00000000-0000-4000-8000-{number:012d}")
    assert len(rig.inventory) == 5
