"""`plantbridge doctor` at real servers on loopback: what it finds, and what to do about it."""

from __future__ import annotations

import asyncio
import io
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.cli.main import main
from bridge.config.site import load_site
from bridge.model.command import Role
from bridge.model.observation import Condition, FoundMachine, Inventory, Reading
from bridge.model.status import StatusCode
from bridge.northbound.opcua.certificates import load_or_make
from bridge.runtime.doctor import house
from bridge.runtime.doctor.finding import Chart
from bridge.runtime.doctor.sources import heard_findings
from bridge.runtime.operations import BridgeOperations
from bridge.sim.iotistica import Behaviour, Iotistica
from bridge.sim.iotistica.server import PASSWORD, USERNAME
from bridge.sim.qitech.panel import Panel
from bridge.sim.quantiix import Quantiix, default_machines
from bridge.transport.clock import SystemClock
from tests.broker import broker, free_port
from tests.flow.plantfloor import running_bridge, until
from tests.flow.test_loss_and_return import EXTRUDER, is_good, site
from tests.guarded import BRIDGE, Guarded, shipped_acl
from tests.one_of_everything import NOW

HEAD = """
version: 1
bridge: {name: bridge-1, enterprise: acme, site: essen, state_directory: state}
"""
OFF = "northbound: {sparkplug: {enabled: false}, uns: {enabled: false}, opcua: {enabled: false}, status: {port: 0}}\n"

Finding = dict[str, str]
Examined = Callable[[str], "asyncio.Future[tuple[int, list[Finding]]]"]


