"""Recorded and replayed: the same values on the table, in the same order; and the two verbs as a person uses them."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.hub.table import Table
from bridge.model.command import Command, Door
from bridge.model.email import without_emails
from bridge.model.event import OF_THE_READING
from bridge.model.value import DataValue, Value
from bridge.ports import Clock, RecordingWish
from bridge.runtime.bridge import Bridge
from bridge.sim.clock import VirtualClock
from bridge.sim.qitech.panel import Panel
from bridge.sim.quantiix import Machine as Lathe
from bridge.sim.quantiix import Quantiix
from bridge.sim.trackmymachines import Machine as Job
from bridge.sim.trackmymachines import TrackMyMachines
from bridge.sources.replay.record import end_line
from bridge.transport.clock import SystemClock
from tests.broker import free_port
from tests.flow.plantfloor import until
from tests.flow.test_loss_and_return import EXTRUDER, LASER, site
from tests.sites import make_site

NO_FACES = """
northbound:
  opcua: {{enabled: false}}
  sparkplug: {{enabled: false}}
  uns: {{enabled: false}}
  status: {{port: {port}}}
"""

GROUPS = ("Monitoring", "Setpoints", "Status", "Job", "KPI", "Alarms")
"""Of tags that vendors fill."""

Change = tuple[str, Value]


class Changes:
    """Every Good value of a machine that comes to a table, in order; the same one again is none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._seen: dict[int, list[Change]] = {}
        original = Table.update

        def update(table: Table, pairs: Any) -> None:
            original(table, pairs)
            self._see(table, pairs)

        monkeypatch.setattr(Table, "update", update)

    def _see(self, table: Table, pairs: list[tuple[int, DataValue]]) -> None:
        names = {tag.slot: tag.id for machine in table.plant.machines.values() for tag in machine.tags}
        seen = self._seen.setdefault(id(table), [])
        last = dict(seen)
        for slot, value in pairs:
            name = names.get(slot, "")
            is_vendors = any(f".{group}." in name for group in GROUPS)
            if is_vendors and value.status.is_good and (name not in last or last[name] != value.value):
                seen.append((name, value.value))
                last[name] = value.value

    def of(self, bridge: Bridge) -> list[Change]:
        return self._seen.get(id(bridge.table), [])


