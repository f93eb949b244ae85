"""DCMDs as commands: what is asked for, in which order, and what is passed over with an answer."""

from __future__ import annotations

import struct
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ProtocolError
from bridge.hub.slots import Slots
from bridge.model.command import Door, Result, Role
from bridge.model.status import StatusCode
from bridge.model.value import to_milliseconds
from bridge.northbound.sparkplug import codec, dcmd
from bridge.northbound.sparkplug.codec import MetricType
from bridge.northbound.sparkplug.codec.wire import length_delimited, varint
from bridge.northbound.sparkplug.command_metric import DOOR, CommandMetrics
from tests.one_of_everything import NOW, machine

MACHINE = machine(Slots())
METRICS = CommandMetrics(MACHINE)
ENVELOPE = dcmd.Envelope(Role.OPERATOR, NOW, "unique")
NOW_MS = to_milliseconds(NOW)
MODE, SPEED, ENABLED = "Setpoints/Mode", "Setpoints/ScrewSpeed", "Setpoints/Enabled"
PID = "Commands/SetPid/Front"

FIELD = {
    MetricType.Int8: 10,
    MetricType.Int32: 10,
    MetricType.UInt32: 10,
    MetricType.Int64: 11,
    MetricType.Float: 12,
    MetricType.Double: 13,
    MetricType.Boolean: 14,
    MetricType.String: 15,
}


def metric(name: str | None, value: Any, kind: MetricType | None = None, **more: Any) -> codec.Metric:
    if kind is None:
        kind = {bool: MetricType.Boolean, int: MetricType.Int64, float: MetricType.Double, str: MetricType.String}[
            type(value)
        ]
    return codec.Metric(name=name, **{"datatype": kind, "value_field": FIELD[kind], "value": value, **more})


def read(*metrics: codec.Metric, envelope: dcmd.Envelope = ENVELOPE, **more: Any) -> dcmd.Reading:
    return dcmd.read(MACHINE, METRICS, codec.Payload(metrics=metrics, **more), envelope)


def asked(reading: dcmd.Reading) -> list[tuple[str, dict[str, Any]]]:
    return [(request.command.target, dict(request.command.arguments)) for request in reading.requests]


def test_set_points_become_one_command_each_in_order() -> None:
    reading = read(metric(SPEED, 30.0), metric(MODE, 1), metric(ENABLED, False))
    assert asked(reading) == [
        ("extruder-1.Setpoints.ScrewSpeed", {"value": 30.0}),
        ("extruder-1.Setpoints.Mode", {"value": 1}),
        ("extruder-1.Setpoints.Enabled", {"value": False}),
    ]
    assert reading.refused == ()
    assert len({request.command.id for request in reading.requests}) == 3


def test_command_says_door_role_and_times() -> None:
    (request,) = read(metric(SPEED, 30.0), envelope=ENVELOPE._replace(role=Role.ENGINEER, retained=True)).requests
    command = request.command
    assert (command.door, command.role, command.retained) == (Door.SPARKPLUG, Role.ENGINEER, True)
    assert (command.issued, command.expires) == (NOW, NOW + timedelta(seconds=30))
    assert request.subject == DOOR


@pytest.mark.parametrize("order", [1, -1])
def test_arguments_and_execute_of_one_message_are_one_command(order: int) -> None:
    metrics = (metric(f"{PID}/Args/Kp", 2.0), metric(f"{PID}/Args/Zone", "back"), metric(f"{PID}/Execute", True))
    reading = read(*metrics[::order])
    assert asked(reading) == [("extruder-1.Commands.SetPid.Front", {"Kp": 2.0, "Zone": "back"})]
    assert reading.requests[0].subject == "SetPid/Front"
    assert reading.refused == ()


def test_command_stands_where_its_execute_stands() -> None:
    reading = read(
        metric(f"{PID}/Args/Kp", 2.0),
        metric(SPEED, 30.0),
        metric(f"{PID}/Execute", True),
        metric("Commands/Standby/Execute", True),
    )
    assert [target.split(".", 1)[1] for target, _ in asked(reading)] == [
        "Setpoints.ScrewSpeed",
        "Commands.SetPid.Front",
        "Commands.Standby",
    ]


def test_arguments_without_execute_are_answered_and_do_nothing() -> None:
    for more in ((), (metric(f"{PID}/Execute", False),)):
        reading = read(metric(f"{PID}/Args/Kp", 2.0), *more)
        assert reading.requests == ()
        ((subject, outcome),) = reading.refused
        assert subject == "SetPid/Front"
        assert "same DCMD" in outcome.sentence


def test_arguments_of_an_earlier_message_are_forgotten() -> None:
    read(metric(f"{PID}/Args/Kp", 2.0))
    assert asked(read(metric(f"{PID}/Execute", True))) == [("extruder-1.Commands.SetPid.Front", {})]


def test_execute_false_alone_asks_for_nothing() -> None:
    assert read(metric("Commands/Standby/Execute", False)) == dcmd.Reading((), ())


