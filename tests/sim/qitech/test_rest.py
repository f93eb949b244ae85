"""What REST does beyond the recorded answers: both write ways, the traps of 3.x, requests that kill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from bridge.sim.qitech import RELEASES, Panel, SimulatedMachine
from tests.sim.qitech.client import until
from tests.sim.qitech.rest import get, identity, mutate, shown

EXTRUDER = SimulatedMachine("extruder_v1", 57922)
EXTRUDER_PATH = "/api/v2/machine/extruder_v1/57922"


@pytest.fixture
async def old() -> AsyncIterator[Panel]:
    async with Panel([EXTRUDER, SimulatedMachine("extruder_v2", 7)], release="2.17") as panel:
        yield panel


@pytest.fixture
async def new() -> AsyncIterator[Panel]:
    async with Panel([EXTRUDER], release="3.0") as panel:
        panel.restart_delay_s = 0.1
        yield panel


async def test_set_point_comes_back_through_the_panels_units(old: Panel) -> None:
    [answer] = await mutate(old, 4, 57922, {"SetInverterTargetRpm": 12.3})
    assert answer.json() == {"success": True, "error": None}
    state = (await shown(old, "extruder_v1", 57922))["state"]
    assert state["screw_state"]["target_rpm"] == 12.300000000000002


async def test_list_of_mutations_is_applied_in_order_before_a_later_get(old: Panel) -> None:
    async with httpx.AsyncClient(base_url=old.url) as client:
        answer = await client.post(EXTRUDER_PATH, json=[{"SetInverterTargetRpm": n} for n in range(1, 21)])
        assert (answer.status_code, answer.text) == (200, "null")
        state = (await client.get(EXTRUDER_PATH)).json()["state"]
    assert state["screw_state"]["target_rpm"] == pytest.approx(20)


@pytest.mark.parametrize(
    "mutation",
    [
        {"SetExtruderMode": "heat"},
        {"SetInverterTargetRpm": "12"},
        {"SetInverterTargetRpm": True},
        {"SetInverterRegulation": 1},
        {"SetInverterTargetRpm": 1, "SetExtruderMode": "Heat"},
        {"SetMiddleHeatingTargetTemperature": 99},
        {"SetPressurePidSettings": {"ki": 1, "kp": 2}},
        {"NoSuch": 1},
        "SetInverterTargetRpm",
        None,
        [],
    ],
)
async def test_invalid_mutation_is_answered_200_and_changes_nothing(old: Panel, mutation: object) -> None:
    before = (await shown(old, "extruder_v1", 57922))["state"]
    [answer] = await mutate(old, 4, 57922, mutation)
    assert answer.status_code == 200
    assert (await shown(old, "extruder_v1", 57922))["state"] == before


async def test_extruder_v2_has_no_v2_route_but_takes_v1_mutations(old: Panel) -> None:
    answer = await get(old, "/api/v2/machine/extruder_v2/7")
    assert (answer.status_code, answer.content) == (404, b"")
    await mutate(old, 22, 7, {"SetExtruderMode": "Heat"})
    await until(lambda: old.machine("extruder_v2", 7).state()["mode_state"]["mode"] == "Heat")


@pytest.mark.parametrize("release", RELEASES)
async def test_probes_tell_the_generations_apart(release: str) -> None:
    async with Panel([EXTRUDER], release=release) as panel:
        assert (await get(panel, "/api/v2/machine")).status_code == 200
        metrics = await get(panel, "/api/v1/metrics/process/metrics")
    assert metrics.status_code == (404 if release == "3.0" else 200)


async def test_machine_get_on_3x_is_404_and_kills_the_process(new: Panel) -> None:
    answer = await get(new, EXTRUDER_PATH)
    assert (answer.status_code, answer.json()) == (404, {"error_not_found": "Unknown machine!"})
    assert new.forbidden_requests == 1
    await until(lambda: len(new.crashes) == 1)


async def test_machine_post_on_3x_applies_the_first_mutation_and_says_404(new: Panel) -> None:
    async with httpx.AsyncClient(base_url=new.url) as client:
        answer = await client.post(EXTRUDER_PATH, json=[{"SetExtruderMode": "Heat"}, {"SetInverterTargetRpm": 5}])
    assert (answer.status_code, answer.json()) == (404, {"error_not_found": "Unknown machine!"})
    assert new.forbidden_requests == 1
    machine = new.machine("extruder_v1", 57922)
    await until(lambda: machine.state()["mode_state"]["mode"] == "Heat")
    assert machine.state()["screw_state"]["target_rpm"] == 0.0


async def test_writing_identifications_is_counted_as_forbidden(old: Panel) -> None:
    async with httpx.AsyncClient(base_url=old.url) as client:
        assert (await client.post("/api/v1/write_machine_device_identification", json={})).status_code == 200
    assert old.forbidden_requests == 1


async def _cancelled_get(panel: Panel) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(panel.url.rsplit(":", 1)[1]))
    writer.write(f"GET {EXTRUDER_PATH} HTTP/1.1\r\nHost: panel\r\n\r\n".encode())
    await until(lambda: len(panel.journal) == 1)
    writer.transport.abort()
    del reader


async def test_get_whose_client_goes_away_kills_a_2x_process(old: Panel) -> None:
    old.settings.reply_window_s = 0.05
    await _cancelled_get(old)
    await until(lambda: len(old.crashes) == 1)
    assert "Failed to send values" in old.crashes[0]


async def test_list_whose_client_goes_away_kills_nobody(old: Panel) -> None:
    async with httpx.AsyncClient(base_url=old.url) as client:
        for _ in range(3):
            await client.get("/api/v2/machine")
    assert old.running
    assert old.crashes == []


async def test_slow_answer_reaches_a_patient_client(old: Panel) -> None:
    old.faults.slow(0.05)
    assert (await shown(old, "extruder_v1", 57922))["state"]["mode_state"] == {"mode": "Standby"}
    assert (await get(old, "/api/v2/machine")).status_code == 200


async def test_unknown_machine_of_a_v1_mutation_is_500(old: Panel) -> None:
    [answer] = await mutate(old, 4, 123, {"SetInverterTargetRpm": 1})
    assert answer.status_code == 500
    assert answer.json()["error"].endswith("Machine api_mutate error No Machine found with id:  1/4/123")


async def test_third_mutation_waits_without_answer_on_a_stalled_3x_queue(new: Panel) -> None:
    new.faults.stall_queue("extruder_v1", 57922)
    await mutate(new, 4, 57922, {"SetInverterTargetRpm": 1}, {"SetInverterTargetRpm": 2})
    body = {"machine_identification_unique": identity(4, 57922), "data": {"SetInverterTargetRpm": 3}}
    async with httpx.AsyncClient(base_url=new.url) as client:
        third = asyncio.create_task(client.post("/api/v1/machine/mutate", json=body))
        done, _ = await asyncio.wait([third], timeout=0.05)
        assert not done
        new.faults.stall_queue("extruder_v1", 57922, stalled=False)
        assert (await third).status_code == 200
    machine = new.machine("extruder_v1", 57922)
    await until(lambda: machine.state()["screw_state"]["target_rpm"] == pytest.approx(3))


async def test_2x_queue_takes_everything(old: Panel) -> None:
    old.faults.stall_queue("extruder_v1", 57922)
    answers = await mutate(old, 4, 57922, *({"SetInverterTargetRpm": n} for n in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5


@pytest.mark.parametrize(("release", "dies"), [("2.17", True), ("3.0", False)])
async def test_listing_a_machine_without_slug_panics(release: str, dies: bool) -> None:
    async with Panel([SimulatedMachine("wago_serial", 1)], release=release) as panel:
        with pytest.raises(httpx.TransportError):
            await get(panel, "/api/v2/machine")
        assert panel.running is not dies


async def test_journal_remembers_method_path_and_body(old: Panel) -> None:
    await get(old, "/api/v2/machine?x=1")
    await mutate(old, 4, 57922, {"SetInverterTargetRpm": 1})
    assert [(r.method, r.path) for r in old.journal] == [
        ("GET", "/api/v2/machine?x=1"),
        ("POST", "/api/v1/machine/mutate"),
    ]
    assert b"SetInverterTargetRpm" in old.journal[1].body
