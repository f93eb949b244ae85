"""Payloads: shapes, presets, and what JSON cannot carry."""

import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.hub.slots import Slots
from bridge.model.event import Event
from bridge.model.status import StatusCode
from bridge.model.value import DataValue, Value, bad, to_milliseconds
from bridge.northbound.uns.config import Preset
from bridge.northbound.uns.payload import (
    EMPTY,
    aging_part,
    encode,
    event,
    meta,
    online,
    rfc3339,
    snapshot,
    stopped,
    unit_part,
)
from tests.one_of_everything import NOW, VALUES, bridge_machine, machine

STAMP = "2026-03-04T05:06:07.089Z"
GOOD = DataValue(12.5, StatusCode.Good, NOW, NOW)


def decoded(value: DataValue, unit: str = "") -> dict[str, object]:
    document = json.loads(encode(Preset.VTQ, value, unit_part(unit)))
    assert isinstance(document, dict)
    return document


def test_good_value_says_value_time_quality_and_unit() -> None:
    assert decoded(GOOD, "bar") == {"value": 12.5, "timestamp": STAMP, "quality": "Good", "unit": "bar"}


def test_value_without_unit_has_no_unit_key() -> None:
    assert "unit" not in decoded(GOOD)


def test_uncertain_value_is_kept_and_says_what_is_wrong() -> None:
    assert decoded(VALUES["Setpoints/Mode"]) == {
        "value": 2,
        "timestamp": STAMP,
        "quality": "Uncertain",
        "status": "UncertainLastUsableValue",
        "reason": "Nothing has been heard for 3 s",
        "since": "2026-03-04T05:06:10.089Z",
    }


def test_bad_value_is_null_with_a_reason() -> None:
    document = decoded(VALUES["Monitoring/Temperature/Front"], "°C")
    assert document["value"] is None
    assert document["quality"] == "Bad"
    assert document["status"] == "BadSensorFailure"
    assert document["reason"] == "The sensor reports a wiring error"


def test_value_never_received_is_good_no_data() -> None:
    document = decoded(bad(StatusCode.BadWaitingForInitialData, "No value has been received yet", NOW))
    assert (document["value"], document["quality"]) == (None, "GoodNoData")


@pytest.mark.parametrize("status", list(StatusCode))
def test_every_status_has_a_quality_word_and_only_good_goes_without_explanation(status: StatusCode) -> None:
    document = decoded(DataValue(None if status.is_bad else 1, status, NOW, NOW, "Because", NOW))
    assert document["quality"] in {"Good", "Uncertain", "Bad", "GoodNoData"}
    assert document.get("status", "Good") == status.name


@pytest.mark.parametrize(
    "moment", [NOW, NOW.replace(microsecond=0), NOW.replace(microsecond=999_000), datetime(1970, 1, 1, tzinfo=UTC)]
)
def test_time_stamp_is_rfc_3339_in_utc_with_milliseconds(moment: datetime) -> None:
    text = rfc3339(moment)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert datetime.fromisoformat(text) == moment


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("preset", list(Preset))
def test_number_that_is_not_finite_is_never_published(broken: float, preset: Preset) -> None:
    payload = encode(preset, GOOD._replace(value=broken))
    if preset is Preset.VTQ:
        assert json.loads(payload)["quality"] == "Bad"
        assert json.loads(payload)["value"] is None
    else:
        assert payload == EMPTY


ODD_TIMES = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)


@given(
    value=st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | ODD_TIMES,
    status=st.sampled_from(StatusCode),
    moment=ODD_TIMES | st.just(NOW.replace(microsecond=0)),
    unit=st.sampled_from(["", "bar", "°C", 'in"']),
)
def test_payload_put_together_from_parts_is_the_document(
    value: Value, status: StatusCode, moment: datetime, unit: str
) -> None:
    one = DataValue(value, status, moment, moment, 'why "so"', moment)
    document = orjson.loads(encode(Preset.VTQ, one, unit_part(unit), aging_part(moment, 300)))
    broken = isinstance(value, float) and not math.isfinite(value)
    assert document["timestamp"] == document["sent"] == rfc3339(moment)
    assert document["value"] == (
        None if broken else rfc3339(value) if isinstance(value, datetime) else value
    ) or isinstance(value, str)
    assert document.get("unit", "") == unit
    assert document["max_age"] == 300
    assert ("reason" in document) == (broken or status is not StatusCode.Good)
    assert list(document)[:3] == ["value", "timestamp", "quality"]


def test_snapshot_holds_every_value_as_its_topic_does() -> None:
    one = machine(Slots())
    values = {tag.name: VALUES[tag.name] for tag in one.tags}
    document = json.loads(snapshot("7", one, values, NOW))
    assert (document["id"], document["status"], document["machine"]) == ("7", "ok", "extruder-1")
    assert document["timestamp"] == STAMP
    assert document["values"].keys() == {tag.name for tag in one.tags}
    for tag in one.tags:
        unit = tag.definition.unit.symbol if tag.definition.unit else ""
        assert document["values"][tag.name] == decoded(VALUES[tag.name], unit)


def test_umh_has_exactly_its_two_keys() -> None:
    assert json.loads(encode(Preset.UMH, GOOD, unit_part("bar"))) == {
        "timestamp_ms": to_milliseconds(NOW),
        "value": 12.5,
    }


