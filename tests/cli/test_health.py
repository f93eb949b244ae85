from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.cli.main import main
from tests.cli import test_watch
from tests.one_of_everything import filled_table

WHY = "panel: refuses the password"


async def health(*options: str) -> int:
    """Exit code of the verb, run as a person would, beside the bridge's loop."""
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(main, ["health", *options])
    return int(str(ended.value.code))


async def test_a_bridge_whose_values_flow_is_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with test_watch.bridge(filled_table()[0], tmp_path) as url:
        assert await health("--state-dir", str(tmp_path)) == 0
        assert await health("--url", url) == 0  # health needs no token
    assert capsys.readouterr().out == "ready\nready\n"


async def test_a_simulated_bridge_is_found_beside_the_state_directory(tmp_path: Path) -> None:
    (tmp_path / "state-simulated").mkdir()
    async with test_watch.bridge(filled_table()[0], tmp_path / "state-simulated"):
        assert await health("--state-dir", str(tmp_path / "state")) == 0


async def test_a_bridge_that_is_not_ready_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_watch, "HEALTH", replace(test_watch.HEALTH, ready=False, why_not_ready=(WHY,)))
    async with test_watch.bridge(filled_table()[0], tmp_path):
        assert await health("--state-dir", str(tmp_path)) == 1
        assert capsys.readouterr().out == f"not ready\n  {WHY}\n"
        assert await health("--state-dir", str(tmp_path), "--live", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"live": True, "ready": False, "why_not_ready": [WHY]}


def test_where_no_bridge_runs_is_said_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "admin.token").write_text("t\n")
    with pytest.raises(SystemExit) as ended:
        main(["health", "--state-dir", str(tmp_path), "--live"])
    assert ended.value.code == 1
    assert "plantbridge run" in capsys.readouterr().err
