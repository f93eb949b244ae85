"""Dying and coming back, the door, the faults and their control port."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from bridge.errors import AddressTaken
from bridge.sim.clock import VirtualClock as RunningClock
from bridge.sim.qitech import DEFAULT_MACHINES, FAULTS, Panel, SimulatedMachine
from bridge.transport.clock import VirtualClock
from tests.sim.qitech.client import connected, until
from tests.sim.qitech.rest import get, mutate, shown

MACHINES = [SimulatedMachine("extruder_v1", 7), SimulatedMachine("laser_v1", 1), SimulatedMachine("mock", 9)]
EXTRUDER = "/machine/1/4/7"


@pytest.fixture
def clock() -> RunningClock:
    """Of the panel, for what takes its time until the test says so."""
    return RunningClock()


@pytest.fixture(params=["2.17", "3.0"])
async def panel(request: pytest.FixtureRequest, clock: RunningClock) -> AsyncIterator[Panel]:
    async with Panel(MACHINES, release=request.param, control_port=0, clock=clock) as panel:
        yield panel


@pytest.fixture
async def old(clock: RunningClock) -> AsyncIterator[Panel]:
    async with Panel(MACHINES, clock=clock) as panel:
        yield panel


async def _refused(panel: Panel) -> bool:
    """Connections are refused; one that slips in while the port closes is reset, as on the real one."""
    for _ in range(20):
        try:
            await get(panel, "/api/v2/machine")
        except httpx.ConnectError:
            return True
        except httpx.TransportError:
            continue
        return False
    return False


# -- dying


async def test_restart_drops_connections_refuses_and_comes_back_with_defaults(
    panel: Panel, clock: RunningClock
) -> None:
    await mutate(panel, 4, 7, {"SetInverterTargetRpm": 12})
    async with connected(panel, "/main", EXTRUDER) as client:
        await client.event("StateEvent", where=lambda state: state["screw_state"]["target_rpm"] > 11)
        panel.faults.restart(3600)
        await asyncio.wait_for(client.closed.wait(), 30)
        assert client.socket.close_code == 1006
    assert await _refused(panel)
    clock.advance(3600)
    await until(lambda: panel.running)
    await until(lambda: len(panel.backend.machines) == 3)
    async with connected(panel, EXTRUDER) as client:
        state = await client.event("StateEvent")
    assert state["data"]["screw_state"]["target_rpm"] == 0.0
    assert panel.crashes == []


async def test_deadly_mutation_is_answered_200_before_the_process_dies(panel: Panel) -> None:
    async with Panel([SimulatedMachine("winder_v1", 3)], release=str(panel.release)) as winder:
        winder.restart_delay_s = 0.05
        [answer] = await mutate(winder, 2, 3, {"SetPullerTargetDiameter": 1.75})
        assert answer.json() == {"success": True, "error": None}
        await until(lambda: len(winder.crashes) == 1)
        await until(lambda: winder.running)


async def test_panicking_process_answers_no_machine(old: Panel) -> None:
    old.backend.panic("for the test")
    with pytest.raises(httpx.TransportError):
        await shown(old, "extruder_v1", 7)
    assert old.crashes == ["for the test"]


async def test_crash_takes_ten_seconds_of_the_panels_clock() -> None:
    clock = VirtualClock()
    async with Panel(MACHINES, clock=clock) as panel:
        panel.faults.crash("panic")
        await clock.advance(9.9)
        assert not panel.running
        await clock.advance(0.2)
        assert panel.running
        assert panel.crashes == ["panic"]


async def test_list_grows_after_a_restart_of_2x_before_machines_are_announced(old: Panel, clock: RunningClock) -> None:
    old.settings.boot_s = 3600
    old.faults.restart(0.0)
    await until(lambda: old.running)
    async with connected(old, "/main") as client:
        assert len((await get(old, "/api/v2/machine")).json()["machines"]) == 1
        clock.advance(3600)
        await client.event("MachinesEvent", where=lambda data: len(data["machines"]) == 3)
        assert client.names()[0] == "EthercatInterfaceDiscoveryEvent"
    assert len((await get(old, "/api/v2/machine")).json()["machines"]) == 3


async def test_down_stays_down_until_up(panel: Panel) -> None:
    panel.faults.down()
    await until(lambda: not panel.running)
    assert await _refused(panel)
    panel.faults.up()
    await until(lambda: panel.running)
    assert (await get(panel, "/api/v2/machine")).status_code == 200


async def test_panel_can_be_entered_again_and_leaves_nothing() -> None:
    panel = Panel(MACHINES, tls=True, control_port=0)
    before = asyncio.all_tasks()
    for _ in range(2):
        async with panel:
            authority = panel.ca_file
            assert authority is not None
            assert authority.exists()
        assert not authority.exists()
    assert asyncio.all_tasks() == before


async def test_taken_port_is_named() -> None:
    async with Panel(MACHINES) as first:
        port = int(first.url.rsplit(":", 1)[1])
        with pytest.raises(AddressTaken, match=str(port)):
            async with Panel(MACHINES, port=port):
                pass


async def test_two_machines_of_one_identity_are_refused() -> None:
    with pytest.raises(ValueError, match="same id"):
        Panel([SimulatedMachine("mock", 1), SimulatedMachine("mock", 1)])


async def test_default_line_serves() -> None:
    async with Panel() as panel:
        machines = (await get(panel, "/api/v2/machine")).json()["machines"]
    assert [(m["slug"], m["serial"]) for m in machines] == [(m.slug, m.serial) for m in DEFAULT_MACHINES]


# -- the door


async def test_without_the_right_password_everything_is_401() -> None:
    async with Panel(MACHINES, username="machine") as panel:
        password = panel.password or ""
        assert len(password) == 24
        assert "+" in password
        assert "/" in password
        for auth in (None, ("machine", "wrong"), ("admin", password)):
            answer = await get(panel, "/api/v2/machine", auth=auth)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Basic")
        assert (await get(panel, "/socket.io/?EIO=4&transport=polling")).status_code == 401
        assert (await get(panel, "/api/v2/machine", auth=("machine", password))).status_code == 200
        fresh = panel.faults.rotate_password()
        assert (await get(panel, "/api/v2/machine", auth=("machine", password))).status_code == 401
        assert (await get(panel, "/api/v2/machine", auth=("machine", fresh))).status_code == 200


async def test_caddy_answers_502_while_the_process_is_down(clock: RunningClock) -> None:
    async with Panel(MACHINES, username="machine", password="geheim", clock=clock) as panel:
        panel.faults.restart(3600)
        answer = await get(panel, "/api/v2/machine", auth=("machine", "geheim"))
        assert (answer.status_code, answer.content) == (502, b"")
        assert (await get(panel, "/api/v2/machine")).status_code == 401
        clock.advance(3600)
        await until(lambda: panel.running)
        assert (await get(panel, "/api/v2/machine", auth=("machine", "geheim"))).status_code == 200


async def test_request_in_flight_becomes_502_when_the_process_dies() -> None:
    async with Panel(MACHINES, username="machine", password="geheim") as panel:
        panel.settings.reply_window_s = 1.0
        request = asyncio.create_task(get(panel, "/api/v2/machine/extruder_v1/7", auth=("machine", "geheim")))
        await until(lambda: len(panel.journal) == 1)
        panel.faults.crash()
        assert (await request).status_code == 502


async def test_tls_is_trusted_with_the_root_and_only_with_it() -> None:
    async with Panel(MACHINES, tls=True) as panel:
        context = ssl.create_default_context(cafile=str(panel.ca_file))
        assert panel.url.startswith("https://")
        assert (await get(panel, "/api/v2/machine", verify=context)).status_code == 200
        with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
            await get(panel, "/api/v2/machine")
        async with connected(panel, "/main", ssl=context) as client:
            await client.event("MachinesEvent")


# -- faults


async def test_silence_lasts_until_somebody_connects(panel: Panel) -> None:
    async with connected(panel, EXTRUDER, "/machine/1/7/9") as client:
        await client.event("LiveValuesEvent", where=lambda live: "pressure" in live)
        panel.faults.silence("extruder_v1", 7)
        after = len(client.packets)
        await client.event("LiveValuesEvent", after, where=lambda live: "amplitude1" in live)
        assert not [p for p in client.packets[after:] if p["nsp"] == EXTRUDER]
        async with connected(panel, EXTRUDER):
            await client.event("StateEvent", after)


async def test_dropped_state_event_is_the_next_one_only(panel: Panel) -> None:
    async with connected(panel, EXTRUDER) as client:
        await client.event("StateEvent")
        panel.faults.drop_states(1)
        after = len(client.packets)
        await mutate(panel, 4, 7, {"SetInverterTargetRpm": 1}, {"SetInverterTargetRpm": 2})
        state = await client.event("StateEvent", after)
        assert state["data"]["screw_state"]["target_rpm"] == pytest.approx(2)


async def test_nan_is_null_in_rest_and_nan_on_the_stream(old: Panel) -> None:
    old.faults.nan("extruder_v1", 7, "live_values.motor_status.screw_rpm")
    old.faults.null("extruder_v1", 7, "live_values.pressure")
    old.faults.value("extruder_v1", 7, "state.mode_state.mode", "Turbo")
    answer = await shown(old, "extruder_v1", 7)
    assert answer["live_values"]["motor_status"]["screw_rpm"] is None
    assert answer["live_values"]["pressure"] is None
    assert answer["state"]["mode_state"]["mode"] == "Turbo"
    async with connected(old, EXTRUDER) as client:
        rpm = (await client.event("LiveValuesEvent"))["data"]["motor_status"]["screw_rpm"]
    assert rpm != rpm
    old.faults.heal("extruder_v1", 7)
    assert (await shown(old, "extruder_v1", 7))["live_values"]["motor_status"]["screw_rpm"] == 0.0


async def test_wiring_error_shows_in_rest(old: Panel) -> None:
    old.faults.wiring_error("extruder_v1", 7, "nozzle")
    old.faults.wiring_error("extruder_v1", 7, "pressure")
    answer = await shown(old, "extruder_v1", 7)
    assert answer["state"]["heating_states"]["nozzle"]["wiring_error"] is True
    assert answer["state"]["pressure_state"]["wiring_error"] is True
    assert answer["live_values"]["nozzle_temperature"] == 0.0
    old.faults.wiring_error("extruder_v1", 7, "nozzle", broken=False)
    assert (await shown(old, "extruder_v1", 7))["live_values"]["nozzle_temperature"] > 10
    for slug, serial, zone in (("extruder_v1", 7, "roof"), ("mock", 9, "front"), ("extruder_v1", 8, "front")):
        with pytest.raises(ValueError, match="no "):
            old.faults.wiring_error(slug, serial, zone)


async def test_unplugged_machine_vanishes_and_a_plugged_one_stays_deaf_to_old_subscribers(panel: Panel) -> None:
    namespace = "/machine/1/6/1"
    async with connected(panel, "/main", "/machine/1/7/9") as client:
        await client.event("LiveValuesEvent")
        panel.faults.unplug("laser_v1", 1)
        await client.event("MachinesEvent", where=lambda data: len(data["machines"]) == 2)
        assert len((await get(panel, "/api/v2/machine")).json()["machines"]) == 2
        [answer] = await mutate(panel, 6, 1, {"SetTargetDiameter": 2})
        assert answer.status_code == (500 if panel.release.major == 2 else 200)
        async with connected(panel, namespace, "/machine/1/7/9") as early:
            panel.faults.plug("laser_v1", 1)
            after = len(early.packets)
            await early.event("LiveValuesEvent", after, where=lambda live: "amplitude1" in live)
            assert not [p for p in early.packets if p["type"] == 2 and p["nsp"] == namespace]
            async with connected(panel, namespace) as late:
                await late.event("StateEvent")
                await early.event("StateEvent", where=lambda state: "laser_state" in state)
    assert panel.machine("laser_v1", 1).state()["laser_state"]["target_diameter"] == 1.75


async def test_unplugged_machine_is_still_gone_after_a_restart(old: Panel) -> None:
    old.faults.unplug("laser_v1", 1)
    old.faults.restart(0.0)
    await until(lambda: old.running)
    await until(lambda: len(old.backend.machines) == 2)


async def test_machine_with_an_error_is_listed_but_mute(old: Panel) -> None:
    async with connected(old, "/main", EXTRUDER) as client:
        await client.event("LiveValuesEvent")
        old.faults.machine_error("extruder_v1", 7, "No inverter")
        data = (await client.event("MachinesEvent", where=lambda data: data["machines"][0]["error"] is not None))[
            "data"
        ]
    assert data["machines"][0]["error"] == "No inverter"
    assert (await get(old, "/api/v2/machine")).json()["machines"][0]["error"] == "No inverter"
    answer = await get(old, "/api/v2/machine/extruder_v1/7")
    assert (answer.status_code, answer.json()) == (404, {"error_not_found": "No inverter"})
    [taken] = await mutate(old, 4, 7, {"SetInverterTargetRpm": 1})
    assert taken.status_code == 200
    old.faults.machine_error("extruder_v1", 7)
    assert (await shown(old, "extruder_v1", 7))["state"]["screw_state"]["target_rpm"] == 0.0


async def test_ignored_mutations_are_answered_200(old: Panel) -> None:
    old.faults.ignore_mutations("extruder_v1", 7)
    [answer] = await mutate(old, 4, 7, {"SetInverterTargetRpm": 1})
    assert answer.status_code == 200
    assert (await shown(old, "extruder_v1", 7))["state"]["screw_state"]["target_rpm"] == 0.0


async def test_a_forgotten_machine_is_listed_and_its_mutations_find_nothing(old: Panel) -> None:
    old.faults.forget("extruder_v1", 7)
    [answer] = await mutate(old, 4, 7, {"SetInverterTargetRpm": 1})
    assert answer.status_code == 500
    assert answer.json()["error"].endswith("Machine api_mutate error No Machine found with id:  1/4/7")
    assert (await shown(old, "extruder_v1", 7))["state"]["screw_state"]["target_rpm"] == 0.0


async def test_clock_offset_and_jump_show_in_the_stamps(panel: Panel) -> None:
    async with connected(panel, EXTRUDER) as client:
        first = (await client.event("LiveValuesEvent"))["ts"]
        panel.faults.clock_offset(3600)
        after = len(client.packets)
        await client.event("LiveValuesEvent", after + 1)
        panel.faults.clock_jump(-7200)
        behind = len(client.packets)
        ahead = client.packets[behind - 1]["data"][1]["ts"]
        late = (await client.event("LiveValuesEvent", behind + 1))["ts"]
    assert 3590_000 < ahead - first < 3610_000
    assert -3610_000 < late - first < -3590_000


async def test_closed_queue_silences_all_until_a_restart(panel: Panel) -> None:
    async with connected(panel, EXTRUDER) as client:
        await client.event("LiveValuesEvent")
        panel.faults.silence_all()
    async with connected(panel, EXTRUDER, "/main") as late:
        assert late.names() == []
    panel.faults.restart(0.0)
    await until(lambda: panel.running and len(panel.backend.machines) == 3)
    async with connected(panel, EXTRUDER) as client:
        await client.event("LiveValuesEvent")


# -- the control port


async def _control(panel: Panel, method: str, path: str, **options: Any) -> httpx.Response:
    assert panel.control is not None
    async with httpx.AsyncClient() as client:
        return await client.request(method, f"{panel.control.url}/{path}", **options)


async def test_control_port_tells_every_fault_and_its_arguments(panel: Panel) -> None:
    told = {fault["name"]: fault for fault in (await _control(panel, "GET", "faults")).json()["faults"]}
    assert told.keys() == FAULTS.keys()
    assert all(fault["description"] for fault in told.values())
    assert told["unplug"]["arguments"] == {"slug": True, "serial": True}


async def test_control_port_switches_a_fault(panel: Panel) -> None:
    answer = await _control(panel, "POST", "faults/unplug", json={"slug": "laser_v1", "serial": 1})
    assert (answer.status_code, answer.json()) == (200, {"result": None})
    assert len(panel.backend.machines) == 2
    await _control(panel, "POST", "faults/down")
    assert not panel.running
    status = (await _control(panel, "GET", "status")).json()
    assert (status["running"], status["url"]) == (False, panel.url)
    assert [m["plugged"] for m in status["machines"]] == [True, False, True]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "faults/explode", b"", 404),
        ("POST", "faults/unplug", b"{}", 400),
        ("POST", "faults/unplug", b"[1]", 400),
        ("POST", "faults/unplug", b"{", 400),
        ("POST", "faults/unplug", b'{"slug":"nix","serial":1}', 400),
        ("POST", "faults/slow", b'{"seconds":"x"}', 400),
        ("GET", "nix", b"", 404),
        ("DELETE", "faults", b"", 404),
    ],
)
async def test_control_port_names_what_is_wrong(panel: Panel, method: str, path: str, body: bytes, status: int) -> None:
    answer = await _control(panel, method, path, content=body)
    assert answer.status_code == status
    assert answer.json()["error"]


async def test_journal_is_readable_from_outside(panel: Panel) -> None:
    await mutate(panel, 4, 7, {"SetInverterTargetRpm": 1})
    [request] = (await _control(panel, "GET", "journal")).json()["requests"]
    assert (request["method"], request["path"]) == ("POST", "/api/v1/machine/mutate")
    assert "SetInverterTargetRpm" in request["body"]


async def test_vendors_port_knows_no_switches(panel: Panel) -> None:
    answer = await get(panel, "/_sim/faults")
    assert (answer.status_code, answer.content) == (404, b"")
