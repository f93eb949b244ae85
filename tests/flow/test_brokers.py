"""Each MQTT face with a broker of its own, a login of its own, and no rights at the other's."""

import asyncio
import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr

from bridge.config.site import load_site
from bridge.ports import Troubled
from bridge.runtime.bridge import Bridge
from bridge.transport.clock import SystemClock
from bridge.transport.mqtt import BrokerConfig, Link
from tests import peers
from tests.broker import Mosquitto
from tests.flow.plantfloor import HEAD, until

FACES = """
sources: {{panel-1: {{type: qitech, url: "http://127.0.0.1:1"}}}}
machines: [{{id: extruder-1, source: panel-1, machine: {{slug: extruder_v1, serial: 5}}}}]
northbound:
  opcua: {{enabled: false}}
  sparkplug: {{broker: {{port: {first}, username: spb, password: "${{SPB_WORD}}"}}}}
  uns: {{broker: {{port: {second}, username: uns, password: "${{file:{file}}}"}}}}
  status: {{port: 0}}
"""


def guarded(directory: Path, user: str, word: str) -> Mosquitto:
    """A broker that knows this user, and somebody who watches."""
    program = peers.program("mosquitto_passwd")
    assert program is not None, "mosquitto_passwd is not installed"
    file = directory / f"{user}.passwords"
    file.write_text(f"{user}:{word}\nwatcher:open\n")
    file.chmod(0o600)
    subprocess.run([program, "-U", str(file)], check=True)
    return Mosquitto(("allow_anonymous false", f"password_file {file}"))


async def first_levels(config: BrokerConfig, wanted: str) -> set[str]:
    """What the topics at a broker begin with, once one begins as wanted."""
    found: set[str] = set()
    watcher = config.model_copy(update={"username": "watcher", "password": secret("open")})
    async with Link.connect(watcher, "watcher") as link:
        await link.subscribe("#")
        async for message in link.messages():
            found.add(message.topic.partition("/")[0])
            if message.topic.startswith(wanted):
                return found
    raise AssertionError("the link ended")


def secret(word: str) -> SecretStr | None:
    return BrokerConfig.model_validate({"password": word}).password


@pytest.mark.peer("mosquitto")
@pytest.mark.peer("mosquitto_passwd")
async def test_each_face_speaks_to_its_own_broker_with_its_own_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SPB_WORD", "first-word")
    (tmp_path / "uns.word").write_text("second-word\n")
    async with guarded(tmp_path, "spb", "first-word") as first, guarded(tmp_path, "uns", "second-word") as second:
        file = tmp_path / "bridge.yaml"
        faces = FACES.format(first=first.port, second=second.port, file=tmp_path / "uns.word")
        file.write_text(HEAD.replace("state_directory: state", f"state_directory: {tmp_path / 'state'}") + faces)
        bridge = Bridge(load_site([file]), SystemClock())
        task = asyncio.create_task(bridge.run())
        try:
            assert await first_levels(first.config, "spBv1.0") == {"spBv1.0"}
            assert await first_levels(second.config, "acme/essen/_bridge/bridge-1/online") == {"acme"}
            assert [face.trouble for face in bridge.faces.values() if isinstance(face, Troubled)] == ["", ""]
            await until(lambda: bridge.metrics()["sparkplug_online"] == bridge.metrics()["uns_connected"] == 1)
            assert bridge.metrics()["sparkplug_messages_total"] > 0
        finally:
            bridge.stop()
            await task
    assert "-word" not in caplog.text