@asynccontextmanager
async def plain_bridge(folder: Path, text: str, port: int = 0, clock: Clock | None = None) -> AsyncIterator[Bridge]:
    """A bridge without faces but the admin API."""
    head = "version: 1\nbridge: {name: bridge-1, enterprise: acme, site: essen, state_directory: state}\n"
    bridge = Bridge(make_site(folder, head + text + NO_FACES.format(port=port)), clock or SystemClock())
    task = asyncio.create_task(bridge.run())
    await asyncio.wait({task, asyncio.ensure_future(bridge.listening.wait())}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield bridge
    finally:
        bridge.stop()
        await task


def _folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


def _write(path: Path, lines: bytes) -> Path:
    path.write_bytes(gzip.compress(lines))
    return path


@pytest.mark.parametrize("release", ["2.17", "3.0"])
async def test_a_replay_brings_the_same_values_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    changes = Changes(monkeypatch)
    port = free_port()
    lines = b""
    async with (
        plain_bridge(_folder(tmp_path, "real"), site(port)) as real,  # no panel yet: the record is to have everything
        aclosing(real.recorder.lines(RecordingWish())) as portions,
        asyncio.timeout(40),
    ):
        lines += await anext(portions)
        async with Panel([EXTRUDER, LASER], release=release, port=port):
            async for portion in portions:
                lines += portion
                if lines.count(b'"observation"') > 60 and len(changes.of(real)) > 40:
                    break
        original = list(changes.of(real))
    lines = b"\n".join(filter(None, lines.split(b"\n"))) + b"\n"
    file = _write(tmp_path / "record.gz", lines + end_line(60.0, 0, 0, "ended as asked"))
    config = f"machines:\n{site(port).partition('machines:')[2].strip(chr(10))}\n".replace(
        "{slug: extruder_v1, serial: 57922}", '{key: "1/4/57922"}'
    )
    for speed in (0, 20):
        source = f'sources:\n  panel-1: {{type: replay, file: "{file}", speed: {speed}}}\n'
        async with plain_bridge(_folder(tmp_path, f"again-{speed}"), source + config) as again:
            ended = again.table.plant.bridge.tag("Sources/panel-1/Ended")
            assert ended is not None
            await until(lambda again=again, ended=ended: again.table.read(ended).value is True, 30)  # type: ignore[misc]
            replayed = list(changes.of(again))
            assert set(again.table.plant.machines) == set(real.table.plant.machines)
        assert len(replayed) > 40
        assert {name.split(".")[0] for name, _ in replayed} == {"extruder-1", "panel-1-laser_v1-1"}
        # what came between the last portion and the end of the recording is on the real table only
        assert replayed == original[: len(replayed)], speed
        assert len(original) - len(replayed) < 60


CLOUDS = """
sources:
  account: {{type: quantiix, url: "{account}", email: me@acme.example, password: word-4711, state_period: 30s}}
  jobs: {{type: trackmymachines, events_url: "{app}", step_events_url: "{com}", api_key: key-4711, period: 5s,
          writes: true, allow: {{part: "PART[0-9]+"}}, user_email: anna@acme.example}}
machines:
  - {{id: lathe-7, source: account, machine: {{unique_id: LATHE_7}}}}
  - {{id: mill-1, source: jobs, machine: {{foreign_id: MILL-1, display_name: Mill 1}}}}
"""
REPLAYED_CLOUDS = """
sources:
  account: {{type: replay, file: "{file}", of: account, speed: 0}}
  jobs: {{type: replay, file: "{file}", of: jobs, speed: 0}}
machines:
  - {{id: lathe-7, source: account, machine: {{key: LATHE_7}}}}
  - {{id: mill-1, source: jobs, machine: {{key: MILL-1}}}}
"""
OURS = ("ItemState", "PendingBookings")
"""Tags that the bridge fills before a vendor has said anything."""
HOUR = timedelta(hours=1)
SPEED = 20.0
"""Seconds of vendors and bridge in one of ours."""


async def told(bridge: Bridge) -> set[tuple[str, str, str]]:
    """What vendors' events say: kind, machine and data, but not how they were read."""
    return {
        (event.kind, event.machine, json.dumps({k: v for k, v in event.data.items() if k not in OF_THE_READING}))
        for event in await bridge.log.newest(1000)
        if event.source in ("account", "jobs") and not event.kind.startswith("Alarm")  # each bridge judges for itself
    }


async def test_a_record_of_clouds_brings_the_same_values_and_events_and_has_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, clock, lines = Changes(monkeypatch), VirtualClock(None, SPEED), b""
    jobs = TrackMyMachines([Job(1, "Mill 1", "MILL-1")], users=["anna@acme.example"], clock=clock)
    jobs.keys.issue("site", "key-4711", writes=True)
    account = Quantiix([Lathe("LATHE_7", "Lathe")], email="me@acme.example", password="word-4711", clock=clock)
    async with jobs, account:
        await jobs.refuse()
        await account.refuse()
        config = CLOUDS.format(account=account.url, app=jobs.app_url, com=jobs.com_url)
        async with (
            plain_bridge(_folder(tmp_path, "real"), config, clock=clock) as real,
            aclosing(real.recorder.lines(RecordingWish())) as portions,
            asyncio.timeout(60),
        ):
            lines += await anext(portions)
            now = f"{clock.now():%Y-%m-%dT%H:%M:%SZ}"
            stop = jobs.faults.insert("MILL-1", "activity_reason", now, label="Ask anna@acme.example")
            account.faults.state("LATHE_7", "RUNNING", 120, 122)
            account.faults.state("LATHE_7", "IDLE", -2, 600)
            await jobs.accept()
            await account.accept()
            call = None
            async for portion in portions:
                lines += portion
                kinds = {kind for kind, _, _ in await told(real)}
                if call is None and "activity_reason_opened" in kinds:
                    jobs.faults.close(stop)
                    arguments = {"PartUniqueIdentifier": "PART1", "StepNumber": "10"}
                    at = clock.now()
                    call = real.desk.submit(
                        Command("test:1", "mill-1.Commands.StartStep", arguments, Door.UNS, "anna", at, at + HOUR)
                    )
                if {"state_changed", "activity_reason_closed", "step_opened"} <= kinds:
                    break
            original, events = list(changes.of(real)), await told(real)
    lines = b"\n".join(filter(None, lines.split(b"\n"))) + b"\n"
    for secret in (b"key-4711", b"word-4711", b"@acme", b"eyJ", b"Bearer"):
        assert secret not in lines
    file = _write(tmp_path / "record.gz", lines + end_line(600.0, 0, 0, "ended as asked"))
    async with plain_bridge(_folder(tmp_path, "again"), REPLAYED_CLOUDS.format(file=file)) as again:
        ended = [again.table.plant.bridge.tag(f"Sources/{name}/Ended") for name in ("account", "jobs")]
        await until(lambda: all(tag is not None and again.table.read(tag).value is True for tag in ended), 30)
        replayed, repeated = list(changes.of(again)), await told(again)
    for machine in ("lathe-7.", "mill-1."):
        first, second = (
            [(name, _shown(value)) for name, value in seen if name.startswith(machine) and not name.endswith(OURS)]
            for seen in (original, replayed)
        )
        assert len(second) > 15
        assert second == first[: len(second)]
        assert len(first) - len(second) < 60  # what came after the last portion
    assert repeated <= {(kind, machine, without_emails(data)) for kind, machine, data in events}
    assert {"state_changed", "activity_reason_closed"} <= {kind for kind, _, _ in repeated}


def _shown(value: Value) -> Value:
    return without_emails(value) if isinstance(value, str) else value


async def plantbridge(*arguments: object) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge", *map(str, arguments),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


async def test_a_user_records_and_an_engineer_replays_what_was_there_before(tmp_path: Path) -> None:
    file = tmp_path / "bug.jsonl.gz"
    port = free_port()
    async with (
        Panel([EXTRUDER, LASER], release="3.0", port=port),
        plain_bridge(_folder(tmp_path, "site"), site(port)) as bridge,
    ):
        setpoint = bridge.table.plant.find("extruder-1.Setpoints.ScrewSpeed")
        assert setpoint is not None
        await until(lambda: bridge.table.read(setpoint).status.is_good, 30)
        recording = await plantbridge("record", "--state-dir", bridge.state.path, "--output", file)
        await until(lambda: file.exists() and file.stat().st_size > 500, 30)
        recording.send_signal(signal.SIGINT)
        out, err = await recording.communicate()
        assert (recording.returncode, err) == (0, b"")
        assert b"ended as asked" in out
        real = {
            tag.id: bridge.table.read(tag).value
            for tag in bridge.table.plant.machines["extruder-1"].tags
            if tag.group == "Setpoints" and bridge.table.read(tag).status.is_good
        }
        again = await plantbridge("record", "--state-dir", bridge.state.path, "--output", file, "--for", "1s")
        assert b"exists already" in (await again.communicate())[1]
        none = await plantbridge("record", "--state-dir", bridge.state.path, "--machine", "extruder-7")
        assert b'did you mean "extruder-1"?' in (await none.communicate())[1]
    assert file.stat().st_mode & 0o077 == 0
    ports = ("--opcua-port", 0, "--mqtt-port", free_port(), "--status-port", 0)
    replaying = await plantbridge("replay", file, "--speed", 0, "--print", *ports)
    out, err = await replaying.communicate()
    assert replaying.returncode == 0, err
    printed = {line["tag"]: line["value"] for line in map(json.loads, out.splitlines())}
    assert real
    assert {name: printed.get(name) for name in real} == real
    assert b"to its end" in err


async def test_ctrl_c_ends_a_replay_and_the_sites_own_configuration_is_used(tmp_path: Path) -> None:
    file = tmp_path / "bug.jsonl.gz"
    port = free_port()
    own = site(port) + "northbound: {sparkplug: {enabled: false}, uns: {broker: {host: mq.customer.example}}}\n"
    (tmp_path / "bridge.yaml").write_text(
        "version: 1\nbridge: {name: b, enterprise: acme, site: essen}\n" + own, encoding="utf-8"
    )
    async with (
        Panel([EXTRUDER], release="3.0", port=port),
        plain_bridge(_folder(tmp_path, "site"), site(port)) as bridge,
    ):
        await until(lambda: bridge.table.plant.machines, 30)
        recording = await plantbridge("record", "--state-dir", bridge.state.path, "--output", file, "--for", "2s")
        assert await recording.wait() == 0
        await recording.communicate()
    ports = ("--opcua-port", 0, "--mqtt-port", free_port(), "--status-port", 0, "--state-dir", tmp_path / "kept")
    replaying = await plantbridge("replay", file, tmp_path / "bridge.yaml", "--loop", *ports)
    assert replaying.stdout is not None
    async with asyncio.timeout(40):
        told = b""
        while b"plantbridge watch" not in told:
            line = await replaying.stdout.readline()
            assert line, (await replaying.communicate())[1]
            told += line
    assert b"extruder-1" in told
    assert b"acme/essen/#" in told
    assert b"customer" not in told
    watching = await plantbridge("watch", "--state-dir", tmp_path / "kept", "--once", "--json", "extruder-1.*")
    out, err = await watching.communicate()
    assert watching.returncode == 0, err
    assert any(json.loads(line)["status"] == "Good" for line in out.splitlines())
    replaying.send_signal(signal.SIGINT)
    _, err = await replaying.communicate()
    assert replaying.returncode == 0, err
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read: No such file"), (b"hello\n", "line 1: this is no JSON")]
)
async def test_a_file_that_is_none_is_said_so_in_one_line(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "a.gz"
    if content is not None:
        file.write_bytes(content)
    process = await plantbridge("replay", file)
    _, err = await process.communicate()
    assert (process.returncode, words in err.decode(), len(err.splitlines())) == (1, True, 1)
