"""Benchmark mode: every value changes in every event, and the shape is the machine's own."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from bridge.sim.qitech import Panel, SimulatedMachine
from tests.sim.qitech.client import connected, until
from tests.sim.qitech.recorded import shape


def _leaves(values: Any) -> list[float]:
    if isinstance(values, dict):
        return [leaf for inner in values.values() for leaf in _leaves(inner)]
    return [values]


@pytest.mark.parametrize(("slug", "machine"), [("mock", 7), ("extruder_v1", 4), ("winder_v1", 2), ("laser_v1", 6)])
async def test_every_value_changes_in_every_event(slug: str, machine: int) -> None:
    async with (
        Panel([SimulatedMachine(slug, 3)], release="3.0", load=True) as panel,
        connected(panel, f"/machine/1/{machine}/3") as client,
    ):
        await until(lambda: client.names().count("LiveValuesEvent") >= 4)
        events = [p["data"][1] for p in client.packets if p["type"] == 2 and p["data"][1]["name"] == "LiveValuesEvent"]
    plain = panel.machine(slug, 3).shown_live_values()
    assert list(events[0]["data"]) == list(plain or {})
    for before, after in itertools.pairwise(events):
        assert all(a != b for a, b in zip(_leaves(before["data"]), _leaves(after["data"]), strict=True))
        assert 0 <= after["ts"] - before["ts"] < 1000
    assert len(set(_leaves(events[0]["data"]))) == len(_leaves(events[0]["data"]))


async def test_state_is_served_as_ever() -> None:
    async with (
        Panel([SimulatedMachine("extruder_v1", 3)], load=True) as loaded,
        Panel([SimulatedMachine("extruder_v1", 3)]) as plain,
        connected(loaded, "/machine/1/4/3") as one,
        connected(plain, "/machine/1/4/3") as other,
    ):
        states = [(await client.event("StateEvent"))["data"] for client in (one, other)]
    assert shape(states[0]) == shape(states[1])


async def test_hundred_machines_are_all_heard() -> None:
    machines = [SimulatedMachine("mock", serial) for serial in range(100)]
    namespaces = [f"/machine/1/7/{serial}" for serial in range(100)]
    async with Panel(machines, release="3.0", load=True) as panel, connected(panel, *namespaces) as client:
        await until(lambda: {p["nsp"] for p in client.packets if p["type"] == 2} == set(namespaces))
        assert panel.backend.emitter.dropped == 0
