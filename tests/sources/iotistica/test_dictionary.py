from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ProtocolError
from bridge.model.units import unit_of
from bridge.sources.iotistica.mqtt.dictionary import Dictionary, Unknown, is_compact
from bridge.sources.iotistica.mqtt.encoding import decode
from bridge.sources.iotistica.mqtt.telemetry import batch_of
from tests.sources.iotistica.recorded import DRYER, EXTRUDER, Recorded, story

NOW = datetime(2026, 11, 21, 22, tzinfo=UTC)
FLAT = {
    "version": 3,
    "fields": [
        "timestamp",
        "protocol",
        "messages[].timestamp",
        "messages[].deviceName",
        "messages[].metric",
        "messages[].value",
        "messages[].quality",
        "messages[].unit",
        "messages[].qualityCode",
    ],
    "format_version": 2,
    "enums": {"quality": {"GOOD": 1, "BAD": 2}, "qualityCode": {"ETIMEDOUT": 1}, "unit": {"bar": 1}},
    "metrics": {"modbus": {"pressure": 1}, "snmp": {"uptime": 1}},
    "devices": {"modbus": {"pump": 7}},
}
PLAIN = {
    "timestamp": "2026-11-21T21:33:52Z",
    "protocol": "modbus",
    "messages": [
        {"deviceName": "pump", "metric": "pressure", "value": 2.5, "quality": "GOOD", "unit": "bar"},
        {"deviceName": "pump", "metric": "flow", "value": None, "quality": "BAD", "qualityCode": "ETIMEDOUT"},
    ],
}
COMPACT = {
    "v": 3,
    "p": [
        [0, "2026-11-21T21:33:52Z"],
        [1, "modbus"],
        [
            "a",
            "messages",
            [[[3, 7], [4, 1], [5, 2.5], [6, 1], [7, 1]], [[3, 7], [4, "flow"], [5, None], [6, 2], [8, 1]]],
        ],
    ],
}


def flat() -> Dictionary:
    dictionary = Dictionary()
    dictionary.replace(FLAT)
    return dictionary


def test_a_message_is_what_it_was_before_it_was_compacted() -> None:
    assert flat().expand(COMPACT) == PLAIN


def test_words_are_those_of_the_messages_protocol() -> None:
    told = flat().expand({"v": 3, "p": [[1, "snmp"], ["a", "messages", [[[4, 1]]]]]})
    assert told["messages"] == [{"metric": "uptime"}]


def test_a_list_at_the_root_is_a_list() -> None:
    dictionary = Dictionary()
    dictionary.replace({"version": 1, "fields": ["[].metric", "[].value"]})
    assert dictionary.expand({"v": 1, "p": [["a", "$root", [[[0, "x"], [1, 2]], [[0, "y"], [1, 3]]]]]}) == [
        {"metric": "x", "value": 2},
        {"metric": "y", "value": 3},
    ]


def test_objects_in_a_frame_are_objects_again() -> None:
    dictionary = Dictionary()
    dictionary.replace({"version": 1, "fields": [{"name": "readings[].extra.depth", "index": 9}]})
    assert dictionary.expand({"v": 1, "p": [["a", "readings", [[[9, 1.5]]]]]}) == {
        "readings": [{"extra": {"depth": 1.5}}]
    }


def test_lists_that_are_written_with_their_places_are_the_same() -> None:
    dictionary = Dictionary()
    dictionary.replace({"version": 1, "fields": ["messages[0].metric", "messages[0].value", "messages[1].metric"]})
    told = dictionary.expand({"v": 1, "p": [["a", "messages", [[[0, "x"], [1, 4]], [[2, "y"]]]]]})
    assert told == {"messages": [{"metric": "x", "value": 4}, {"metric": "y"}]}


def test_the_older_form_is_read() -> None:
    inner = [{"i": [3, 4, 5, 6], "d": [7, 1, 2.5, 2]}]
    dictionary = flat()
    dictionary.grow({"version": 3, "newFields": ["messages"]})
    told = dictionary.expand({"v": 3, "i": [0, 1, 9], "d": ["2026-11-21T21:33:52Z", "modbus", inner]})
    assert told["timestamp"] == "2026-11-21T21:33:52Z"
    assert told["messages"][0]["value"] == 2.5
    assert told["messages"][0]["quality"] == "BAD", "2 is BAD, and not OPC UA's good"


