from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bridge.cli.admin import Access, AdminClient
from bridge.cli.main import main
from bridge.cli.watch import Board, _follow, _lines, duration, shown
from bridge.hub.table import Table
from bridge.model.status import StatusCode
from bridge.model.value import DataValue
from bridge.northbound.status.config import StatusConfig
from bridge.northbound.status.server import StatusServer
from bridge.ports import Health
from bridge.transport.clock import SystemClock
from tests.one_of_everything import NOW, filled_table

TOKEN = "t0ken"
HEALTH = Health(True, True, (), "0.1.0", NOW, "abc")


class FakeOperations:
    def health(self) -> Health:
        return HEALTH

    def addresses(self, tag: object) -> dict[str, str]:
        return {}


@asynccontextmanager
async def bridge(table: Table, state: Path, port: int = 0) -> AsyncIterator[str]:
    """A running bridge's admin API; its address and token in `state`."""
    server = StatusServer(StatusConfig(port=port), SecretStr(TOKEN), SystemClock())
    task = asyncio.create_task(server.run(table, None, FakeOperations()))  # type: ignore[arg-type]
    try:
        url = await server.listening()
        (state / "admin.token").write_text(f"{TOKEN}\n")
        (state / "admin.json").write_text(json.dumps({"url": url}))
        yield url
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def table() -> Table:
    return filled_table()[0]


class Told:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    async def __call__(self, *arguments: object) -> tuple[int, str, str]:
        def run() -> int:
            try:
                main(["watch", *map(str, arguments)])
            except SystemExit as error:
                return int(error.code or 0)
            return -1

        code = await asyncio.to_thread(run)
        return (code, *self._capsys.readouterr())


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setenv("COLUMNS", "160")
    return Told(capsys)


async def test_once_prints_the_table_of_the_tags_that_match(table: Table, tmp_path: Path, told: Told) -> None:
    async with bridge(table, tmp_path):
        code, out, _ = await told("--state-dir", tmp_path, "--once", "extruder-1.Setpoints.*")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["Tag", "Value", "Unit", "Quality", "Age", "Reason"]
    assert [line[0] for line in lines[1:-1]] == [
        f"extruder-1.Setpoints.{name}" for name in ("Enabled", "Mode", "ModeText", "ScrewSpeed")
    ]
    assert lines[2][1:3] == ["2", "UncertainLastUsableValue"]
    assert " ".join(lines[2]).endswith("Nothing has been heard for 3 s")
    assert lines[-1] == ["4", "tags"]


async def test_once_as_json_is_one_object_a_line(table: Table, tmp_path: Path, told: Told) -> None:
    async with bridge(table, tmp_path) as url:
        code, out, _ = await told("--url", url, "--token", TOKEN, "--once", "--json", "pressure", "homed")
    tags = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [tag["tag"] for tag in tags if tag["machine"] == "extruder-1"] == [
        "extruder-1.Monitoring.Pressure",
        "extruder-1.Status.Homed",
    ]
    assert tags[0]["unit"] == "bar"


async def test_wrong_token_is_said_so(table: Table, tmp_path: Path, told: Told) -> None:
    async with bridge(table, tmp_path) as url:
        for mode in (["--once"], ["--json"], []):
            code, _, err = await told("--url", url, "--token", "wrong", *mode)
            assert code == 1
            assert "refuses this token" in err


@pytest.mark.parametrize("mode", [["--once"], ["--json"], []])
async def test_bridge_that_does_not_run_is_said_so(table: Table, tmp_path: Path, told: Told, mode: list[str]) -> None:
    async with bridge(table, tmp_path):
        pass
    code, _, err = await told("--state-dir", tmp_path, *mode)
    assert code == 1
    assert err.startswith("Error: no bridge answers at http://127.0.0.1:")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "say which bridge: --state-dir DIR"),
        (["--token", "x", "--url", "nonsense"], 2, "is no URL of a bridge"),
        (["--token", "x\ny"], 2, "this is no admin token"),
        (["--state-dir", "/nonexistent/state"], 1, "is this the state directory of a bridge that has run?"),
    ],
)
async def test_what_is_missing_is_named(told: Told, arguments: list[str], code: int, words: str) -> None:
    result, _, err = await told(*arguments, "--once")
    assert (result, words in err) == (code, True)


async def test_state_directory_of_a_bridge_that_stopped_is_said_so(tmp_path: Path, told: Told) -> None:
    (tmp_path / "admin.token").write_text("x")
    code, _, err = await told("--state-dir", tmp_path, "--once")
    assert (code, f"the bridge of {tmp_path} does not run" in err) == (1, True)


