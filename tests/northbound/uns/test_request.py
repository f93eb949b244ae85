"""Payloads on command topics: commands, or refusals that say what was expected."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.hub.slots import Slots
from bridge.model.command import Argument, Command, Door, Outcome, Result, Role
from bridge.model.status import StatusCode
from bridge.model.value import DataType, to_milliseconds
from bridge.northbound.uns.commandable import Commandable, commandables
from bridge.northbound.uns.request import KEYS, MAX_PAYLOAD, Arrival, read
from tests.one_of_everything import NOW, machine

OFFERED = commandables(machine(Slots()))
SPEED, MODE, ENABLED = (OFFERED[f"Setpoints/{name}"] for name in ("ScrewSpeed", "Mode", "Enabled"))
STANDBY, PID = OFFERED["Standby"], OFFERED["SetPid/Front"]
STEP = Commandable(
    "StartStep",
    "m.Commands.StartStep",
    (
        Argument("Part", DataType.String),
        Argument("Who", DataType.String, person=True),
        Argument("Count", DataType.Int32, default=1),
    ),
)
FREE = Commandable("Free", "m.Commands.Free", STEP.arguments[1:])
TEXT = Commandable("Say", "m.Commands.Say", (Argument("Text", DataType.String),))
WHEN = Commandable("Wait", "m.Commands.Wait", (Argument("Until", DataType.DateTime),))
ARRIVAL = Arrival(Role.OPERATOR, NOW, "unique")


def asked(payload: bytes | dict[str, Any], of: Commandable = SPEED, **arrival: Any) -> Command:
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    found = read(content, of, ARRIVAL._replace(**arrival)).content
    assert isinstance(found, Command), found
    return found


def refused(payload: bytes | dict[str, Any], of: Commandable = SPEED) -> Outcome:
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    found = read(content, of, ARRIVAL).content
    assert isinstance(found, Outcome), found
    assert (found.result, found.status) == (Result.REJECTED, StatusCode.BadInvalidArgument)
    return found


@pytest.mark.parametrize(
    ("payload", "of", "arguments"),
    [
        (b"30", SPEED, {"value": 30}),
        (b" 30.5\n", SPEED, {"value": 30.5}),
        (b'{"value": 30}', SPEED, {"value": 30}),
        (b'{"args": {"value": 30}}', SPEED, {"value": 30}),
        (b"true", ENABLED, {"value": True}),
        (b"Heat", MODE, {"value": "Heat"}),
        (b'"Heat"', MODE, {"value": "Heat"}),
        (b"1", MODE, {"value": 1}),
        (b"30,5", SPEED, {"value": "30,5"}),
        (b"NaN", SPEED, {"value": "NaN"}),
        (b"true", STANDBY, {}),
        (b"{}", STANDBY, {}),
        (b'{"value": true}', STANDBY, {}),
        (b'{"args": {"Kp": 2, "Zone": "back"}}', PID, {"Kp": 2, "Zone": "back"}),
        (b'{"params": {"Kp": 2, "Zone": "back"}}', PID, {"Kp": 2, "Zone": "back"}),
        (b'{"args": {"Part": "P1"}}', STEP, {"Part": "P1"}),
        (b'{"args": {"Part": "P1", "Who": "0451", "Count": 2}}', STEP, {"Part": "P1", "Who": "0451", "Count": 2}),
        (b"true", FREE, {}),
        (b"{}", FREE, {}),
        (b"30", TEXT, {"Text": "30"}),
        (b"true", TEXT, {"Text": "true"}),
        (b'"30"', TEXT, {"Text": "30"}),
        ("Grüße".encode(), TEXT, {"Text": "Grüße"}),
        (b'{"value": "2026-03-04T06:06:07.0899+01:00"}', WHEN, {"Until": NOW}),
        (b"1772600767089", WHEN, {"Until": NOW}),
    ],
)
def test_payload_is_a_command_with_these_arguments(payload: bytes, of: Commandable, arguments: dict[str, Any]) -> None:
    command = asked(payload, of)
    assert command.arguments == arguments
    assert command.target == of.target
    assert [type(value) for value in command.arguments.values()] == [type(value) for value in arguments.values()]


@pytest.mark.parametrize(
    ("payload", "of", "told"),
    [
        (b"", STANDBY, "The payload is empty"),
        (b" \n", STANDBY, "The payload is empty"),
        ("\u00a0".encode(), SPEED, "The payload is empty"),
        (b'{"value": 30', SPEED, "is not JSON"),
        (b"[30]", SPEED, "a JSON list"),
        (b"null", SPEED, "is null"),
        (b"\xff\xfe", SPEED, "neither JSON nor text"),
        (b"9" * (MAX_PAYLOAD + 1), SPEED, "at most 65536 are read"),
        (b"{}", SPEED, "value is missing"),
        (b'{"vlaue": 30}', SPEED, "Unknown key 'vlaue'; did you mean \"value\""),
        (b'{"status": "ok", "id": 1}', STANDBY, "Unknown key 'status'"),
        (b'{"value": null}', SPEED, "value is null"),
        (b'{"value": [30]}', SPEED, "value is a list"),
        (b'{"value": {"a": 1}}', SPEED, "value is an object"),
        (b'{"value": 1, "args": {"value": 1}}', SPEED, "cannot be given both"),
        (b'{"args": 30}', SPEED, '"args" is not a JSON object'),
        (b'{"args": {"Kp": 2}}', PID, "Zone is missing"),
        (b"{}", PID, "Kp, Zone are missing"),
        (b'{"args": {"Who": "0451"}}', STEP, "Part is missing"),
        (b'{"args": {"Part": "P1", "Count": null}}', STEP, "Count is null"),
        (b'{"args": {"Kp": 2, "Zone": "back", "Ki": 1}}', PID, "Unknown argument 'Ki'"),
        (b"2", PID, "One value is not what this command takes"),
        (b"false", STANDBY, "One value is not what this command takes"),
        (b'{"value": 30, "id": ""}', SPEED, '"id" is neither'),
        (b'{"value": 30, "id": true}', SPEED, '"id" is neither'),
        (b'{"value": 30, "user": 7}', SPEED, '"user" is not a text'),
        (b'{"value": 30, "timestamp": "2026-03-04T05:06:07"}', SPEED, "has no time zone"),
        (b'{"value": 30, "timestamp": "now"}', SPEED, '"timestamp" is not a time'),
        (b'{"value": 30, "expires": -1}', SPEED, '"expires" is not a time'),
        (b'{"value": 30, "expires": "0001-01-01T00:00:00+14:00"}', SPEED, '"expires" is not a time'),
        (b"tomorrow", WHEN, "Until is not a time"),
    ],
)
def test_payload_that_is_none_is_told_what_was_expected(payload: bytes, of: Commandable, told: str) -> None:
    sentence = refused(payload, of).sentence
    assert told in sentence
    assert f"Expected {of.expected}; for example {of.example}" in sentence


@pytest.mark.parametrize("one", [*OFFERED.values(), TEXT, WHEN], ids=lambda one: one.name)
def test_every_example_is_understood(one: Commandable) -> None:
    assert asked(one.example.encode(), one).arguments.keys() == {argument.name for argument in one.arguments}


def test_command_says_door_role_and_that_it_was_retained() -> None:
    command = asked(b"30", role=Role.ENGINEER, retained=True)
    assert (command.door, command.role, command.retained) == (Door.UNS, Role.ENGINEER, True)


@pytest.mark.parametrize(
    ("document", "properties", "expected"),
    [
        ({"id": "4711"}, (), "uns:-:4711"),
        ({"id": 4711}, (), "uns:-:4711"),
        ({"id": "4711"}, (("client_id", "hmi-1"),), "uns:hmi-1:4711"),
        ({"id": "c"}, (("client_id", "a:b"),), "uns:a%3Ab:c"),
        ({}, (("client_id", "hmi-1"),), "uns:unique"),
    ],
)
def test_id_is_the_client_s_own(document: dict[str, Any], properties: Any, expected: str) -> None:
    assert asked({"value": 30, **document}, user_properties=properties).id == expected


def test_refusal_carries_the_id_where_it_could_be_read() -> None:
    assert read(b'{"id": 4711}', SPEED, ARRIVAL).identifier == 4711
    assert read(b"{", SPEED, ARRIVAL).identifier is None


@pytest.mark.parametrize(
    ("document", "properties", "requester"),
    [
        ({}, (), "uns"),
        ({"user": "maria"}, (), "claimed:maria"),
        ({"user": "maria"}, (("user", "eva"),), "claimed:eva"),
        ({}, (("client_id", "hmi-1"),), "claimed:hmi-1"),
        ({"user": "ma\x00ria\n" + "a" * 100}, (), "claimed:maria" + "a" * 59),
    ],
)
def test_requester_is_only_claimed(document: dict[str, Any], properties: Any, requester: str) -> None:
    assert asked({"value": 30, **document}, user_properties=properties).requester == requester


@pytest.mark.parametrize(
    ("document", "expiry_s", "issued", "expires"),
    [
        ({}, None, 0, 30),
        ({"timestamp": -20}, None, -20, 10),
        ({"timestamp": -31}, None, -31, -1),
        ({"timestamp": 600}, None, 0, 30),
        ({"expires": 5}, None, 0, 5),
        ({"expires": 600}, None, 0, 30),
        ({"timestamp": -10, "expires": -5}, None, -10, -5),
        ({}, 3, 0, 3),
        ({}, 2**32 - 1, 0, 30),
    ],
)
@pytest.mark.parametrize("as_text", [True, False])
def test_commands_never_come_from_the_past(
    document: dict[str, int], expiry_s: int | None, issued: int, expires: int, as_text: bool
) -> None:
    moments = {key: NOW + timedelta(seconds=seconds) for key, seconds in document.items()}
    written = {key: one.isoformat() if as_text else to_milliseconds(one) for key, one in moments.items()}
    command = asked({"value": 30, **written}, expiry_s=expiry_s)
    assert command.issued == NOW + timedelta(seconds=issued)
    assert command.expires == NOW + timedelta(seconds=expires)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.sampled_from((*KEYS, "x")), JSON, max_size=4)
PAYLOADS = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=30).map(str.encode),
    (JSON | DOCUMENTS).map(lambda x: json.dumps(x).encode()),
)


@given(PAYLOADS, st.sampled_from([*OFFERED.values(), TEXT, WHEN]))
def test_any_bytes_are_a_command_or_a_refusal(payload: bytes, one: Commandable) -> None:
    content = read(payload, one, ARRIVAL).content
    if isinstance(content, Outcome):
        assert content.status.is_bad
        assert "for example" in content.sentence
        return
    assert content.expires <= NOW + timedelta(seconds=30)
    assert content.issued <= NOW
    assert content.issued.tzinfo is UTC
    assert content.arguments.keys() == {argument.name for argument in one.arguments}
    assert all(isinstance(value, bool | int | float | str | datetime) for value in content.arguments.values())
