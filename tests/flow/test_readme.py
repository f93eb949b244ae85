"""The README's first ten minutes, as a newcomer pastes them: only ports are changed, since others have theirs here."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from tests.broker import free_port

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PATIENCE_S = 100.0


def pasted(heading: str) -> list[list[str]]:
    """The lines of the first block below a heading, without what is said about them."""
    block = README.partition(f"## {heading}\n")[2].partition("```\n")[2].partition("```")[0]
    return [shlex.split(line, comments=True) for line in block.splitlines() if line.strip()]


LINES = pasted("A plant of your own")
MADE = {"init", "check", "run", "doctor", "watch", "why"}


def verbs_of(words: list[str]) -> str:
    return words[1] if words[0] == "plantbridge" else words[0]


def line(verb: str, *, containing: str = "") -> list[str]:
    """What the README says for a verb."""
    found = [words for words in LINES if verbs_of(words) == verb and containing in " ".join(words)]
    assert found, f"the README says nothing about {verb}"
    return found[0][1:]


@asynccontextmanager
async def started(folder: Path, words: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bridge", *words),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def done(folder: Path, words: list[str]) -> tuple[int, str]:
    """Exit code and what was printed."""
    async with started(folder, words) as process, asyncio.timeout(PATIENCE_S):
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()


def with_free_ports(file: Path) -> None:
    """As `make demo DEMO="--opcua-port …"` has it for the demo: by hand."""
    site = yaml.safe_load(file.read_text(encoding="utf-8"))
    mqtt = free_port()
    north = site["northbound"]
    north["opcua"]["port"], north["status"]["port"] = free_port(), free_port()
    north["sparkplug"]["broker"]["port"] = north["uns"]["broker"]["port"] = site["broker"]["port"] = mqtt
    site["sources"]["panel-1"]["url"] = f"http://127.0.0.1:{free_port()}"  # nobody is there
    file.write_text(yaml.safe_dump(site), encoding="utf-8")


async def is_ready(folder: Path, state: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await done(folder, ["health", "--state-dir", state]))[0]:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.2)


def test_every_verb_it_names_exists() -> None:
    from bridge.cli.main import VERBS

    assert {verbs_of(words) for words in LINES if words[0] == "plantbridge"} >= MADE
    table = README.partition("| to | verbs |")[2].partition("\n\n")[0]
    named = {phrase.split()[0] for phrase in re.findall(r"`([^`]+)`", table)}
    vendors_and_kinds = {
        "quantiix",
        "trackmymachines",
        "iotistica",
        "tags",
        "ignition",
        "plc",
        "flow",
        "asyncapi",
        "cli",
        "log",
    }
    assert named - vendors_and_kinds <= set(VERBS)
    assert set(VERBS) - named - vendors_and_kinds == set(), "a verb the README does not name"


@pytest.mark.timeout(400)
async def test_a_plant_of_your_own_line_by_line(tmp_path: Path) -> None:
    assert (await done(tmp_path, line("init")))[0] == 0
    assert (await done(tmp_path, line("check")))[0] == 0
    with_free_ports(tmp_path / "plant" / "bridge.yaml")
    async with started(tmp_path, line("run", containing="--simulate")) as simulated:
        await is_ready(tmp_path, "plant/state")
        told = (await done(tmp_path, [*line("watch", containing="state"), "--once"]))[1]
        assert "plant/state-simulated" in told, "it says where the simulated one is"
        state = ["--state-dir", "plant/state-simulated"]
        code, shown = await done(tmp_path, ["watch", *state, "--once"])
        assert code == 0
        tag = next(word for word in shown.split() if word.endswith(".Monitoring.Pressure"))
        code, why = await done(tmp_path, [tag if word == "TAG" else word for word in ["why", *state, "TAG"]])
        assert code == 0
        assert "live_values" in why
        simulated.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE_S):
            assert await simulated.wait() == 130 or simulated.returncode == 0
    code, advice = await done(tmp_path, line("doctor"))
    assert code == 1, "there is no panel, and it says so"
    assert "panel-1" in advice