def test_execute_twice_is_taken_once() -> None:
    reading = read(metric("Commands/Standby/Execute", True), metric("Commands/Standby/Execute", True))
    assert len(reading.requests) == len(reading.refused) == 1


@pytest.mark.parametrize(
    ("wrong", "subject", "status", "told"),
    [
        (metric("Setpoints/ScrewSped", 1.0), DOOR, StatusCode.BadNotFound, 'did you mean "Setpoints/ScrewSpeed"'),
        (metric(None, 1.0, alias=7), DOOR, StatusCode.BadNotFound, "no alias 7"),
        (metric(None, 1.0), DOOR, StatusCode.BadNotFound, "without a name"),
        (metric(SPEED, 1.0, is_null=True), DOOR, StatusCode.BadTypeMismatch, "null"),
        (metric(SPEED, None, MetricType.Double, value_field=None), DOOR, StatusCode.BadTypeMismatch, "null"),
        (metric(SPEED, 1.0, is_historical=True), DOOR, StatusCode.BadTypeMismatch, "historical"),
        (metric(SPEED, b"x", MetricType.Double, value_field=17), DOOR, StatusCode.BadTypeMismatch, "number"),
        (metric("Commands/Standby/Result", "ok"), DOOR, StatusCode.BadNotWritable, "cannot be written"),
        (metric("Commands/Standby/Execute", "yes"), "Standby", StatusCode.BadTypeMismatch, "takes true"),
    ],
)
def test_what_is_no_command_is_answered_and_the_others_go_on(
    wrong: codec.Metric, subject: str, status: StatusCode, told: str
) -> None:
    reading = read(wrong, metric(MODE, 1))
    assert asked(reading) == [("extruder-1.Setpoints.Mode", {"value": 1})]
    ((answered, outcome),) = reading.refused
    assert (answered, outcome.result, outcome.status) == (subject, Result.REJECTED, status)
    assert told in outcome.sentence


def test_one_bad_argument_refuses_its_command_only() -> None:
    reading = read(
        metric(f"{PID}/Args/Kp", 2.0, is_null=True),
        metric(f"{PID}/Args/Zone", "front"),
        metric(f"{PID}/Execute", True),
        metric("Commands/Standby/Execute", True),
    )
    assert asked(reading) == [("extruder-1.Commands.Standby", {})]
    ((subject, outcome),) = reading.refused
    assert (subject, outcome.sentence) == ("SetPid/Front", "Argument Kp: null is not a value")


def test_tag_that_is_not_writable_is_left_to_the_desk() -> None:
    assert asked(read(metric("Monitoring/Pressure", 1.0))) == [("extruder-1.Monitoring.Pressure", {"value": 1.0})]


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        (metric(MODE, 2, MetricType.UInt32), 2),
        (metric(MODE, 2, MetricType.UInt32, value_field=11), 2),
        (metric(MODE, 2, MetricType.Int64, datatype=None), 2),
        (metric(MODE, "Heat"), "Heat"),
        (metric(SPEED, 30, MetricType.Int32), 30),
        (metric(SPEED, 30, MetricType.Int32, datatype=None), 30),
        (metric(SPEED, 30, MetricType.Double, value_field=10), 30),
        (metric(SPEED, 30.5, MetricType.Float), 30.5),
        (metric("Monitoring/Small", 0xFFFFFFFB, MetricType.Int32), -5),
        (metric("Monitoring/Small", 0xFFFFFFFB, MetricType.Int32, value_field=11), -5),
        (metric("Monitoring/Small", 2**64 - 5, MetricType.Int32, value_field=11), -5),
        (metric("Monitoring/Small", 0xFB, MetricType.Int8, value_field=10), -5),
        (metric("Monitoring/Small", 0xFFFFFFFB, MetricType.Int8, value_field=10), -5),
        (metric("Monitoring/Count", 2**64 - 5, MetricType.Int64), -5),
        (metric("Monitoring/Changed", NOW_MS, MetricType.Int64), NOW),
        (metric("Monitoring/Changed", NOW_MS, MetricType.Int64, datatype=MetricType.DateTime), NOW),
    ],
)
def test_value_is_read_as_whichever_encoder_meant_it(sent: codec.Metric, value: object) -> None:
    ((_, arguments),) = asked(read(sent))
    assert arguments == {"value": value}
    assert type(arguments["value"]) is type(value)


def test_number_that_does_not_fit_its_type_is_never_wrapped() -> None:
    ((_, arguments),) = asked(read(metric("Monitoring/Small", 2**32 + 5, MetricType.Int32, value_field=11)))
    assert arguments == {"value": 2**32 + 5}, "the desk says that it is out of range"