@pytest.mark.parametrize("message", [COMPACT, {"v": 1, "i": [0], "d": [1]}])
def test_without_a_dictionary_a_message_waits(message: dict[str, Any]) -> None:
    assert is_compact(message)
    with pytest.raises(Unknown, match="no dictionary"):
        Dictionary().expand(message)


@pytest.mark.parametrize("version", [2, 4])
def test_another_version_waits(version: int) -> None:
    with pytest.raises(Unknown, match=f"version {version} of a dictionary of which 3"):
        flat().expand({**COMPACT, "v": version})


def test_after_waiting_an_older_version_is_read_for_dictionaries_only_grow() -> None:
    assert flat().expand({**COMPACT, "v": 2}, is_late=True) == PLAIN
    with pytest.raises(Unknown):
        flat().expand({**COMPACT, "v": 4}, is_late=True)


def test_an_addition_is_added_behind_the_last() -> None:
    dictionary = flat()
    message = {"v": 4, "p": [["a", "messages", [[[9, 0.5]]]]]}
    with pytest.raises(Unknown):
        dictionary.expand(message)
    dictionary.grow({"version": 4, "newFields": ["messages[].anomaly_score"]})
    assert dictionary.expand(message) == {"messages": [{"anomaly_score": 0.5}]}
    assert dictionary.version == 4


def test_a_number_nobody_tells_is_waited_for_once() -> None:
    dictionary = flat()
    message = {"v": 3, "p": [["a", "messages", [[[4, "x"], [77, "?"]]]]]}
    with pytest.raises(Unknown, match="number 77 in messages"):
        dictionary.expand(message)
    assert dictionary.expand(message, is_late=True) == {"messages": [{"metric": "x"}]}
    assert dictionary.expand(message) == {"messages": [{"metric": "x"}]}, "it is not waited for again"
    dictionary.grow(
        {"version": 3, "newFieldsWithDomains": [{"name": "messages[].value", "index": 77, "domain": "key"}]}
    )
    assert dictionary.expand(message) == {"messages": [{"metric": "x", "value": "?"}]}


def test_a_dictionary_that_begins_anew_takes_the_old_ones_place() -> None:
    dictionary = flat()
    dictionary.replace({"version": 1, "fields": ["protocol", "timestamp"]})
    assert dictionary.expand({"v": 1, "p": [[0, "modbus"], [1, 5]]}) == {"protocol": "modbus", "timestamp": 5}
    with pytest.raises(Unknown):
        dictionary.expand({"v": 1, "p": [[2, "x"]]})


def test_a_bad_dictionary_leaves_the_good_one() -> None:
    dictionary = flat()
    for bad in ({}, [], {"version": True, "fields": []}, {"version": 9}, {"version": 9, "fields": [1]}):
        with pytest.raises(ProtocolError):
            dictionary.replace(bad)
    assert dictionary.expand(COMPACT) == PLAIN


# -- what the vendor's agent really sends: numbers are counted in five domains, and the domain is left out -----------


def read(messages: list[Recorded], dictionary: Dictionary) -> list[list[dict[str, Any]]]:
    """Rows of the messages, as far as they can be read as soon as they come."""
    found = []
    for message in messages:
        payload = decode(message.payload)
        if message.told.get("kind") == "dictionary":
            dictionary.replace(payload)
        elif message.told.get("kind") == "dictionary_delta":
            dictionary.grow(payload)
        else:
            batch = batch_of(dictionary.expand(payload), NOW)
            assert batch.refused == 0
            found.append([row for _, row in batch.rows])
    return found