async def test_simulated_bridge_is_offered_where_the_real_one_does_not_run(tmp_path: Path, told: Told) -> None:
    real, simulated = tmp_path / "state", tmp_path / "state-simulated"
    simulated.mkdir()
    (simulated / "admin.json").write_text("{}")
    code, _, err = await told("--state-dir", real, "--once")
    assert (code, f"--state-dir {simulated}" in err.replace("\n", "")) == (1, True)


async def test_damaged_state_directory_is_named(tmp_path: Path, told: Told) -> None:
    (tmp_path / "admin.token").write_text("x")
    (tmp_path / "admin.json").write_text("{")
    code, _, err = await told("--state-dir", tmp_path, "--once")
    assert (code, "admin.json is damaged" in err) == (1, True)


async def test_something_else_on_the_port_is_said_so(tmp_path: Path, told: Told) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(other, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        code, _, err = await told("--url", f"http://127.0.0.1:{port}", "--token", "x", "--once")
    assert (code, "is not a bridge" in err) == (1, True)


async def test_json_stream_tells_each_change(table: Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[dict[str, Any]] = []
    tag = table.plant.find("extruder-1.Monitoring.Pressure")
    assert tag
    async with bridge(table, tmp_path) as url:
        task = asyncio.create_task(_lines(AdminClient(Access(url, TOKEN)), ["extruder-1.*pressure"]))
        async with asyncio.timeout(30):
            while len(lines) < 2:
                await asyncio.sleep(0.01)
                lines += [json.loads(line) for line in capsys.readouterr().out.splitlines()]
                if len(lines) == 1:
                    table.update([(tag.slot, DataValue(77.5, StatusCode.Good, NOW, NOW))])
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert [line["value"] for line in lines[:2]] == [12.5, 77.5]
    assert (lines[1]["tag"], lines[1]["unit"]) == (tag.id, "bar")


async def test_watch_waits_for_a_bridge_that_goes_and_follows_it_again(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.cli.watch.RETRY_S", 0.02)
    board = Board()

    def text() -> str:
        return str(board.table().caption)

    async def until(words: str) -> None:
        async with asyncio.timeout(30):
            while words not in text():  # noqa: ASYNC110 - a board has no event
                await asyncio.sleep(0.01)

    async with bridge(table, tmp_path) as url:
        client = AdminClient(Access(url, TOKEN))
        following = asyncio.create_task(_follow(client, ["pressure"], board))
        await until("2 tags")
        port = int(url.rpartition(":")[2])
    await until("waiting for it")
    await until("trying again")
    async with bridge(table, tmp_path, port):
        async with asyncio.timeout(30):
            while text() != "2 tags":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


async def test_interrupt_ends_the_live_table_quietly(table: Table, tmp_path: Path) -> None:
    async with bridge(table, tmp_path):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bridge", "watch", "--state-dir", str(tmp_path), "pressure",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(30):
            while not table.readers:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 130
    assert err.strip() == b""
    assert b"extruder-1.Monitoring.Pressure" in out or b"tags" in out


def entry(identifier: str, value: object = 1, **more: object) -> dict[str, Any]:
    base = {"id": identifier, "machine": identifier.split(".")[0], "value": value, "status": "Good", "reason": ""}
    return {**base, "unit": None, "age": 0.5, **more}


def test_board_forgets_machines_that_went_and_what_a_new_stream_does_not_tell() -> None:
    board = Board()
    board.apply("plant", {"machines": [], "gone": []})
    board.apply("tags", {"tags": [entry("a.X"), entry("b.X")]})
    board.apply("plant", {"machines": [], "gone": ["a"]})
    assert board.table().row_count == 1
    board.begin()
    board.apply("plant", {"machines": [], "gone": []})
    assert board.table().row_count == 0


def test_board_cuts_what_does_not_fit_and_says_so() -> None:
    board = Board()
    board.apply("tags", {"tags": [entry(f"a.{number}") for number in range(30)]})
    table = board.screen(16)
    assert table.row_count == 10
    assert "20 more than fit here" in str(table.caption)


def test_values_of_unknown_tags_are_passed_over() -> None:
    board = Board()
    assert board.apply("values", {"a.X": {"value": 1}}) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "true"),
        (1.0, "1"),
        (1 / 3, "0.333333"),
        (-5, "-5"),
        ("a\x1b[31m\nb", "a�[31m�b"),
        ("[red]x", "[red]x"),
    ],
)
def test_values_are_shown_for_a_person(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0.0 s"), (0.44, "0.4 s"), (59, "59 s"), (600, "10 min"), (36_000, "10 h"), (864_000, "10 d")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_age_of_a_shown_value_grows_while_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC).timestamp()
    monkeypatch.setattr("bridge.cli.watch.time.monotonic", lambda: now)
    board = Board()
    board.apply("tags", {"tags": [entry("a.X")]})
    monkeypatch.setattr("bridge.cli.watch.time.monotonic", lambda: now + 60)
    ages = list(board.table().columns[4].cells)
    assert str(ages[0]) == "60 s"