@pytest.mark.parametrize("kind", [None, MetricType.Int64, MetricType.Double])
def test_number_that_may_mean_two_things_is_refused(kind: MetricType | None) -> None:
    """-5, or four billions, of an encoder that took the wrong field; with a type of 32 bits it is clear."""
    for name in (SPEED, "Monitoring/Count"):
        sent = metric(name, 0xFFFFFFFB, MetricType.Int32, datatype=kind)
        ((_, outcome),) = read(sent).refused
        assert "may be a negative number" in outcome.sentence
        clear = [metric(name, 0xFFFFFFFB, one) for one in (MetricType.Int32, MetricType.UInt32)]
        assert [arguments["value"] for _, arguments in asked(read(*clear))] == [-5, 0xFFFFFFFB]


def test_message_of_too_many_metrics_is_refused_as_a_whole() -> None:
    ((subject, outcome),) = read(*[metric(SPEED, 1.0)] * (dcmd.MAX_METRICS + 1)).refused
    assert (subject, str(dcmd.MAX_METRICS) in outcome.sentence) == (DOOR, True)
    assert len(read(*[metric(SPEED, 1.0)] * dcmd.MAX_METRICS).requests) == dcmd.MAX_METRICS


def test_similar_names_are_looked_for_a_few_times_only() -> None:
    sentences = [outcome.sentence for _, outcome in read(*[metric("Setpoints/ScrewSped", 1.0)] * 100).refused]
    assert sum("did you mean" in one for one in sentences) == dcmd.HINTS


def test_payload_timestamp_says_when_it_was_issued() -> None:
    (request,) = read(metric(SPEED, 1.0), timestamp=NOW_MS - 31_000).requests
    assert request.command.expires == NOW - timedelta(seconds=1)


@pytest.mark.parametrize("timestamp", [NOW_MS + 10_000, 2**64 - 1])
def test_clock_ahead_of_ours_extends_nothing(timestamp: int) -> None:
    (request,) = read(metric(SPEED, 1.0), timestamp=timestamp).requests
    assert request.command.expires == NOW + timedelta(seconds=30)


def test_same_message_again_is_the_same_command() -> None:
    first, again = (read(metric(SPEED, 1.0), timestamp=NOW_MS).requests[0].command.id for _ in range(2))
    assert first == again
    others = [
        read(metric(SPEED, 1.0), timestamp=NOW_MS - 1),
        read(metric(SPEED, 2.0), timestamp=NOW_MS),
        dcmd.read(
            replace(MACHINE, id="x", _by_name={}), METRICS, codec.Payload(NOW_MS, (metric(SPEED, 1.0),)), ENVELOPE
        ),
    ]
    assert first not in [other.requests[0].command.id for other in others]


def test_message_without_timestamp_is_a_command_of_its_own() -> None:
    ids = [
        read(metric(SPEED, 1.0), envelope=ENVELOPE._replace(unique=unique)).requests[0].command.id for unique in "ab"
    ]
    assert ids == ["sparkplug:a:0", "sparkplug:b:0"]


def _known_metric(name: str, body: bytes) -> bytes:
    return length_delimited(b"\x12", length_delimited(b"\x0a", name.encode()) + body)


NAMES = [tag.name for tag in MACHINE.tags] + [*METRICS.names, "Nothing"]
VALUES = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda n: b"\x50" + varint(n)),
    st.integers(0, 2**64 - 1).map(lambda n: b"\x58" + varint(n)),
    st.floats(width=32).map(lambda x: b"\x65" + struct.pack("<f", x)),
    st.floats().map(lambda x: b"\x69" + struct.pack("<d", x)),
    st.booleans().map(lambda x: b"\x70\x01" if x else b"\x70\x00"),
    st.binary(max_size=9).map(lambda x: length_delimited(b"\x7a", x)),
    st.just(b"\x38\x01"),
    st.just(b""),
)
METRIC = st.builds(
    lambda name, kind, value: _known_metric(name, kind + value),
    st.sampled_from(NAMES),
    st.one_of(st.just(b""), st.integers(0, 40).map(lambda n: b"\x20" + varint(n))),
    VALUES,
)
PAYLOADS = st.one_of(
    st.binary(max_size=200),
    st.lists(st.one_of(METRIC, st.binary(max_size=8)), max_size=8).map(b"".join),
)


@given(PAYLOADS)
def test_any_bytes_are_commands_or_counted_errors(data: bytes) -> None:
    try:
        payload = codec.decode(data)
    except ProtocolError:
        return
    reading = dcmd.read(MACHINE, METRICS, payload, ENVELOPE)
    assert len(reading.requests) <= len(payload.metrics)
    assert all(answer.outcome.status.is_bad and answer.outcome.sentence for answer in reading.refused)
    spoken = [one for one in payload.metrics if METRICS.part(one.name or "") is None]
    told = [one for one in reading.requests if one.subject == DOOR] + [one for one in reading.refused if one[0] == DOOR]
    assert len(told) >= len(spoken), "each set point, and each unknown metric, is a command or an answer"
    for one in reading.requests:
        assert one.command.expires <= NOW + timedelta(seconds=30)
        assert None not in one.command.arguments.values()
