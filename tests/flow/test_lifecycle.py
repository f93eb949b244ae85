"""Start, reload, stop, start again: nothing is left behind, and a bad file changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import operator
import os
import signal
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from bridge.errors import AddressTaken, StateDirectoryBusy
from bridge.model.status import StatusCode
from bridge.runtime.reload import FileWatch
from bridge.sim.qitech.panel import Panel
from bridge.transport.clock import SystemClock
from tests.broker import broker, free_port
from tests.flow.plantfloor import MqttView, running_bridge, until
from tests.flow.test_loss_and_return import EXTRUDER, EXTRUDER_TAGS, LASER, is_good, site
from tests.northbound.opcua.house import identity

OFF = "opcua: {enabled: false}, sparkplug: {enabled: false}, uns: {enabled: false}"


def open_files() -> int:
    """File descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def count() -> tuple[int, int]:
    """Tasks and file descriptors of this process."""
    gc.collect()
    return len(asyncio.all_tasks()), open_files()


async def test_two_runs_leave_no_task_thread_or_file_behind(tmp_path: Path) -> None:
    async with broker() as mqtt, Panel([EXTRUDER], release="3.0") as panel:
        port = int(panel.url.rpartition(":")[2])
        counts: list[tuple[int, int]] = []
        for run in range(3):
            async with running_bridge(tmp_path, site(port), mqtt) as floor:
                await until(lambda floor=floor: is_good(floor, *EXTRUDER_TAGS))  # type: ignore[misc]
            await asyncio.sleep(0.05)
            if run < 2:
                counts.append(count())
            own = [t.name for t in threading.enumerate() if not t.name.startswith(("MainThread", "asyncio"))]
            assert own == []
        await until(lambda: all(map(operator.le, count(), counts[1])))  # the panel may see us gone a moment later


async def test_a_second_bridge_on_the_state_directory_is_refused(tmp_path: Path) -> None:
    async with broker() as mqtt, running_bridge(tmp_path, "sources: {}\n", mqtt):
        with pytest.raises(StateDirectoryBusy, match="in use by another bridge"):
            async with running_bridge(tmp_path, "sources: {}\n", mqtt):
                pass