@pytest.mark.parametrize(
    "prefix", ["dictionary_json", "dictionary_json_deflate", "dictionary_msgpack", "dictionary_msgpack_deflate"]
)
def test_with_the_whole_dictionary_all_that_was_recorded_is_read(prefix: str) -> None:
    dictionary = Dictionary()
    messages = story(prefix)
    read([one for one in messages if one.told.get("kind") == "dictionary"], dictionary)
    batches = read([one for one in messages if "kind" not in one.told], dictionary)
    assert len(batches) >= 3
    rows = [row for batch in batches for row in batch]
    known = {EXTRUDER: "extruder-1-1f0c9f5e", DRYER: "dryer-3-1f0c9f5e"}
    assert {row["device"] for row in rows if row["device_uuid"] in known} <= set(known.values())
    assert {row["quality"] for row in rows} == {"good", "bad"}
    for row in rows:
        assert row["endpoint_uuid"] == row["device_uuid"]
        assert row["protocol"] == "modbus"
        assert (row["value"] is None) == (row["quality"] == "bad") == (row["device_uuid"] == DRYER)
        assert row["metric"] in {
            "barrel_temp", "screw_speed", "speed_sp", "running", "position", "setpoint", "material", "stuck", "refused"
        }  # fmt: skip
    units = {(row["metric"], row["unit"] and unit_of(row["unit"]).code) for row in rows}
    assert {("barrel_temp", "Cel"), ("screw_speed", "r/min"), ("setpoint", "bar"), ("running", None)} <= units
    values = {row["metric"]: row["value"] for row in rows if row["device_uuid"] == EXTRUDER}
    assert isinstance(values["running"], bool)
    assert isinstance(values["material"], str)
    assert isinstance(values["barrel_temp"], float)


def test_the_first_message_comes_before_the_names_it_needs() -> None:
    first, delta, *_ = story("dictionary_json")
    dictionary = Dictionary()
    with pytest.raises(Unknown):
        dictionary.expand(decode(first.payload))
    dictionary.grow(decode(delta.payload))
    (rows,) = read([first], dictionary)
    assert {row["device"] for row in rows} >= {"dryer-3-1f0c9f5e", "extruder-2-1f0c9f5e"}


def test_an_addition_in_the_middle_is_of_no_use_without_the_beginning() -> None:
    later = [one for one in story("dictionary_json") if one.told.get("kind") == "dictionary_delta"][1]
    with pytest.raises(Unknown):
        Dictionary().grow(decode(later.payload))


PARTED = {
    "version": 1,
    "fieldsByDomain": {
        "key": [{"index": 0, "name": "messages[].timestamp"}, {"index": 1, "name": "messages[].metric"},
                {"index": 2, "name": "messages[].value"}],
        "metric": [{"index": 0, "name": "timestamp"}],
        "unit": [{"index": 0, "name": "messages[].unit"}],
        "quality": [{"index": 0, "name": "messages[].quality"}],
        "device": [{"index": 0, "name": "messages[].deviceName"}, {"index": 1, "name": "messages[].deviceId"}],
    },
}  # fmt: skip
STAMP = "2026-11-21T21:33:52Z"


def parted(frame: list[Any]) -> Any:
    dictionary = Dictionary()
    dictionary.replace(PARTED)
    return dictionary.expand({"v": 1, "p": [["a", "messages", [frame]]]})["messages"][0]


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            [[0, STAMP], [0, "pump"], [1, "id"], [1, "flow"], [2, 3], [0, "bar"], [0, 1]],
            {"deviceName": "pump", "deviceId": "id", "metric": "flow", "value": 3, "unit": "bar", "quality": "GOOD"},
        ),
        (
            [[0, STAMP], [0, "pump"], [1, "flow"], [2, 3], [0, 2]],
            {"deviceName": "pump", "metric": "flow", "value": 3, "quality": "BAD"},
        ),
        (
            [[0, STAMP], [0, "pump"], [1, "flow"], [2, 3], [0, ""], [0, "GOOD"]],
            {"deviceName": "pump", "metric": "flow", "value": 3, "unit": "", "quality": "GOOD"},
        ),
    ],
)
def test_one_number_for_many_names_is_told_apart(frame: list[Any], expected: dict[str, Any]) -> None:
    assert parted(frame) == {"timestamp": STAMP, **expected}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 30) | st.sampled_from(["a", "messages", "$root", "GOOD", STAMP]),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=30,
    ),
    st.booleans(),
    st.booleans(),
)
def test_any_pairs_are_read_or_wait_or_are_refused(pairs: Any, is_parted: bool, is_late: bool) -> None:
    dictionary = Dictionary()
    dictionary.replace(PARTED if is_parted else FLAT)
    version = 1 if is_parted else 3
    for message in ({"v": version, "p": pairs}, {"v": version, "i": pairs, "d": pairs}, {"v": pairs, "p": pairs}):
        try:
            dictionary.expand(message, is_late=is_late)
        except (ProtocolError, Unknown) as error:
            assert str(error)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["version", "fields", "newFields", "name", "index", "enums", "quality", "key",
                                         "fieldsByDomain", "metrics", "newFieldsWithDomains"]), inner, max_size=4),
                    max_leaves=20))  # fmt: skip
