"""How `check` looks at MQTT brokers: files of TLS, options that do nothing, passwords that everybody may read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.config.check import Checked, check_paths
from bridge.config.site import load_site
from tests.certificates import Authority
from tests.sites import BASE

if TYPE_CHECKING:
    from pathlib import Path

SITE = BASE + "northbound: {sparkplug: {enabled: false}, uns: {enabled: true, broker: {BROKER}}}\n"
SPARKPLUG = (
    BASE + "northbound: {sparkplug: {enabled: true, broker: [{host: 127.0.0.1}, {BROKER}]}, uns: {enabled: false}}\n"
)


def checked(folder: Path, broker: str, site: str = SITE) -> Checked:
    (folder / "bridge.yaml").write_text(site.replace("BROKER", broker))
    return check_paths([folder / "bridge.yaml"], {})


@pytest.mark.parametrize(
    ("site", "path"), [(SITE, "northbound.uns.broker"), (SPARKPLUG, "northbound.sparkplug.broker")]
)
def test_file_that_is_missing_is_a_fault_at_its_key(site: str, path: str, tmp_path: Path) -> None:
    (fault,) = checked(tmp_path, "tls: true, ca_file: none.pem", site).faults
    assert fault.key_path.startswith(path)
    assert fault.key_path.endswith("ca_file")
    assert fault.line > 0
    assert f"{tmp_path / 'none.pem'} cannot be read: No such file" in fault.problem


def test_files_count_from_the_folder_of_the_site(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.issue("bridge")
    files = f"ca_file: {authority.file.name}, cert_file: {client.certificate.name}, key_file: {client.key.name}"
    assert checked(tmp_path, f"tls: true, {files}").faults == []
    client.key.write_text("no key")
    (fault,) = checked(tmp_path, f"tls: true, {files}").faults
    assert fault.key_path.endswith("key_file")
    assert "no private key" in fault.problem


def test_missing_file_does_not_keep_the_bridge_from_starting(tmp_path: Path) -> None:
    """It may be put there while the bridge runs; until then the face says what is missing."""
    assert checked(tmp_path, "tls: true, ca_file: none.pem").faults
    assert load_site([tmp_path / "bridge.yaml"], {}).file.northbound.uns.broker.ca_file == str(tmp_path / "none.pem")


def test_option_of_tls_without_tls_is_a_fault(tmp_path: Path) -> None:
    (fault,) = checked(tmp_path, "ca_file: a.pem, server_name: b").faults
    assert "without tls: true, ca_file, server_name would do nothing" in str(fault)


@pytest.mark.parametrize(
    ("broker", "warns"),
    [
        ("host: broker.plant, username: me, password: tr0ub4dor", True),
        ("host: 192.0.2.1, username: me, password: tr0ub4dor", True),
        ("host: localhost, username: me, password: tr0ub4dor", False),
        ("host: 127.0.0.1, username: me, password: tr0ub4dor", False),
        ("host: broker.plant, username: me, password: tr0ub4dor, tls: true", False),
        ("host: broker.plant", False),
    ],
)
def test_password_in_the_open_is_a_warning_and_no_fault(broker: str, warns: bool, tmp_path: Path) -> None:
    found = checked(tmp_path, broker)
    assert found.faults == []
    assert [warning.key_path for warning in found.warnings] == ["northbound.uns.broker.password"] * warns
    assert "tr0ub4dor" not in str(found.warnings)


@pytest.mark.parametrize(
    ("site", "path"), [(SITE, "northbound.uns.broker"), (SPARKPLUG, "northbound.sparkplug.broker")]
)
def test_embedded_broker_that_is_asked_for_mqtt_5_is_a_fault(site: str, path: str, tmp_path: Path) -> None:
    (fault,) = checked(tmp_path, "port: 1999, protocol: '5'", site + "broker: {enabled: true, port: 1999}\n").faults
    assert fault.key_path.startswith(path)
    assert fault.key_path.endswith("protocol")
    assert fault.line > 0
    assert "3.1.1 only" in fault.problem
