"""Beginning and ending: nothing is left behind, and whoever is there hears it."""

import asyncio
import gc
import logging
import socket

import pytest
from asyncua import Client, ua

from bridge.errors import AddressTaken
from bridge.northbound.opcua import server as server_module
from bridge.northbound.opcua.config import OpcuaConfig
from bridge.northbound.opcua.server import OpcuaServer
from bridge.transport.clock import SystemClock
from tests.northbound.opcua.house import Seen, eventually, house, raw, running
from tests.one_of_everything import filled_table

STATE = ua.ObjectIds.Server_ServerStatus_State
LONG_S = 300.0


class Held(SystemClock):
    """What the server waits for at its end takes as long as the test wants."""

    def __init__(self) -> None:
        self.is_over = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        await (self.is_over.wait() if seconds == LONG_S else super().sleep(seconds))


async def test_subscriber_sees_shutdown_before_the_connection_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "GOODBYE_S", LONG_S)
    clock = Held()
    async with house(clock, unsecured_read_only=True) as home:
        client, seen = Client(home.url), Seen()
        await client.connect()
        subscription = await client.create_subscription(100, seen)
        await subscription.subscribe_data_change(
            [client.get_node(STATE), client.get_node(ua.ObjectIds.Server_ServerStatus_SecondsTillShutdown)]
        )
        await eventually(lambda: seen.of(STATE))
        stopping = asyncio.create_task(home.stop())
        await eventually(lambda: seen.of(STATE)[-1].Value.Value == ua.ServerState.Shutdown)
        assert seen.of(ua.ObjectIds.Server_ServerStatus_SecondsTillShutdown)[-1].Value.Value > 0
        assert await client.get_node(STATE).read_value() == ua.ServerState.Shutdown
        assert not stopping.done()
        clock.is_over.set()
        async with asyncio.timeout(30):
            await stopping
        await client.disconnect()


async def test_stop_without_clients_is_prompt_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "GOODBYE_S", LONG_S)
    before = asyncio.all_tasks()
    async with house(unsecured_read_only=True) as home:
        async with raw(home.port) as client:
            await client.open()
            await client.session()
        await asyncio.sleep(0.02)
        async with asyncio.timeout(30):
            await home.stop()  # nobody is there who would have to be told
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", home.port)
        assert home.table.readers == ()
        assert home.server.endpoint is None
    await asyncio.sleep(0.02)
    assert asyncio.all_tasks() == before
    assert gc.isenabled()
    assert logging.getLogger("asyncua").propagate


async def test_stop_cuts_off_clients_that_hang_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    async with house(unsecured_read_only=True) as home, raw(home.port) as silent, raw(home.port) as halfway:
        await silent.open()
        await halfway.send(b"HELF\xff\x00")
        await home.stop()
        assert await silent.is_closed()
        assert await halfway.is_closed()
    await asyncio.sleep(0.02)
    assert asyncio.all_tasks() == before


async def test_run_may_be_called_again() -> None:
    async with house(unsecured_read_only=True) as home:
        await home.stop()
        async with running(home.server, home.table):
            assert home.server.endpoint is not None
            url = home.server.endpoint.replace("localhost", "127.0.0.1")
            async with Client(url) as client:
                assert await client.get_node("ns=2;s=extruder-1.Monitoring.Pressure").read_value() == 12.5
                assert (await client.get_namespace_array())[2] == "urn:test:bridge:instances"


async def test_taken_port_is_named(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        table, _ = filled_table()
        server = OpcuaServer(OpcuaConfig(port=port), SystemClock(), tmp_path)
        with pytest.raises(AddressTaken, match=f"127.0.0.1:{port}"):
            await server.run(table, None, None)  # type: ignore[arg-type]
        assert not list(tmp_path.iterdir()), "the port is tried before anything is made"
        assert table.readers == ()


async def test_host_that_is_not_ours_is_named(tmp_path) -> None:  # type: ignore[no-untyped-def]
    table, _ = filled_table()
    server = OpcuaServer(OpcuaConfig(host="192.0.2.1"), SystemClock(), tmp_path)
    with pytest.raises(AddressTaken, match=r"192\.0\.2\.1:4840"):
        await server.run(table, None, None)  # type: ignore[arg-type]


def test_constructor_does_no_io(tmp_path) -> None:  # type: ignore[no-untyped-def]
    server = OpcuaServer(OpcuaConfig(), SystemClock(), tmp_path / "absent")
    assert server.name == "opcua"
    assert not (tmp_path / "absent").exists()


async def test_normal_operation_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "bridge"):
        async with house(unsecured_read_only=True) as home, raw(home.port) as client:
            await client.open()
            await client.session()
            await client.status(ua.PublishRequest())
            await client.status(ua.RegisterServerRequest())
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("bridge")]
    assert len(ours) == 1, ours
    assert "listens on" in ours[0]
