"""The files of docker/, as far as tools without a daemon can tell."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCKER = Path(__file__).parent.parent.parent / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def accepted(*command: str) -> None:
    """A program that is content says nothing, and ends with 0."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dockerfile_is_as_hadolint_wants_it() -> None:
    accepted(str(Path(sys.executable).parent / "hadolint"), str(DOCKER / "Dockerfile"))


def test_compose_file_has_the_shape_of_its_specification() -> None:
    program = str(Path(sys.executable).parent / "check-jsonschema")
    accepted(program, "--builtin-schema", "vendor.compose-spec", str(DOCKER / "compose.yaml"))


@pytest.mark.peer("systemd-analyze")
def test_unit_is_as_systemd_wants_it(tmp_path: Path) -> None:
    """With a program that exists: it is not installed here."""
    text = (DOCKER / "plantbridge.service").read_text(encoding="utf-8")
    unit = tmp_path / "plantbridge.service"
    unit.write_text(text.replace("/opt/plantbridge/bin/plantbridge", "/bin/true"), encoding="utf-8")
    accepted("systemd-analyze", "verify", str(unit))
    accepted("systemd-analyze", "security", "--offline=yes", "--threshold=20", str(unit))


def test_what_the_image_copies_is_let_through() -> None:
    wanted = set(re.findall(r"^COPY (?!--from)(.*) \S+$", (DOCKER / "Dockerfile").read_text(encoding="utf-8"), re.M))
    names = {name for line in wanted for name in line.split()}
    lets = {line[1:] for line in (DOCKER.parent / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert names == lets
    assert all((DOCKER.parent / name).exists() for name in names)


def mounts() -> Iterator[tuple[str, str]]:
    """Service and source of each mount."""
    for name, service in SERVICES.items():
        for mount in service.get("volumes", ()):
            yield name, mount.partition(":")[0]


@pytest.mark.parametrize(("service", "source"), list(mounts()))
def test_what_is_mounted_exists(service: str, source: str) -> None:
    if source.startswith("."):
        assert (DOCKER / source).exists(), f"{service} mounts {source}"
    else:
        assert source in COMPOSE["volumes"], f"{service} mounts {source}"


@pytest.mark.parametrize("name", list(SERVICES))
def test_every_service_is_hardened_and_of_one_version(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["image"] == "plantbridge" or re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    for port in service.get("ports", ()):
        assert port.startswith("${BIND:-127.0.0.1}:"), "open to this computer only until somebody says otherwise"


def used_metrics() -> set[str]:
    """Names of the bridge's metrics in dashboard and alerts."""
    dashboard = json.loads((DOCKER / "grafana" / "dashboards" / "plantbridge.json").read_text(encoding="utf-8"))
    alerts = yaml.safe_load((DOCKER / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    written = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    written += [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    return {name for expression in written for name in re.findall(r"plantbridge_\w+", expression)}


def test_dashboard_and_alerts_use_metrics() -> None:
    """That a bridge has each of them is looked at where one runs: tests/flow/test_demo.py."""
    assert len(used_metrics()) > 20


def test_every_panel_asks_the_chosen_bridge() -> None:
    dashboard = json.loads((DOCKER / "grafana" / "dashboards" / "plantbridge.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            assert 'bridge=~"$bridge"' in target["expr"], panel["title"]
