"""`support-bundle` and `backup` of a bridge that runs: everything is in it, and no secret."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from bridge.cli.main import main
from bridge.northbound.opcua.passwords import hash_password
from bridge.runtime.bundle import Running, bundle
from bridge.runtime.logging import set_up_logging
from tests.broker import broker
from tests.flow.plantfloor import running_bridge
from tests.one_of_everything import NOW
from tests.sites import BASE, make_site

SECRETS = ("hunter2-of-the-panel", "s3cret-of-the-cloud", "k3y-of-the-organisation")
PEOPLE = ("anna@acme.example", "bridge@acme.example")
SITE = f"""
sources:
  panel: {{type: qitech, url: "http://127.0.0.1:1", profile: 3.x, password: {SECRETS[0]}}}
  cloud: {{type: quantiix, url: "http://127.0.0.1:1", email: {PEOPLE[1]}, password: {SECRETS[1]}}}
  tmm: {{type: trackmymachines, events_url: "http://cloud-7.internal", step_events_url: "http://cloud-8.internal",
        api_key: {SECRETS[2]}, user_email: {PEOPLE[0]}}}
machines:
  - {{id: extruder-1, area: a, source: panel, machine: {{slug: extruder_v1, serial: 57922}}}}
"""


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([*map(str, arguments)])
    return int(caught.value.code or 0)


def secrets_of(model: object) -> set[str]:
    """Every secret a configuration holds, wherever."""
    if isinstance(model, SecretStr):
        return {model.get_secret_value()}
    values: list[object] = []
    if isinstance(model, BaseModel):
        values = [getattr(model, name) for name in type(model).model_fields]
    elif isinstance(model, dict):
        values = [*model.values()]
    elif isinstance(model, list | tuple):
        values = [*model]
    return {secret for value in values for secret in secrets_of(value)}


async def test_a_bundle_has_everything_and_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with broker() as mqtt, running_bridge(tmp_path, SITE, mqtt) as floor:
        root = logging.getLogger()
        before = root.level, root.handlers[:]
        try:
            set_up_logging("info")
            logging.getLogger("bridge.test").warning("the panel said %s to %s", f"password={SECRETS[0]}", PEOPLE[0])
            file = tmp_path / "help.zip"
            assert await asyncio.to_thread(run, "support-bundle", file, tmp_path / "bridge.yaml") == 0
        finally:
            root.setLevel(before[0])
            root.handlers[:] = before[1]
        token = (tmp_path / "state" / "admin.token").read_text().strip()
        secrets = secrets_of(floor.bridge.site.file) | {token}
        assert secrets >= set(SECRETS)
        with zipfile.ZipFile(file) as packed:
            parts = {name: packed.read(name).decode() for name in packed.namelist()}
        assert set(parts) == {
            "about.json", "configuration.json", "faults.txt", "health.json", "events.json", "commands.json",
            "tags.json", "log.txt", "metrics.txt",
        }  # fmt: skip
        for name, text in parts.items():
            for word in (*secrets, *PEOPLE, "cloud-7.internal", "PRIVATE KEY"):
                assert word not in text, (name, word)
        assert json.loads(parts["configuration.json"])["sources"]["panel"]["type"] == "qitech"
        assert json.loads(parts["health.json"])["sources"]
        assert json.loads(parts["tags.json"])["not_good"] > 0
        assert "the panel said" in parts["log.txt"]
        assert file.stat().st_mode & 0o777 == 0o600
        assert await asyncio.to_thread(run, "support-bundle", file, tmp_path / "bridge.yaml") == 1
        assert "there already" in capsys.readouterr().err


def test_a_bundle_names_nobody_who_logs_in_or_commands(tmp_path: Path) -> None:
    user = f"{{name: b.meier, role: Operator, password_hash: {hash_password('one of twelve letters')}}}"
    site = make_site(tmp_path, BASE + f"northbound: {{opcua: {{users: [{user}]}}}}\n")
    command = {"requester": "claimed:Anna Schmidt", "history": [{"detail": "put aside by b.meier"}]}
    lines = ["Login of 'b.meier' from 127.0.0.1 failed again", "asked for by Anna Schmidt"]
    commands = {"commands": [command, {"requester": "admin"}]}
    running = Running({}, {"events": []}, commands, [], {"lines": lines}, "", "t0ken")
    for known in (site, None):
        file = tmp_path / f"{known is None}.zip"
        bundle(file, known, (), running, None, NOW)
        with zipfile.ZipFile(file) as packed:
            text = "".join(packed.read(name).decode() for name in packed.namelist())
        assert "Schmidt" not in text
        assert "asked for by person-" in text
        assert ("meier" in text) == (known is None)  # nothing is known of those who log in where the file is faulty


async def test_a_bundle_of_a_faulty_configuration_says_the_faults(tmp_path: Path) -> None:
    (tmp_path / "bridge.yaml").write_text("version: 1\nbridge: {nmae: x}\n")
    assert await asyncio.to_thread(run, "support-bundle", tmp_path / "b.zip", tmp_path / "bridge.yaml") == 0
    with zipfile.ZipFile(tmp_path / "b.zip") as packed:
        assert "nmae" in packed.read("faults.txt").decode()
        assert "health.json" not in packed.namelist()


async def test_a_running_bridge_is_backed_up_and_its_copy_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, copy = tmp_path / "b.zip", tmp_path / "copy"
    async with broker() as mqtt:
        async with running_bridge(tmp_path, SITE, mqtt) as floor:
            thumbprint = (tmp_path / "state" / "pki" / "own" / "certificate.der").read_bytes()
            await floor.bridge.log.flush()
            assert await asyncio.to_thread(run, "backup", file, "--state-dir", tmp_path / "state") == 0
            assert "pki/own/key.pem" in capsys.readouterr().err
            assert await asyncio.to_thread(run, "restore", file, "--state-dir", tmp_path / "state", "--replace") == 1
            assert "in use by another bridge" in capsys.readouterr().err
        copy.mkdir()
        assert await asyncio.to_thread(run, "restore", file, "--state-dir", copy / "state") == 0
        with closing(sqlite3.connect(copy / "state" / "log.db")) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        async with running_bridge(copy, SITE, mqtt) as floor:
            assert (copy / "state" / "pki" / "own" / "certificate.der").read_bytes() == thumbprint
