"""What must never reach a panel, in whatever clothes it comes."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model.action import Action
from bridge.model.command import Result
from bridge.sim.qitech.catalogue import MACHINE_IDS, Release
from bridge.sim.qitech.machines import build
from bridge.sim.qitech.serde import Ignored
from bridge.sources.qitech.catalogue import MACHINE_TYPES
from bridge.sources.qitech.config import QitechConfig
from bridge.sources.qitech.denied import DENIED, encoded
from bridge.sources.qitech.source import QitechSource
from bridge.transport.clock import SystemClock


def nobody(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"sent: {request.url}")


def executor_of(**keys: Any) -> Any:
    config = QitechConfig.model_validate({"type": "qitech", "url": "http://127.0.0.1:9", "writes": True} | keys)
    return QitechSource("panel", config, SystemClock(), transport=httpx.MockTransport(nobody)).executor


EXECUTOR = executor_of()


def refusal(payload: Any, machine: str = "1/4/57922") -> str | None:
    found: str | None = EXECUTOR.validate(Action("panel", machine, payload))
    return found


NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
IDENT = {"machine_identification": {"vendor": 1, "machine": 6}, "serial": 1}


def shapes(name: str, content: Any) -> list[Any]:
    """Every shape serde takes a variant in, and some that it might."""
    return [
        name,
        {name: content},
        {name: None},
        {"action": name},
        {"action": name, "value": content},
        {"type": name, "payload": content},
        {"type": name, "payload": content, "note": 1},
        [name, content],
        [{name: content}],
        {"SetMode": {name: content}},
        {"action": "SetMode", "value": name},
    ]


MACHINES = st.sampled_from([f"1/{number}/1" for number in MACHINE_TYPES])


@given(machine=MACHINES, name=st.sampled_from(sorted(DENIED)), content=JSON, shape=st.integers(0, 10))
def test_denied_names_are_denied_to_every_machine_in_every_shape(
    machine: str, name: str, content: Any, shape: int
) -> None:
    assert refusal(shapes(name, content)[shape], machine) is not None


@given(machine=MACHINES, rate=NUMBERS.filter(lambda rate: rate <= 0) | st.none() | st.booleans() | st.text(max_size=3))
def test_measurement_rate_must_be_above_0(machine: str, rate: Any) -> None:
    assert refusal({"measurement_rate_hz": rate}, machine) is not None
    assert refusal({"SetRate": {"measurement_rate_hz": rate}}, machine) is not None
    assert refusal([rate], machine) is not None
    assert refusal({"measurement_rate_hz": rate, "more": 1}, machine) is not None


@given(index=st.integers().filter(lambda index: not 0 <= index <= 7) | st.floats() | st.booleans() | st.none())
def test_output_beyond_the_last_is_denied(index: Any) -> None:
    for content in ({"index": index, "value": True}, [index, True]):
        for payload in shapes("SetOutput", content)[1:6]:
            assert refusal(payload, "1/65/1") is not None


@pytest.mark.parametrize(
    ("machine", "payload"),
    [
        ("1/4/57922", {"SetInverterTargetRpm": 30}),
        ("1/4/57922", {"StopPressurePidAutoTune": {}}),
        ("1/2/57923", "GotoTraverseHome"),
        ("1/2/57923", {"SetMode": "Standby"}),
        ("1/65/1", {"action": "SetOutput", "value": {"index": 7, "value": True}}),
        ("1/52/1", {"action": "SetOutput", "value": {"index": 9, "on": True}}),
        ("1/17/1", {"type": "SetMotorOn", "payload": True}),
        ("1/53/1", {"measurement_rate_hz": 10}),
    ],
)
def test_what_is_harmless_is_let_pass(machine: str, payload: Any) -> None:
    assert refusal(payload, machine) is None


@pytest.mark.parametrize(
    "payload",
    [
        {"SetInverterTargetRpm": math.nan},
        {"SetInverterTargetRpm": math.inf},
        {"SetPressurePidSettings": {"kp": 1.0, "ki": -math.inf, "kd": 0}},
        {"SetInverterTargetRpm": datetime(2026, 1, 1, tzinfo=UTC)},
        {"SendMessage": b"bytes"},
        {"SendMessage": "half a pair \ud800"},
        {"SetX": {1, 2}},
        {"SetX": object()},
        None,
        True,
        5,
        [],
        {},
        {"SetX": 1, "SetY": 2},
    ],
)
def test_what_is_no_mutation_in_json_is_denied(payload: Any) -> None:
    assert refusal(payload) is not None


def test_circle_and_abyss_are_denied() -> None:
    circle: dict[str, Any] = {}
    circle["SetX"] = circle
    abyss: Any = "SetPullerTargetDiameter"
    for _ in range(100_000):
        abyss = [abyss]
    assert refusal(circle) is not None
    assert refusal({"SetX": abyss}) is not None


@pytest.mark.parametrize(
    "machine", ["", "1/4", "1/4/70000", "2/4/1", "1/999/1", "1/04/1", "1/4/-1", "extruder_v1/57922", "1/4/57922\n"]
)
def test_machine_that_is_none_is_denied(machine: str) -> None:
    assert refusal({"SetMode": "Standby"}, machine) is not None


def test_action_of_another_source_is_denied() -> None:
    assert "not for panel" in EXECUTOR.validate(Action("other", "1/4/1", {"SetMode": "Standby"}))


@pytest.mark.parametrize("name", sorted(DENIED))
async def test_denied_is_not_sent_even_if_nobody_validated(name: str) -> None:
    hazards = ["heat", "motion", "power", "protection", "loses_data", "loses_tension"]
    executor = executor_of(allow_hazards=hazards)
    for payload in shapes(name, IDENT):
        outcome = await executor.execute(Action("panel", "1/2/57923", payload), float("inf"))
        assert outcome.result is Result.REJECTED


# -- against the machines themselves

RELEASES = [Release.parse(text) for text in ("2.15", "2.17", "3.0")]
BUILT = [
    build(slug, 1, release, 1)
    for release in RELEASES
    for slug in MACHINE_IDS
    if release.has_slug(slug) and (release.major == 2 or slug in release.routed)
]
CONTENTS = (
    JSON
    | st.sampled_from(["Standby", "Hold", "Wind", "FillingBuffer", "EmptyingBuffer", IDENT])
    | st.fixed_dictionaries({"index": st.integers(-2, 12), "value": st.booleans() | NUMBERS, "on": st.booleans()})
    | st.fixed_dictionaries({"measurement_rate_hz": st.integers(-3, 3)})
)


@given(data=st.data())
def test_no_mutation_that_passes_kills_any_machine(data: st.DataObject) -> None:
    machine = data.draw(st.sampled_from(BUILT))
    names = [*machine.handlers(), "measurement_rate_hz", "SetBufferMode", "SetOutput"]
    content = data.draw(CONTENTS)
    payload = data.draw(st.sampled_from([*shapes(data.draw(st.sampled_from(names)), content), content]))
    machine.boot()
    if refusal(payload, f"1/{machine.identity.machine}/1") is None:
        with suppress(Ignored):
            machine.mutate(orjson.loads(encoded(payload)))
