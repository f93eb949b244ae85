"""Socket.IO: replay, rates, pings, and the ways in which one client silences all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from bridge.sim.clock import VirtualClock
from bridge.sim.qitech import Panel, SimulatedMachine, emitter
from tests.sim.qitech.client import Client, connected, until
from tests.sim.qitech.rest import get, mutate

MACHINES = [
    SimulatedMachine("extruder_v1", 57922),
    SimulatedMachine("winder_v1", 4),
    SimulatedMachine("laser_v1", 1),
    SimulatedMachine("mock", 9),
]
EXTRUDER = "/machine/1/4/57922"
WINDER = "/machine/1/2/4"
LASER = "/machine/1/6/1"
MOCK = "/machine/1/7/9"


@pytest.fixture(params=["2.17", "3.0"])
async def panel(request: pytest.FixtureRequest) -> AsyncIterator[Panel]:
    async with Panel(MACHINES, release=request.param) as panel:
        panel.restart_delay_s = 0.1
        yield panel


async def _stays_silent(client: Client, seconds: float = 0.2) -> bool:
    """No event for six periods."""
    before = len(client.packets)
    try:
        await until(lambda: len(client.packets) > before, seconds)
    except TimeoutError:
        return True
    return False


async def test_main_replays_the_machines(panel: Panel) -> None:
    async with connected(panel, "/main") as client:
        machines = (await client.event("MachinesEvent"))["data"]["machines"]
        devices = await client.event("EthercatDevicesEvent")
        await client.event("EthercatInterfaceDiscoveryEvent")
    assert [m["machine_identification_unique"]["machine_identification"]["machine"] for m in machines] == [4, 2, 6, 7]
    assert {m["error"] for m in machines} == {None}
    assert list(devices["data"]) == ["Done"]


async def test_only_3x_tells_the_ethercat_state(panel: Panel) -> None:
    async with connected(panel, "/main", MOCK) as client:
        await client.event("LiveValuesEvent")
        assert ("EthercatStateEvent" in client.names()) is (panel.release.major == 3)


@pytest.mark.parametrize(("rate_hz", "period_ms"), [(30.0, 33.3), (200.0, 5.0)])
@pytest.mark.parametrize("release", ["2.17", "3.0"])
async def test_subscriber_gets_state_then_live_values_at_the_rate(
    release: str, rate_hz: float, period_ms: float
) -> None:
    clock = VirtualClock(speed=0)
    async with (
        Panel(MACHINES, release=release, live_rate_hz=rate_hz, clock=clock) as panel,
        connected(panel, EXTRUDER) as client,
    ):
        while client.names().count("LiveValuesEvent") < 16:
            clock.advance(0.001)
            await asyncio.sleep(0.001)
        stamps = [p["data"][1]["ts"] for p in client.packets if p["type"] == 2][1:]
    assert client.names()[0] == "StateEvent"
    assert client.names().count("StateEvent") == 1
    assert (stamps[15] - stamps[0]) / 15 == pytest.approx(period_ms, abs=1.5)


async def test_new_subscriber_makes_all_get_the_state(panel: Panel) -> None:
    async with connected(panel, EXTRUDER) as first:
        await first.event("LiveValuesEvent")
        after = len(first.packets)
        async with connected(panel, EXTRUDER):
            await first.event("StateEvent", after)


async def test_mutation_is_announced_to_all(panel: Panel) -> None:
    async with connected(panel, EXTRUDER) as first, connected(panel, EXTRUDER) as second:
        await mutate(panel, 4, 57922, {"SetFrontHeatingTargetTemperature": 180})
        for client in (first, second):
            await client.event(
                "StateEvent", where=lambda state: state["heating_states"]["front"]["target_temperature"] == 180.0
            )


@pytest.mark.parametrize("how", ["disconnect packet", "close", "abort"])
async def test_one_who_leaves_silences_everybody_until_somebody_connects(panel: Panel, how: str) -> None:
    async with connected(panel, EXTRUDER, WINDER) as stays:
        await stays.event("LiveValuesEvent")
        async with connected(panel, EXTRUDER) as leaves:
            await leaves.event("LiveValuesEvent")
            if how == "disconnect packet":
                await leaves.send(1, EXTRUDER)
            elif how == "abort":
                leaves.abort()
            else:
                await leaves.socket.close()
            await until(lambda: panel.machine("extruder_v1", 57922).namespace is None)
        others = [p for p in stays.packets if p["nsp"] == WINDER]
        heard = sum(p["nsp"] == EXTRUDER for p in stays.packets)
        await mutate(panel, 4, 57922, {"SetInverterTargetRpm": 3})
        await until(lambda: sum(p["nsp"] == WINDER for p in stays.packets) > len(others) + 4)
        assert sum(p["nsp"] == EXTRUDER for p in stays.packets) == heard
        after = len(stays.packets)
        async with connected(panel, EXTRUDER):
            await stays.event("StateEvent", after)
            await stays.event("LiveValuesEvent", after, where=lambda live: "pressure" in live)


async def test_leaving_main_harms_nobody(panel: Panel) -> None:
    async with connected(panel, MOCK) as stays:
        async with connected(panel, "/main") as leaves:
            await leaves.event("MachinesEvent")
        after = len(stays.packets)
        await stays.event("LiveValuesEvent", after)


async def test_rejoining_on_the_same_socket_revives_everybody(panel: Panel) -> None:
    async with connected(panel, MOCK) as stays, connected(panel, MOCK) as rejoins:
        await rejoins.send(1, MOCK)
        await rejoins.send(0, MOCK)
        await rejoins.packet(lambda p: p["type"] == 0, after=1)
        after = len(stays.packets)
        await stays.event("LiveValuesEvent", after)


async def test_leaving_a_laser_closes_the_whole_queue_on_2x_only(panel: Panel) -> None:
    async with connected(panel, MOCK) as other:
        async with connected(panel, LASER) as laser:
            await laser.event("LiveValuesEvent")
        await until(lambda: panel.machine("laser_v1", 1).namespace is None)
        after = len(other.packets)
        if panel.release.major == 3:
            await other.event("LiveValuesEvent", after)
            return
        assert await _stays_silent(other)
        async with connected(panel, MOCK, "/main") as late:
            assert await _stays_silent(late)
        assert panel.running


async def test_second_leave_of_a_laser_kills_a_2x_process() -> None:
    async with Panel(MACHINES, release="2.17") as panel:
        async with connected(panel, LASER), connected(panel, LASER):
            pass
        await until(lambda: len(panel.crashes) == 1)


async def test_ping_goes_out_at_once_and_again_after_the_interval(panel: Panel) -> None:
    panel.engine.ping_interval_s = 0.05
    async with connected(panel, "/main") as client:
        await until(lambda: client.texts.count("2") >= 4)
    assert client.texts[0].startswith('0{"sid":"')


async def test_client_that_answers_no_ping_is_dropped(panel: Panel) -> None:
    panel.engine.ping_timeout_s = 0.05
    async with connected(panel, answering=False) as client:
        await asyncio.wait_for(client.closed.wait(), 30)
        assert client.socket.close_code == 1006


async def test_client_that_joins_nothing_is_dropped(panel: Panel) -> None:
    panel.engine.connect_timeout_s = 0.05
    async with connected(panel) as client:
        await asyncio.wait_for(client.closed.wait(), 30)


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emitter, "SOCKET_PACKETS", 8)


def _flood(panel: Panel, events: int = 400) -> None:
    """More than the kernel and the panel buffer for one client: 24 MB."""
    for _ in range(events):
        panel.backend.emit(panel.machine("extruder_v1", 57922), "Flood", "x" * 60_000)


@pytest.mark.usefixtures("small_buffers")
async def test_slow_client_stalls_everybody_until_it_is_gone() -> None:
    async with (
        Panel(MACHINES, release="2.17") as panel,
        connected(panel, MOCK) as healthy,
        connected(panel, EXTRUDER, listening=False) as slow,
    ):
        await healthy.event("LiveValuesEvent")
        _flood(panel)
        assert await _stays_silent(healthy)
        slow.abort()
        after = len(healthy.packets)
        await healthy.event("LiveValuesEvent", after)


@pytest.mark.usefixtures("small_buffers")
async def test_full_queue_of_3x_loses_events() -> None:
    async with Panel(MACHINES, release="3.0") as panel, connected(panel, EXTRUDER, listening=False) as slow:
        _flood(panel)
        assert panel.backend.emitter.dropped > 100
        slow.abort()


async def test_polling_carries_the_same_packets() -> None:
    async with Panel(MACHINES) as panel, aiohttp.ClientSession(panel.url) as session:
        async with session.get("/socket.io/?EIO=4&transport=polling") as answer:
            sid = (await answer.text()).split('"')[3]
        url = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
        # as recorded: {"type": 0, "nsp": "/main"}
        async with session.post(url, data="bgqR0eXBlAKNuc3ClL21haW4=") as answer:
            assert await answer.text() == "ok"
        async with session.get(url) as answer:
            parts = (await answer.text()).split("\x1e")
        assert parts[0] == "2"
        assert len(parts) == 5
        assert all(part.startswith("b") for part in parts[1:])
        async with session.post(url, data="1") as answer:
            assert await answer.text() == "ok"
        async with session.get(url) as answer:
            assert (answer.status, await answer.json()) == (400, {"code": "1", "message": "Session ID unknown"})


async def test_polling_session_upgrades_to_websocket() -> None:
    async with Panel(MACHINES) as panel, aiohttp.ClientSession(panel.url) as session:
        async with session.get("/socket.io/?EIO=4&transport=polling") as answer:
            sid = (await answer.text()).split('"')[3]
        async with session.ws_connect(f"/socket.io/?EIO=4&transport=websocket&sid={sid}") as socket:
            await socket.send_str("2probe")
            assert (await socket.receive_str()) == "3probe"
            await socket.send_str("5")
            client = Client(socket)
            task = asyncio.create_task(client.listen())
            assert (await client.connect("/main"))["data"] == {"sid": sid}
            await client.event("MachinesEvent")
            assert client.texts == ["2"]
            await socket.close()
            await task


async def test_journal_holds_the_handshake(panel: Panel) -> None:
    async with connected(panel, "/main"):
        assert panel.journal[-1].path.startswith("/socket.io/?EIO=4&transport=websocket")
    assert (await get(panel, "/api/v2/machine")).status_code == 200
