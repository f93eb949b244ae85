"""Clients that are trusted by the admin API's hand: it is the files that count."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.northbound.opcua.certificates import load_or_make, prepare, thumbprint
from bridge.northbound.opcua.trust import Refused, TrustStore
from bridge.runtime.certificates import certificates, distrust, trust
from bridge.transport.clock import SystemClock
from tests.northbound.opcua.house import APPLICATION, HOSTS, Identity, identity

NOW = datetime.now(UTC)


def lets_in(pki: Path, client: Identity) -> bool:
    try:
        TrustStore(pki, SystemClock(), trust_required=True).check(client.der, client.uri)
    except Refused:
        return False
    return True


def test_a_refused_client_is_let_in_and_shut_out_again(tmp_path: Path) -> None:
    prepare(tmp_path)
    load_or_make(tmp_path, APPLICATION, HOSTS, NOW)
    client = identity("stranger")
    mark = thumbprint(client.certificate)
    assert not lets_in(tmp_path, client)
    assert [one["folder"] for one in certificates(tmp_path, NOW)] == ["own", "rejected"]
    with pytest.raises(KeyError):
        trust(tmp_path, mark[:12], "anna", NOW)
    trust(tmp_path, mark, "anna", NOW)
    assert lets_in(tmp_path, client)
    assert [one["folder"] for one in certificates(tmp_path, NOW)] == ["own", "trusted"]
    with pytest.raises(KeyError):
        trust(tmp_path, mark, "anna", NOW)
    distrust(tmp_path, mark, "otto", NOW)
    assert not lets_in(tmp_path, client)
    audit = "".join(file.read_text() for file in tmp_path.rglob("*.log"))
    assert f"trusted {mark} by anna" in audit
    assert f"rejected {mark} by otto" in audit


def test_where_there_is_no_server_nobody_is_trusted() -> None:
    with pytest.raises(KeyError):
        trust(None, "3f1c8a", "anna", NOW)