@pytest.mark.parametrize(
    ("value", "payload"),
    [
        (12.5, b"12.5"),
        (True, b"true"),
        (-(2**63), b"-9223372036854775808"),
        ("Grüße", "Grüße".encode()),
        (NOW, STAMP.encode()),
    ],
)
def test_raw_is_the_bare_value(value: Value, payload: bytes) -> None:
    assert encode(Preset.RAW, GOOD._replace(value=value), unit_part("bar")) == payload


@pytest.mark.parametrize("preset", [Preset.UMH, Preset.RAW])
@pytest.mark.parametrize("name", ["Setpoints/Mode", "Monitoring/Temperature/Front"])
def test_presets_without_quality_empty_the_topic_while_not_good(preset: Preset, name: str) -> None:
    assert encode(preset, VALUES[name]) == EMPTY


@pytest.mark.parametrize("name", sorted(VALUES))
def test_one_of_everything_survives_the_journey(name: str) -> None:
    value = VALUES[name]
    found = decoded(value)["value"]
    assert found == (rfc3339(value.value) if isinstance(value.value, datetime) else value.value)
    assert type(found) is type(value.value) or isinstance(value.value, datetime)


def test_text_that_is_not_unicode_is_mended_and_still_published() -> None:
    assert decoded(GOOD._replace(value="a\ud800b"))["value"] == "a?b"


@given(
    value=st.one_of(
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(-(2**63), 2**63 - 1),
        st.booleans(),
        st.text(),
    ),
    milliseconds=st.integers(0, 4_000_000_000_000),
)
def test_value_and_time_come_back_exactly(value: Value, milliseconds: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    document = json.loads(encode(Preset.VTQ, DataValue(value, StatusCode.Good, moment, moment)))
    assert document["value"] == value
    assert type(document["value"]) is type(value)
    assert to_milliseconds(datetime.fromisoformat(document["timestamp"])) == milliseconds


def test_stopped_value_is_uncertain_and_kept() -> None:
    later = NOW + timedelta(minutes=1)
    value = stopped(GOOD, later)
    assert value is not None
    document = decoded(value)
    assert (document["value"], document["quality"], document["timestamp"]) == (12.5, "Uncertain", STAMP)
    assert document["since"] == "2026-03-04T05:07:07.089Z"
    assert "stopped" in str(document["reason"])


def test_stopped_value_that_had_none_stays_as_it_is() -> None:
    assert stopped(VALUES["Monitoring/Temperature/Front"], NOW) is None


def test_online_says_since_when() -> None:
    assert json.loads(online(True, NOW)) == {"online": True, "timestamp": STAMP}


def test_event_carries_everything() -> None:
    happened = Event("id-1", "SourceLost", NOW, "The panel is gone", 500, "panel", "extruder-1", {"retries": 3})
    assert json.loads(event(happened)) == {
        "id": "id-1",
        "kind": "SourceLost",
        "timestamp": STAMP,
        "severity": 500,
        "message": "The panel is gone",
        "source": "panel",
        "machine": "extruder-1",
        "data": {"retries": 3},
    }


def described(name: str) -> dict[str, object]:
    one = machine(Slots())
    topics = {tag.slot: f"x/{tag.name}" for tag in one.tags}
    document = json.loads(
        meta(one, topics, lambda tag: {"opcua": f"ns=2;s={tag.id}", "sparkplug": f"g/e/d {tag.name}"})
    )
    tag: dict[str, object] = document["tags"][name]
    return tag


def test_meta_describes_an_analog_tag_completely() -> None:
    assert described("Monitoring/Pressure") == {
        "topic": "x/Monitoring/Pressure",
        "type": "Double",
        "writable": False,
        "unit": "bar",
        "ucum": "bar",
        "unece": "BAR",
        "range": [0, 350],
        "label": {"en": "Melt pressure", "de": "Massedruck"},
        "description": "Pressure before the die",
        "history": True,
        "limits": {"high": 250, "high_high": 300},
        "node_id": "ns=2;s=extruder-1.Monitoring.Pressure",
        "metric": "g/e/d Monitoring/Pressure",
    }


def test_meta_describes_an_enumeration() -> None:
    tag = described("Setpoints/Mode")
    assert tag["enum"] == {"Standby": 0, "Heat": 1, "Extrude": 2}
    assert tag["writable"] is True
    assert "unit" not in tag


def test_meta_names_the_machine() -> None:
    one = machine(Slots())
    document = json.loads(meta(one, {tag.slot: "" for tag in one.tags}, lambda _: {}))
    assert document["machine"] == "extruder-1"
    assert document["place"] == {"enterprise": "acme", "site": "essen", "area": "extrusion", "line": "line-1"}
    assert document["identification"]["SerialNumber"] == "57922"
    assert set(document["tags"]) == {tag.name for tag in one.tags}


def test_meta_hash_changes_with_anything_and_only_then() -> None:
    one = machine(Slots())
    topics = {tag.slot: tag.name for tag in one.tags}

    def fingerprint(changed: object = None, **changes: object) -> object:
        return json.loads(meta(replace(one, **changes), topics, lambda _: {}))["hash"]  # type: ignore[arg-type]

    assert fingerprint() == fingerprint()
    assert fingerprint() != fingerprint(label="Other")
    assert fingerprint() != json.loads(meta(one, topics, lambda _: {"opcua": "ns=2;s=x"}))["hash"]


def test_bridge_has_a_description_too() -> None:
    one = bridge_machine(Slots())
    assert orjson.loads(meta(one, {tag.slot: "" for tag in one.tags}, lambda _: {}))["machine"] == "Bridge"
