"""How `check` looks at the status page: nobody's password goes over a network unencrypted unless somebody says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.config.check import Checked, check_paths
from tests.certificates import Authority
from tests.sites import BASE

if TYPE_CHECKING:
    from pathlib import Path

USERS = "opcua: {users: [{name: anna, password_hash: 'scrypt$1$1$1$AA==$AA=='}]}, "


def checked(folder: Path, status: str, users: str = USERS) -> Checked:
    (folder / "bridge.yaml").write_text(f"{BASE}northbound: {{{users}status: {{{status}}}}}\n")
    return check_paths([folder / "bridge.yaml"], {})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "'::1'"])
def test_on_loopback_neither_users_nor_a_certificate_are_wanted(tmp_path: Path, host: str) -> None:
    assert checked(tmp_path, f"host: {host}", "").faults == []


@pytest.mark.parametrize(
    ("status", "users", "words"),
    [
        ("host: 0.0.0.0", USERS, "0.0.0.0 is not loopback: write cert_file and key_file"),
        ("host: 0.0.0.0, unencrypted: true", "", "0.0.0.0 is not loopback, and nobody has a password"),
        ("cert_file: a.pem", USERS, "cert_file and key_file belong together"),
        ("cert_file: a.pem, key_file: b.pem", USERS, "a.pem"),
        (
            "host: 0.0.0.0, unencrypted: true",
            "opcua: {users: [{name: a, certificate: '" + "0" * 40 + "'}]}, ",
            "nobody",
        ),
    ],
)
def test_what_is_missing_for_a_page_on_the_network_is_a_fault_with_its_place(
    tmp_path: Path, status: str, users: str, words: str
) -> None:
    (fault,) = checked(tmp_path, status, users).faults
    assert words in str(fault)
    assert fault.key_path.startswith("northbound.status")
    assert fault.line > 0


def test_page_on_the_network_has_users_and_a_certificate(tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue("bridge")
    files = f"cert_file: {issued.certificate.name}, key_file: {issued.key.name}"
    assert checked(tmp_path, f"host: 0.0.0.0, {files}").faults == []
    assert checked(tmp_path, "host: 0.0.0.0, unencrypted: true").faults == []
    locked = Authority(tmp_path).issue("locked", password="secret")
    (fault,) = checked(tmp_path, f"cert_file: {locked.certificate.name}, key_file: {locked.key.name}").faults
    assert "no certificate and its key" in str(fault)
