"""The demo's addresses: where a client on this computer finds what listens."""

import pytest

from bridge.cli.demo import client_url, reachable


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "mqtt://127.0.0.1:1883"),
        ("0.0.0.0", "mqtt://127.0.0.1:1883"),
        ("::", "mqtt://[::1]:1883"),
        ("::1", "mqtt://[::1]:1883"),
        ("fe80::1", "mqtt://[fe80::1]:1883"),
        ("bridge.example", "mqtt://bridge.example:1883"),
    ],
)
def test_a_url_names_an_address_a_client_can_use(host: str, url: str) -> None:
    assert client_url("mqtt", host, 1883) == url


def test_every_interface_is_reached_on_loopback_without_brackets() -> None:
    assert [reachable(host) for host in ("0.0.0.0", "::", "192.0.2.1")] == ["127.0.0.1", "::1", "192.0.2.1"]
