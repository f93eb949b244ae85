"""What the panel's bodies mean; the recorded ones come from the vendor's own server."""

from __future__ import annotations

import math
from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ProtocolError
from bridge.sources.qitech import payloads
from bridge.sources.qitech.identity import Identity
from bridge.sources.qitech.socketio import decode
from tests.sources.qitech.recorded import body, received_binaries, record

WIKI = [Identity(1, 7, 57922), Identity(1, 4, 57922), Identity(1, 2, 57922), Identity(1, 10, 48879)]


def test_list_of_the_vendors_server() -> None:
    machines = payloads.parse_list(body("machine_list"))
    assert [machine.identity for machine in machines] == WIKI
    assert [machine.slug for machine in machines] == ["mock", "extruder_v1", "winder_v1", "wago_power_v1"]
    assert {machine.error for machine in machines} == {None}


def test_machines_event_of_the_vendors_server_names_the_same_machines() -> None:
    events = [payloads.parse_event(decode(frame).data) for frame in received_binaries("socketio_connect_main")[1:]]
    event = next(event for event in events if event.name == "MachinesEvent")
    assert {machine.identity for machine in payloads.parse_machines_event(event.data)} <= set(WIKI)
    assert payloads.parse_machines_event(event.data)


@pytest.mark.parametrize("machine", ["extruder_v1", "winder_v1", "wago_power_v1", "mock"])
def test_snapshot_of_the_vendors_server(machine: str) -> None:
    recorded = record(f"machine_get_{machine}")["body"]
    snapshot = payloads.parse_snapshot(body(f"machine_get_{machine}"))
    assert (snapshot.state, snapshot.live_values) == (recorded["state"], recorded["live_values"])


def test_channel_that_is_null_is_none() -> None:
    snapshot = payloads.parse_snapshot(body("machine_get_wago_power_v1_before_first_read"))
    assert snapshot.live_values is None
    assert snapshot.state == {"is_default_state": True, "mode": "Off"}


@pytest.mark.parametrize("machine", ["extruder_v1", "winder_v1", "wago_power_v1", "mock"])
def test_events_of_the_vendors_server(machine: str) -> None:
    frames = received_binaries(f"socketio_machine_{machine}")[1:]
    events = [payloads.parse_event(decode(frame).data) for frame in frames]
    assert len(events) >= 2
    assert all(
        isinstance(event.data, dict) and event.ts is not None and event.ts > 1_700_000_000_000 for event in events
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("error_unknown_serial", "Unknown machine!"),
        ("error_unrouted_slug_extruder_v2", ""),
        ("v1_mutate_unknown_machine", "[server::rest::handlers::machine_mutation::_post_machine_mutate]"),
        ("error_serial_not_a_number", "Invalid URL: Cannot parse `abc` to a `u16`"),
    ],
)
def test_the_panels_own_words_are_kept(name: str, words: str) -> None:
    said = payloads.vendor_words(body(name))
    assert said.startswith(words)
    assert bool(said) is bool(words)


def test_fields_we_do_not_know_and_entries_without_identity_are_passed_over() -> None:
    unique = {"machine_identification": {"vendor": 1, "machine": 4, "new": 1}, "serial": 5}
    entries = [{"legacy_id": unique, "colour": "blue"}, {"slug": "lost"}, 7, {"legacy_id": unique | {"serial": 70000}}]
    machines = payloads.parse_list(orjson.dumps({"machines": entries, "page": 1}))
    assert machines == (payloads.ListedMachine(Identity(1, 4, 5)),)


def test_error_that_is_no_text_is_kept_as_text() -> None:
    unique = {"machine_identification": {"vendor": 1, "machine": 4}, "serial": 5}
    (machine,) = payloads.parse_list(orjson.dumps({"machines": [{"legacy_id": unique, "error": {"Bus": 3}}]}))
    assert machine.error == "{'Bus': 3}"


@pytest.mark.parametrize("garbage", [b"", b"<html>", b"[]", b"null", b'{"machines": 3}', b"{", b"\xff"])
def test_what_is_no_list_is_a_protocol_error(garbage: bytes) -> None:
    with pytest.raises(ProtocolError):
        payloads.parse_list(garbage)


@pytest.mark.parametrize("garbage", [b"", b"<html>", b"[]", b"null", b"{}", b'{"state": 3}', b'{"live_values": []}'])
def test_what_is_no_snapshot_is_a_protocol_error(garbage: bytes) -> None:
    with pytest.raises(ProtocolError):
        payloads.parse_snapshot(garbage)


@pytest.mark.parametrize(
    "garbage", [None, [], ["event"], ["other", {"name": "StateEvent"}], ["event", 3], ["event", {"name": 3}]]
)
def test_what_is_no_event_is_a_protocol_error(garbage: Any) -> None:
    with pytest.raises(ProtocolError):
        payloads.parse_event(garbage)


@pytest.mark.parametrize("ts", [None, "now", -1, 2**64, True, math.nan, math.inf, []])
def test_stamp_that_is_none_is_left_out(ts: Any) -> None:
    assert payloads.parse_event(["event", {"name": "StateEvent", "data": {}, "ts": ts}]).ts is None


def test_nan_stays_nan_for_the_mapping_to_judge() -> None:
    packed = msgpack.packb(["event", {"name": "LiveValuesEvent", "data": {"pressure": math.nan}, "ts": 1}])
    event = payloads.parse_event(msgpack.unpackb(packed))
    assert math.isnan(event.data["pressure"])


def test_long_garbage_is_shown_short() -> None:
    with pytest.raises(ProtocolError) as caught:
        payloads.parse_list(b"x" * 100_000)
    assert len(str(caught.value)) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["machines", "name", "ts", "state", "x"]), inner),
)


@given(JSON)
def test_any_event_is_read_or_refused(data: Any) -> None:
    for read in (payloads.parse_event, payloads.parse_machines_event):
        try:
            read(["event", data] if read is payloads.parse_event else data)
        except ProtocolError:
            continue


@given(st.binary() | JSON.map(lambda data: orjson.dumps(data, default=str) if _fits(data) else b""))
def test_any_body_is_read_or_refused(data: bytes) -> None:
    payloads.vendor_words(data)
    for read in (payloads.parse_list, payloads.parse_snapshot):
        try:
            read(data)
        except ProtocolError:
            continue


def _fits(data: Any) -> bool:
    try:
        orjson.dumps(data)
    except TypeError:
        return False
    return True