def test_any_dictionary_is_learned_or_refused(told: Any) -> None:
    dictionary = flat()
    for learn in (dictionary.replace, dictionary.grow):
        try:
            learn(told)
        except (ProtocolError, Unknown) as error:
            assert str(error)


def test_a_frame_of_countless_pairs_is_refused_before_it_is_puzzled_over() -> None:
    """To tell pairs apart by their order costs their square: 50 000 of them would stop the bridge for hours."""
    dictionary = Dictionary()
    dictionary.replace({"version": 1, "fields": ["timestamp"], "fieldsByDomain": {
        "key": [{"name": "timestamp", "index": 0}], "device": [{"name": "deviceName", "index": 0}],
    }})  # fmt: skip
    with pytest.raises(ProtocolError, match="more than 500 pairs"):
        dictionary.expand({"v": 1, "p": [[0, "x"]] * 50_000})


# -- over a restart, of either side ---------------------------------------------------------------------------------


def whole(*names: str, made: int = 0, version: int = 1) -> dict[str, Any]:
    fields = [{"index": index, "name": name} for index, name in enumerate(names)]
    return {
        "version": version,
        "fieldsByDomain": {"key": fields},
        **({"metadata": {"timestamp": made}} if made else {}),
    }


def more(index: int, name: str, made: int = 0, version: int = 1) -> dict[str, Any]:
    new = [{"domain": "key", "index": index, "name": name}]
    return {"version": version, "newFieldsWithDomains": new, **({"timestamp": made} if made else {})}


def telling(*told: dict[str, Any]) -> Dictionary:
    dictionary = Dictionary()
    for one in told:
        (dictionary.grow if "newFieldsWithDomains" in one else dictionary.replace)(one)
    return dictionary


def names(dictionary: Dictionary, count: int = 3) -> list[str | None]:
    """What each number stands for."""
    found: list[str | None] = []
    for index in range(count):
        try:
            found += list(dictionary.expand({"v": dictionary.version or 0, "p": [[index, "x"]]}))
        except Unknown:
            found.append(None)
    return found


def test_what_is_kept_says_all_that_was_known() -> None:
    dictionary = flat()
    dictionary.grow({"version": 4, "newFields": ["messages[].anomaly_score"], "metrics": {"modbus": {"flow": 2}}})
    again = Dictionary()
    again.replace(json.loads(json.dumps(dictionary.document())))
    assert again.document() == dictionary.document()
    frame = [[3, "pump"], [4, 2], [5, 1.5], [6, 2], [9, 0.5]]
    message = {"v": 4, "p": [[1, "modbus"], ["a", "messages", [frame]]]}
    assert again.expand(message) == dictionary.expand(message)
    again.grow({"version": 5, "newFields": ["messages[].next"]})
    assert again.expand({"v": 5, "p": [["a", "messages", [[[10, 1]]]]]}) == {"messages": [{"next": 1}]}
    assert Dictionary().document() == {}


@pytest.mark.parametrize("made", [0, 1000])
def test_what_the_broker_kept_takes_nothing_away_when_it_comes_again(made: int) -> None:
    first = whole("a", "b", made=made)
    dictionary = telling(first, more(2, "c", made=made and made + 50))
    dictionary.replace(first, is_kept=True)
    assert names(dictionary) == ["a", "b", "c"]


def test_of_what_the_broker_kept_the_missing_is_learned() -> None:
    dictionary = telling(whole("a", made=1000), more(2, "c", made=3000))
    kept = {**whole("a", "b", made=2000), "devices": {"modbus": {"pump": 7}}, "enums": {"unit": {"bar": 1}}}
    dictionary.replace(kept, is_kept=True)
    assert names(dictionary) == ["a", "b", "c"]
    assert dictionary.expand({"v": 1, "p": [[0, "x"]]}) == {"a": "x"}
    assert dictionary.document()["devices"] == {"modbus": {"pump": 7}}
    assert dictionary.document()["metadata"] == {"timestamp": 3000}