class Later(SystemClock):
    """A clock that can be put forward, and whose waits are short."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead.total_seconds()

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.02))


async def test_days_left_of_certificates_are_tags(tmp_path: Path) -> None:
    clock = Later()
    async with broker() as mqtt, running_bridge(tmp_path, "sources: {}\n", mqtt, clock=clock) as floor:
        await until(lambda: floor.value("Bridge.OpcuaCertificateDaysLeft").value == 3649)
        trusted = floor.value("Bridge.OpcuaTrustedDaysLeft")
        assert (trusted.status, trusted.reason) == (StatusCode.BadNoData, "No certificate is there")
        for name, days, folder in (("long", 400, "trusted"), ("short", 30, "trusted"), ("other", 3, "rejected")):
            file = tmp_path / "state" / "pki" / folder / f"{name}.der"
            file.write_bytes(identity(f"lifecycle-{name}", days=days).der)
        for hours, left in ((1, 29), (29 * 24, 0), (31 * 24, -2)):
            clock.ahead = timedelta(hours=hours)
            await until(lambda left=left: floor.value("Bridge.OpcuaTrustedDaysLeft").value == left)  # type: ignore[misc]
        assert floor.value("Bridge.OpcuaTrustedDaysLeft").status is StatusCode.Good


async def test_a_taken_opcua_port_ends_the_bridge_with_its_name(tmp_path: Path) -> None:
    async with broker() as mqtt, running_bridge(tmp_path, "sources: {}\n", mqtt) as floor:
        port = floor.opcua_url.rpartition(":")[2]
        text = (tmp_path / "bridge.yaml").read_text().replace("state_directory: state", "state_directory: other")
        from bridge.runtime.bridge import Bridge
        from tests.sites import make_site

        second = Bridge(make_site(tmp_path, text), SystemClock())
        with pytest.raises(AddressTaken, match=port):
            await second.run()


async def test_a_changed_file_is_taken_over_without_touching_what_did_not_change(tmp_path: Path) -> None:
    async with broker() as mqtt, MqttView(mqtt) as view, Panel([EXTRUDER, LASER], release="3.0") as panel:
        port = int(panel.url.rpartition(":")[2])
        async with running_bridge(tmp_path, site(port), mqtt, reloadable=True) as floor:
            await until(lambda: is_good(floor, *EXTRUDER_TAGS) and "DBIRTH/extruder-1" in view.kinds())
            file = tmp_path / "bridge.yaml"
            named = "  - {id: gauge-1, area: a, source: panel-1, machine: {slug: laser_v1, serial: 1}}\n"
            file.write_text(file.read_text().replace("northbound:", named + "northbound:"))
            assert await floor.bridge.reload() == []
            assert "gauge-1" in floor.bridge.table.plant.machines
            await until(lambda: floor.value("gauge-1.Monitoring.Diameter").value is not None)
            await until(lambda: "DBIRTH/gauge-1" in view.kinds())
            assert view.kinds().count("DBIRTH/extruder-1") == 1
            assert view.kinds().count("NBIRTH") == 1
            await until(lambda: is_good(floor, *EXTRUDER_TAGS))  # on a loaded computer a value may be late
            assert panel.crashes == []


async def test_a_bad_file_keeps_the_running_configuration_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with broker() as mqtt, Panel([EXTRUDER], release="3.0") as panel:
        port = int(panel.url.rpartition(":")[2])
        async with running_bridge(tmp_path, site(port), mqtt, reloadable=True) as floor:
            await until(lambda: is_good(floor, *EXTRUDER_TAGS))
            watch = asyncio.create_task(FileWatch(floor.bridge).run())
            await asyncio.sleep(0)
            file = tmp_path / "bridge.yaml"
            good = file.read_text()
            file.write_text(good.replace("machine: {slug: extruder_v1", "machine: {slog: extruder_v1"))
            await until(lambda: floor.bridge.refused)
            assert "slog" in floor.bridge.refused[0]
            assert f"{file}:" in floor.bridge.refused[0]
            assert floor.value("Bridge.ConfigurationFaults").value == len(floor.bridge.refused)
            assert is_good(floor, *EXTRUDER_TAGS)
            file.write_text(good + "# mended\n")
            await until(lambda: not floor.bridge.refused)
            assert floor.value("Bridge.ConfigurationFaults").value == 0
            watch.cancel()


async def test_a_tag_keeps_its_type_over_a_reload(tmp_path: Path) -> None:
    mapping = (
        "version: 1\nmapping: own/thing\nmatch: {machine: 4}\ntags:\n  Monitoring/X: {from: state.x, type: Double}\n"
    )
    folder = tmp_path / "mappings"
    folder.mkdir()
    (folder / "thing.yaml").write_text(mapping)
    rest = (
        "mappings: [mappings]\n"
        'sources: {p: {type: qitech, url: "http://127.0.0.1:9"}}\n'
        "machines: [{id: m-1, source: p, machine: {slug: extruder_v1, serial: 1}, mapping: own/thing}]\n"
    )
    async with broker() as mqtt, running_bridge(tmp_path, rest, mqtt, reloadable=True) as floor:
        (folder / "thing.yaml").write_text(mapping.replace("Double", "String"))
        assert any("m-1.Monitoring.X" in fault for fault in await floor.bridge.reload())
        (folder / "thing.yaml").write_text(mapping + "  Monitoring/Y: {from: state.y, type: String}\n")
        assert await floor.bridge.reload() == []
        assert floor.tag("m-1.Monitoring.Y")


async def test_a_bad_file_at_start_leaves_health_up_with_the_faults_until_it_is_mended(tmp_path: Path) -> None:
    port = free_port()
    good = f"version: 1\nbridge: {{name: b, enterprise: e, site: s}}\nnorthbound: {{status: {{port: {port}}}, {OFF}}}\n"
    file = tmp_path / "bridge.yaml"
    file.write_text(good + "sorces: {}\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", "run", str(file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            answer = await answered(http, 503)
            assert "sorces" in answer.text
            assert "did you mean" in answer.text
            assert (await http.get("/healthz")).status_code == 200
            process.send_signal(signal.SIGHUP)  # reads the files again, and does not end what has nothing to serve
            assert (await answered(http, 503)).status_code == 503
            file.write_text(good)
            await answered(http, 200)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def answered(http: httpx.AsyncClient, status: int) -> httpx.Response:
    """What /readyz says once its status is this one."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await http.get("/readyz")
                if answer.status_code == status:
                    return answer
            await asyncio.sleep(0.05)


async def test_what_a_face_cannot_carry_by_the_files_alone_leaves_only_health_up(tmp_path: Path) -> None:
    port = free_port()
    text = (
        f"version: 1\nbridge: {{name: b, enterprise: e, site: s}}\n"
        'sources: {p: {type: qitech, url: "http://127.0.0.1:9"}}\n'
        "machines: [{id: a, source: p, machine: {slug: mock, serial: 1}}]\n"
        f"northbound: {{status: {{port: {port}}}, opcua: {{enabled: false}}, sparkplug: {{enabled: false}}, "
        f'uns: {{topic: "{"/".join(["x" * 60] * 3)}/{{machine}}"}}}}\n'
    )
    file = tmp_path / "bridge.yaml"
    file.write_text(text)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", "run", str(file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            async with asyncio.timeout(30):
                while "uns: " not in (await answered(http, 503)).text:  # noqa: ASYNC110 - what a client sees
                    await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
