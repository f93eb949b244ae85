"""Reload: what is changed is taken over or refused with a sentence; the bridge never ends by it, nor hangs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bridge.config.site import Site
from bridge.model.observation import Observation
from bridge.model.status import StatusCode
from bridge.runtime.bridge import Bridge
from bridge.runtime.operations import BridgeOperations
from bridge.runtime.reload import FileWatch, stamp
from bridge.transport.clock import SystemClock
from tests.sites import make_site

FACES = "northbound: {status: {port: 0}, opcua: {enabled: false}, sparkplug: {enabled: false}, uns: {enabled: false}}\n"
SITE = """
version: 1
bridge: {name: bridge-1, enterprise: acme, site: essen, state_directory: state}
sources: {panel: {type: qitech, url: "http://127.0.0.1:9", profile: 3.x}}
machines: [{id: mock-1, source: panel, machine: {slug: mock, serial: 1}}]
"""


@contextlib.asynccontextmanager
async def running(folder: Path, load: Callable[[], Site] | None = None) -> AsyncIterator[Bridge]:
    """A bridge of SITE without faces, listening."""
    bridge = Bridge(make_site(folder, SITE + FACES), SystemClock(), load or (lambda: reread(folder)))
    task = asyncio.create_task(bridge.run())
    await bridge.listening.wait()
    try:
        yield bridge
    finally:
        bridge.stop()
        await task


def reread(folder: Path) -> Site:
    return make_site(folder, (folder / "bridge.yaml").read_text())


async def test_values_of_a_source_that_is_made_anew_are_not_good_until_it_speaks(tmp_path: Path) -> None:
    async with running(tmp_path) as bridge:
        now = bridge.clock.now()
        bridge.keeper.publish(Observation("panel", "1/7/1", "state", {"frequency1": 100.0}, now))
        tag = bridge.table.plant.find("mock-1.Setpoints.Frequency1")
        assert tag is not None
        assert bridge.table.read(tag).status is StatusCode.Good
        file = tmp_path / "bridge.yaml"
        file.write_text(file.read_text().replace("127.0.0.1:9", "127.0.0.1:10"))
        assert await bridge.reload() == []
        assert bridge.table.read(tag).status.is_uncertain
        assert "configuration of this source" in bridge.table.read(tag).reason


async def test_a_fault_of_ours_while_reading_keeps_the_running_configuration(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)

    def broken() -> Site:
        raise RecursionError

    async with running(tmp_path, broken) as bridge:
        faults = await bridge.reload()
        assert "RecursionError" in faults[0]
        assert bridge.refused == faults
        assert "mock-1" in bridge.table.plant.machines


async def test_two_reloads_at_once_follow_each_other(tmp_path: Path) -> None:
    async with running(tmp_path) as bridge:
        file = tmp_path / "bridge.yaml"
        file.write_text(file.read_text().replace("127.0.0.1:9", "127.0.0.1:10"))
        assert await asyncio.gather(bridge.reload(), bridge.reload()) == [[], []]
        assert list(bridge.runners) == ["panel"]


async def test_a_stop_during_a_reload_ends_what_the_reload_starts(tmp_path: Path) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def slow() -> Site:
        reading.set()
        assert go_on.wait(20)
        return make_site(tmp_path, SITE.replace("127.0.0.1:9", "127.0.0.1:10") + FACES)

    async with running(tmp_path, slow) as bridge:
        reload = asyncio.create_task(bridge.reload())
        await asyncio.to_thread(reading.wait)
        bridge.stop()
        await asyncio.sleep(0)
        go_on.set()
        await reload
    assert await bridge.reload() == ["this bridge is stopping"]


async def test_a_port_that_is_taken_is_refused_and_the_bridge_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with running(tmp_path) as bridge:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            file = tmp_path / "bridge.yaml"
            file.write_text(file.read_text().replace("opcua: {enabled: false}", f"opcua: {{port: {port}}}"))
            faults = await bridge.reload()
        assert any(str(port) in fault and "opcua" in fault for fault in faults)
        assert bridge.faces == {}


async def test_limits_are_not_silently_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    async with running(tmp_path) as bridge:
        file = tmp_path / "bridge.yaml"
        file.write_text(file.read_text() + "limits: {discovered_machines: 7}\n")
        assert any("limits" in fault and "restart" in fault for fault in await bridge.reload())


async def test_a_reload_asked_for_during_the_start_waits_for_it(tmp_path: Path) -> None:
    bridge = Bridge(make_site(tmp_path, SITE + FACES), SystemClock(), lambda: reread(tmp_path))
    watch = FileWatch(bridge)
    watch.ask()
    watching = asyncio.create_task(watch.run())
    await asyncio.sleep(0.02)
    task = asyncio.create_task(bridge.run())
    await bridge.listening.wait()
    assert await bridge.reload() == []
    assert not watching.done()
    watching.cancel()
    bridge.stop()
    await task


def test_only_the_files_folders_are_looked_at_not_all_below(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in ("bridge.yaml", "more.yml", "notes.txt", "below/other.yaml"):
        (tmp_path / name).write_text("x")
    seen = stamp((tmp_path / "bridge.yaml", tmp_path / "gone" / "x.yaml"))
    assert {os.path.basename(name) for name in seen} == {"bridge.yaml", "more.yml"}


async def test_what_does_not_fit_at_the_start_is_shown_in_health(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    found = {"source": "panel", "key": "1/7/9", "id": "MOCK-1", "identity": {"vendor": 1, "machine": 7, "serial": 9}}
    state = tmp_path / "state"
    state.mkdir()
    inventory = {"version": 1, "machines": [{**found, "first_seen": "2026-01-01T00:00:00+00:00"}]}
    (state / "inventory.json").write_text(json.dumps(inventory))
    async with running(tmp_path) as bridge:
        assert list(bridge.table.plant.machines) == ["mock-1"]
        assert any("MOCK-1" in fault for fault in BridgeOperations(bridge).health().refused)
        count = bridge.table.plant.bridge.tag("ConfigurationFaults")
        assert count is not None
        assert bridge.table.read(count).value == 1


async def test_the_log_says_that_a_refused_configuration_is_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="bridge")
    async with running(tmp_path) as bridge:
        file = tmp_path / "bridge.yaml"
        good = file.read_text()
        file.write_text(good.replace("profile: 3.x", "profil: 3.x"))
        assert await bridge.reload()
        file.write_text(good)
        assert await bridge.reload() == []
        assert await bridge.reload() == []
    said = [record.getMessage() for record in caplog.records]
    assert sum("has no faults any more" in line for line in said) == 1
