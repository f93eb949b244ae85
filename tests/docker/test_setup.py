"""What docker/setup.py makes, used by a real broker and by the shipped site."""

from __future__ import annotations

import importlib.util
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from bridge.config.site import load_site
from tests import peers
from tests.broker import Process

DOCKER = Path(__file__).parent.parent.parent / "docker"
NAMES = ("kept", "broker", "bridge", "grafana")


def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docker_setup", DOCKER / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    setup = module()
    monkeypatch.setattr(setup.os, "geteuid", lambda: 1000)  # files stay ours
    for name in NAMES:
        (tmp_path / name).mkdir()
    setup.main(*(tmp_path / name for name in NAMES))
    return tmp_path


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_exists_is_kept_and_nobody_else_reads_it(made: Path) -> None:
    before = everything(made)
    module().main(*(made / name for name in NAMES))
    assert everything(made) == before
    assert {path.stat().st_mode & 0o777 for path in made.rglob("*") if path.is_file()} == {0o600}


def test_a_program_is_given_its_own_secrets_only(made: Path) -> None:
    files = everything(made)
    key, others = (
        files["kept/ca.key"],
        [files[f"kept/{user}.password"] for user in ("host-1", "reader", "commander", "operator")],
    )
    given = b"".join(content for name, content in files.items() if not name.startswith("kept/"))
    assert files["bridge/mqtt.password"] == files["kept/bridge-1.password"]
    assert not any(secret in given for secret in (key, *others))


def test_names_are_added_to_those_the_containers_use(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_HOSTS", "broker.plant.lan, 192.168.10.5,")
    assert module()._hosts("BROKER_HOSTS", "mosquitto") == [
        "broker.plant.lan",
        "192.168.10.5",
        "mosquitto",
        "localhost",
        "127.0.0.1",
    ]


def test_certificates_near_their_end_are_made_anew(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, setup = everything(made), module()
    monkeypatch.setattr(setup, "RENEW", setup.LIFETIME * 2)
    setup.main(*(made / name for name in NAMES))
    after = everything(made)
    anew = {"broker/server.crt", "broker/server.key", "bridge/page.crt", "bridge/page.key"}
    assert {name for name in before if before[name] != after[name]} == anew


def test_shipped_site_is_right(made: Path, tmp_path: Path) -> None:
    text = (DOCKER / "site" / "bridge.yaml").read_text(encoding="utf-8")
    (tmp_path / "bridge.yaml").write_text(text.replace("/run/plantbridge", str(made / "bridge")), encoding="utf-8")
    site = load_site([tmp_path / "bridge.yaml"])
    assert [machine.id for machine in site.file.machines] == ["extruder-1", "winder-1"]


class Composed(Process):
    """mosquitto with the shipped configuration and what setup.py made."""

    def __init__(self, made: Path) -> None:
        super().__init__()
        self._made = made

    def command(self, directory: Path) -> Sequence[str]:
        program = peers.program("mosquitto")
        assert program is not None
        text = (DOCKER / "mosquitto" / "mosquitto.conf").read_text(encoding="utf-8")
        for shipped, here in (
            ("/mosquitto/config/acl", str(DOCKER / "mosquitto" / "acl")),
            ("/mosquitto/config", str(self._made / "broker")),
            ("/mosquitto/data", str(directory)),
            ("listener 8883", f"listener {self.port} {self.host}"),
        ):
            text = text.replace(shipped, here)
        file = directory / "mosquitto.conf"
        file.write_text(f"{text}\nuser root\n", encoding="utf-8")
        return (program, "-c", str(file))


@pytest.mark.peer("mosquitto", "mosquitto_pub")
async def test_broker_takes_the_certificate_and_the_passwords(made: Path) -> None:
    broker = Composed(made)
    await broker.start()
    try:
        password = (made / "kept" / "reader.password").read_text()
        assert _published(broker, made, "reader", password) == 0
        assert _published(broker, made, "reader", "another") != 0
        ssl.create_default_context(cafile=made / "bridge" / "ca.crt")
    finally:
        await broker.stop()


def _published(broker: Composed, made: Path, user: str, password: str) -> int:
    program = peers.program("mosquitto_pub")
    assert program is not None
    where = ("-h", "127.0.0.1", "-p", str(broker.port), "--cafile", str(made / "bridge" / "ca.crt"))
    words = (program, *where, "-u", user, "-P", password, "-t", "acme/essen/a/b/c/_snapshot", "-m", "")
    return subprocess.run(words, capture_output=True, check=False, timeout=20).returncode