@pytest.mark.parametrize("is_kept", [True, False])
@pytest.mark.parametrize("made", [0, 2000])
def test_an_agent_that_began_anew_in_another_order_wins(made: int, is_kept: bool) -> None:
    dictionary = telling(whole("a", "b", made=made and 1000), more(2, "c", made=made and 1500))
    dictionary.replace(whole("b", "a", made=made), is_kept=is_kept)
    assert names(dictionary) == ["b", "a", None], "what the other run added is of no use"


def test_of_an_earlier_run_a_broker_that_lost_its_memory_says_nothing_new() -> None:
    dictionary = telling(whole("a", "b", made=1000), whole("b", "a", made=2000), more(2, "c", made=3000))
    dictionary.replace(whole("a", "b", made=1000), is_kept=True)
    assert names(dictionary) == ["b", "a", "c"]


def test_a_live_one_wins_whatever_the_agents_clock_says() -> None:
    dictionary = telling(whole("a", "b", made=2000))
    dictionary.replace(whole("b", "a", made=1000))
    assert names(dictionary, 2) == ["b", "a"]
    dictionary.replace(whole("b", "a", "d", made=1500), is_kept=True)
    assert names(dictionary) == ["b", "a", "d"], "and it counts by that clock from there on"


@pytest.mark.parametrize("version", [1, 3])
def test_the_beginning_of_another_run_takes_the_old_ones_place(version: int) -> None:
    dictionary = telling(whole("a", "b", made=1000, version=version))
    dictionary.grow(more(0, "z", made=2000))
    assert names(dictionary) == ["z", None, None]


def test_an_addition_to_another_run_makes_its_messages_wait_for_the_whole() -> None:
    dictionary = telling(whole("a", "b", made=1000))
    with pytest.raises(ProtocolError, match="begun its dictionary anew"):
        dictionary.grow(more(1, "z", made=2000))
    assert names(dictionary) == [None, None, None]
    dictionary.replace(whole("y", "z", made=2500))
    assert names(dictionary, 2) == ["y", "z"]


def test_an_addition_without_numbers_fits_behind_the_one_before_it_only() -> None:
    dictionary = flat()
    with pytest.raises(Unknown, match="the one before was not heard"):
        dictionary.grow({"version": 5, "newFields": ["x"]})
    assert dictionary.version == 3


@pytest.mark.parametrize("prefix", ["dictionary_json", "dictionary_msgpack"])
def test_an_agent_of_the_vendors_that_lost_its_numbers_is_read_as_before(prefix: str) -> None:
    """The recorded run again, numbered in another order, over what was kept of the first: no name is mistaken."""
    messages = story(prefix)
    (told,) = [decode(one.payload) for one in messages if one.told.get("kind") == "dictionary"]
    batches = [decode(one.payload) for one in messages if "kind" not in one.told]
    kept = Dictionary()
    kept.replace(told)
    expected = [batch_of(kept.expand(batch), NOW).rows for batch in batches]

    shift = 7
    domains = {
        domain: [{"index": one["index"] + shift, "name": one["name"]} for one in fields]
        + [{"index": number, "name": f"spare.{domain}{number}"} for number in range(shift)]
        for domain, fields in told["fieldsByDomain"].items()
    }
    later = {**told, "fieldsByDomain": domains, "metadata": {"timestamp": told["metadata"]["timestamp"] + 60_000}}
    dictionary = Dictionary()
    dictionary.replace(kept.document())
    dictionary.replace(later, is_kept=True)
    assert [batch_of(dictionary.expand(moved(batch, shift)), NOW).rows for batch in batches] == expected
    dictionary.replace(told, is_kept=True)
    assert [batch_of(dictionary.expand(moved(batch, shift)), NOW).rows for batch in batches] == expected


def moved(told: Any, by: int) -> Any:
    """The message with other numbers for its names."""
    return {**told, "p": [_moved(pair, by) for pair in told["p"]]}


def _moved(pair: list[Any], by: int) -> list[Any]:
    if pair[0] == "a":
        return ["a", pair[1], [[_moved(inner, by) for inner in item] for item in pair[2]]]
    return [pair[0] + by, pair[1]]