class Doctor:
    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._capsys = capsys
        self._folder = folder

    async def __call__(self, text: str) -> tuple[int, list[Finding]]:
        file = self._folder / "examined.yaml"
        file.write_text(HEAD + text)

        def run() -> int:
            with pytest.raises(SystemExit) as caught:
                main(["doctor", str(file), "--json"])
            return int(caught.value.code or 0)

        code = await asyncio.to_thread(run)
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        return code, [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Doctor:
    return Doctor(capsys, tmp_path)


def one(findings: list[Finding], subject: str, check: str) -> Finding:
    [found] = [finding for finding in findings if (finding["subject"], finding["check"]) == (subject, check)]
    return found


def bad(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding["verdict"] == "fault"]


async def test_a_panel_with_tls_is_found_well_and_its_certificate_is_told(doctor: Doctor) -> None:
    async with Panel([EXTRUDER], release="3.0", username="machine", tls=True) as panel:
        source = f'url: "{panel.url}", ca_file: "{panel.ca_file}", password: "{panel.password}"'
        code, found = await doctor(f"sources:\n  panel: {{type: qitech, {source}}}\n{OFF}")
        assert code == 0, bad(found)
        assert one(found, "source panel", "login")["sentence"].startswith("it let us in and lists 1 machine: 1/4/57922")
        assert one(found, "source panel", "profile")["sentence"] == "qitech 3.x"
        assert "SHA-256" in one(found, "source panel", "certificate")["sentence"]
        assert one(found, "source panel", "TLS")["verdict"] == "ok"

        wrong = source.replace(str(panel.password), "not-it")
        code, found = await doctor(f"sources:\n  panel: {{type: qitech, {wrong}}}\n{OFF}")
        login = one(found, "source panel", "login")
        assert (code, login["verdict"], "refused our credentials" in login["sentence"]) == (1, "fault", True)
        assert login["next_step"]

        stranger = f'url: "{panel.url}", password: "{panel.password}"'
        code, found = await doctor(f"sources:\n  panel: {{type: qitech, {stranger}}}\n{OFF}")
        tls = one(found, "source panel", "TLS")
        assert (code, tls["verdict"], "ca_file" in tls["next_step"]) == (1, "fault", True)
        assert one(found, "source panel", "login")["verdict"] == "skipped"


async def test_a_cloud_account_is_tried_once(doctor: Doctor) -> None:
    async with Quantiix(default_machines(3)) as vendor:
        [account] = vendor.accounts.values()
        source = f'url: "{vendor.url}", email: "{account.email}", password: "{account.password}"'
        code, found = await doctor(f"sources:\n  cloud: {{type: quantiix, {source}}}\n{OFF}")
        assert code == 0, bad(found)
        assert "lists 3 machines" in one(found, "source cloud", "login")["sentence"]
        assert account.issued == 1


async def test_a_server_that_speaks_another_profile_is_a_fault_with_the_line_to_write(doctor: Doctor) -> None:
    async with Iotistica(behaviour=Behaviour(profile="documented")) as vendor:
        rest = f'rest: {{url: "{vendor.url}", username: {USERNAME}, password: {PASSWORD}}}'
        code, found = await doctor(f"sources:\n  edge: {{type: iotistica, {rest}}}\n{OFF}")
        server = one(found, "source edge", "server")
        assert (code, server["verdict"], server["next_step"]) == (1, "fault", "Write profile: documented")
        code, found = await doctor(f"sources:\n  edge: {{type: iotistica, profile: documented, {rest}}}\n{OFF}")
        assert (code, one(found, "source edge", "server")["verdict"]) == (0, "ok"), bad(found)


async def test_a_server_that_is_off_and_a_name_nobody_knows(doctor: Doctor) -> None:
    text = (
        f'sources:\n  off: {{type: qitech, url: "http://127.0.0.1:{free_port()}"}}\n'
        f'  who: {{type: qitech, url: "https://no-such-host.invalid"}}\n{OFF}'
    )
    code, found = await doctor(text)
    assert code == 1
    off = one(found, "source off", "TCP")
    assert (off["verdict"], off["sentence"].endswith("connection refused")) == ("fault", True)
    who = one(found, "source who", "DNS")
    assert (who["verdict"], "no-such-host.invalid" in who["sentence"]) == ("fault", True)
    assert all(finding["next_step"] for finding in found if finding["verdict"] in ("fault", "warning"))


@pytest.mark.peer("mosquitto", "mosquitto_passwd")
async def test_a_broker_that_allows_too_little_is_told_with_the_line_its_acl_lacks(
    doctor: Doctor, tmp_path: Path
) -> None:
    faces = OFF.replace("{", "{{").replace("}", "}}")
    for face in ("sparkplug", "uns"):
        faces = faces.replace(f"{face}: {{{{enabled: false}}}}", f"{face}: {{{{broker: {{0}}}}}}")
    less = "\n".join(line for line in shipped_acl().splitlines() if "acme/" not in line)
    for acl, verdict in ((None, "ok"), (less, "fault")):
        async with Guarded(tmp_path / verdict, acl) as guarded:
            config = guarded.config_of(BRIDGE)
            assert config.password is not None
            told = {**config.model_dump(exclude_defaults=True), "password": config.password.get_secret_value()}
            _, found = await doctor("sources: {}\n" + faces.format(json.dumps(told)))
            subject = f"broker {config.where} for uns"
            assert one(found, subject, "connect")["sentence"] == f"it let us in as {BRIDGE}, by MQTT 5"
            published = one(found, subject, "publish")
            assert published["verdict"] == verdict
            untried = one(found, f"broker {config.where} for sparkplug", "publish")
            assert untried["verdict"] == "skipped"
            assert untried["sentence"].endswith("let this user write spBv1.0/acme:essen/+/bridge-1/#")
            if verdict == "fault":
                assert published["next_step"].endswith("topic write acme/essen/_bridge/bridge-1/#")
                told["password"] = "not-it"
                code, found = await doctor("sources: {}\n" + faces.format(json.dumps(told)))
                assert (code, one(found, subject, "connect")["verdict"]) == (1, "fault")


async def test_opcua_port_names_and_certificate(doctor: Doctor, tmp_path: Path) -> None:
    port = free_port()
    faces = "northbound: {{sparkplug: {{enabled: false}}, uns: {{enabled: false}}, status: {{port: 0}}, opcua: {}}}\n"
    text = "sources: {}\n" + faces.format(f"{{host: 0.0.0.0, port: {port}, hosts: [scada.acme.example]}}")
    _, found = await doctor(text)
    assert one(found, "opcua", "port")["verdict"] == "ok"
    assert one(found, "opcua", "endpoint")["sentence"] == f"clients are told opc.tcp://scada.acme.example:{port}/"
    assert one(found, "opcua", "certificate")["verdict"] == "note"
    load_or_make(tmp_path / "state" / "pki", "urn:plantbridge:bridge-1", ("localhost",), SystemClock().now())
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    async with server:
        code, found = await doctor(text)
    names = one(found, "opcua", "names")
    assert (names["verdict"], "scada.acme.example" in names["sentence"]) == ("warning", True)
    assert "plantbridge certs new" in names["next_step"]
    taken = one(found, "opcua", "port")
    assert (code, taken["verdict"]) == (1, "fault")


async def test_the_command_that_gives_somebody_a_login_is_one(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = "sparkplug: {enabled: false}\n  uns: {enabled: false}\n  status: {port: 0}"
    _, found = await doctor(f"sources: {{}}\nnorthbound:\n  {off}\n  opcua:\n    port: {free_port()}\n")
    users = one(found, "opcua", "users")
    advised = shlex.split(users["next_step"].partition("plantbridge ")[2].replace("NAME", "anna"))
    file = tmp_path / "examined.yaml"
    assert advised == ["users", "add", "anna", str(file), "--role", "Observer"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("a long enough password\n"))
    with pytest.raises(SystemExit) as caught:
        main([*advised, "--password-stdin"])
    assert (users["verdict"], caught.value.code) == ("warning", 0)
    [user] = load_site([file]).file.northbound.opcua.users
    assert (user.name, user.role) == ("anna", Role.OBSERVER)


async def test_a_state_directory_that_cannot_be_is_a_fault(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a folder")
    code, found = await doctor(f"sources: {{}}\n{OFF}")
    assert (code, one(found, "this computer", "state directory")["verdict"]) == (1, "fault")


@pytest.mark.parametrize("verb", ["doctor", "discover", "support-bundle"])
def test_nobody_logs_in_beside_a_bridge_that_may_run(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "bridge.yaml").write_text(HEAD + f"sources: {{q: {{type: qitech, url: 'http://127.0.0.1:9'}}}}\n{OFF}")

    def refused(*_: object) -> int:  # another user's directory; root, who runs some tests, may read everything
        raise PermissionError

    monkeypatch.setattr(house.os, "open", refused)
    words = {"discover": ["q"], "support-bundle": [str(tmp_path / "b.zip")]}.get(verb, [])
    with pytest.raises(SystemExit) as caught:
        main([verb, *words, str(tmp_path / "bridge.yaml")])
    assert caught.value.code == 1
    assert "run this as the user of the bridge" in capsys.readouterr().err


async def test_a_running_bridge_is_asked_and_not_disturbed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async with broker() as mqtt, Panel([EXTRUDER], release="3.0") as panel:
        port = int(panel.url.rpartition(":")[2])
        async with running_bridge(tmp_path, site(port), mqtt) as floor:
            await until(lambda: is_good(floor, "extruder-1.Monitoring.Temperature.Front"))
            await until(lambda: BridgeOperations(floor.bridge).health().ready)
            reconnects = floor.bridge.runners["panel-1"].status.reconnects

            def run() -> int:
                with pytest.raises(SystemExit) as caught:
                    main(["doctor", str(tmp_path / "bridge.yaml"), "--json"])
                return int(caught.value.code or 0)

            code = await asyncio.to_thread(run)
            found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
            assert code == 0, bad(found)
            assert one(found, "this computer", "lock")["verdict"] == "note"
            assert one(found, "source panel-1", "login")["sentence"].startswith("the running bridge is connected")
            assert one(found, "running bridge", "sparkplug")["verdict"] == "ok"
            assert one(found, "opcua", "TCP")["verdict"] == "ok"
            assert floor.bridge.runners["panel-1"].status.reconnects == reconnects


def test_a_source_with_two_ways_that_lost_one_is_no_well_source() -> None:
    """As Iotistica by MQTT and REST: agents are listed, and the login of the API is refused."""
    refused = Condition(
        "iot", StatusCode.BadConfigurationError, "By REST: the login is refused", NOW, advice="Correct it"
    )
    items = [Inventory("iot", (FoundMachine("agent-1", {}),)), refused, refused]
    found = [*heard_findings(Chart("source iot"), [*items, Reading("iot", "ClockOffset", -7.5, NOW)], "iotistica")]
    assert [(one.check, one.verdict) for one in found] == [("login", "ok"), ("login", "fault"), ("clock", "warning")]
    assert found[1].next_step == "Correct it"
