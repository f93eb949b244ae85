"""TLS towards a real mosquitto: who is trusted, who is let in, and what is said of those who are not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr, ValidationError

from bridge.errors import LinkLost
from bridge.transport.mqtt import BrokerConfig, Link, Message
from bridge.transport.mqtt_tls import tls_fault
from tests.broker import Mosquitto
from tests.certificates import Authority, Issued
from tests.transport.test_mqtt import BOTH, mosquitto, take, using

if TYPE_CHECKING:
    from pathlib import Path

MUTUAL = "require_certificate true"


class TlsMosquitto(Mosquitto):
    """With the certificate of a broker, and whose clients it trusts."""

    def __init__(self, issued: Issued, authority: Authority, *more: str) -> None:
        files = (f"certfile {issued.certificate}", f"keyfile {issued.key}", f"cafile {authority.file}")
        super().__init__(listener=[*files, *more])

    async def _listening(self) -> None:
        async with asyncio.timeout(30):
            while True:
                try:
                    with socket.create_connection((self.host, self.port), 1) as raw:
                        context = ssl.create_default_context()
                        context.check_hostname = False
                        context.verify_mode = ssl.CERT_NONE
                        with context.wrap_socket(raw):
                            return
                except OSError:
                    await asyncio.sleep(0.01)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def refusal(config: BrokerConfig) -> str:
    """What is said of a connection that is not made."""
    with pytest.raises(LinkLost) as caught:
        async with asyncio.timeout(30), Link.connect(config, "one"):
            pass
    return str(caught.value)


async def speaks(config: BrokerConfig) -> None:
    """A session there works, in both directions, at some speed."""
    async with asyncio.timeout(30), Link.connect(config, "one") as link:
        await link.subscribe("a", 0)
        link.publish(Message("a", b"x" * 100_000, 1))
        for number in range(900):
            link.publish(Message("a", str(number).encode() * 200, number % 2))
            if number % 100 == 0:
                await link.drain()
        assert await link.flush(10)
        messages = await take(link, 901)
        assert len(messages[0].payload) == 100_000
        assert [message.payload for message in messages[1:]] == [str(number).encode() * 200 for number in range(900)]


@mosquitto
@BOTH
async def test_certificate_of_a_trusted_authority_for_this_host_is_taken(protocol: str, authority: Authority) -> None:
    async with TlsMosquitto(authority.issue("localhost"), authority) as server:
        await speaks(using(server, protocol, host="localhost", tls=True, ca_file=str(authority.file)))


@mosquitto
async def test_authority_nobody_told_us_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    async with TlsMosquitto(authority.issue("localhost"), authority) as server:
        config = using(server, "5", host="localhost", tls=True)
        assert "not signed by an authority we trust" in await refusal(config)
        other = Authority(tmp_path, "other")
        said = await refusal(config.model_copy(update={"ca_file": str(other.file)}))
        assert "not signed by an authority we trust" in said
        assert "ca_file" in said


@mosquitto
async def test_certificate_that_has_expired_is_not_taken(authority: Authority) -> None:
    async with TlsMosquitto(authority.issue("localhost", ends=timedelta(minutes=-1)), authority) as server:
        said = await refusal(using(server, "5", host="localhost", tls=True, ca_file=str(authority.file)))
    assert "has expired" in said
    assert "renew it at the broker" in said


@mosquitto
async def test_certificate_of_another_host_is_only_taken_under_its_own_name(authority: Authority) -> None:
    async with TlsMosquitto(authority.issue("broker.plant"), authority) as server:
        config = using(server, "5", tls=True, ca_file=str(authority.file))
        for host in ("127.0.0.1", "localhost"):
            said = await refusal(config.model_copy(update={"host": host}))
            assert f"not for {host}" in said
            assert "server_name" in said
        assert "not for elsewhere" in await refusal(config.model_copy(update={"server_name": "elsewhere"}))
        await speaks(config.model_copy(update={"server_name": "broker.plant"}))


@mosquitto
async def test_certificate_for_an_address_is_taken(authority: Authority) -> None:
    async with TlsMosquitto(authority.issue("127.0.0.1"), authority) as server:
        await speaks(using(server, "5", tls=True, ca_file=str(authority.file)))


@mosquitto
@pytest.mark.parametrize("protocol", ["auto", "5"])
async def test_client_certificate_is_shown_and_its_absence_is_named(protocol: str, authority: Authority) -> None:
    async with TlsMosquitto(authority.issue("localhost"), authority, MUTUAL) as server:
        config = using(server, protocol, host="localhost", tls=True, ca_file=str(authority.file))
        said = await refusal(config)
        assert "client certificate" in said
        assert "cert_file" in said
        client = authority.issue("bridge")
        shown = {"cert_file": str(client.certificate), "key_file": str(client.key)}
        await speaks(config.model_copy(update=shown))


@mosquitto
async def test_client_certificate_of_a_stranger_is_refused(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger").issue("bridge")
    async with TlsMosquitto(authority.issue("localhost"), authority, MUTUAL) as server:
        shown = {"cert_file": str(stranger.certificate), "key_file": str(stranger.key)}
        config = using(server, "5", host="localhost", tls=True, ca_file=str(authority.file), **shown)
        assert "our client certificate" in await refusal(config)


@mosquitto
async def test_key_may_be_encrypted_and_in_the_file_of_its_certificate(authority: Authority) -> None:
    client = authority.issue("bridge", password="sesame")
    client.certificate.write_bytes(client.certificate.read_bytes() + client.key.read_bytes())
    async with TlsMosquitto(authority.issue("localhost"), authority, MUTUAL) as server:
        shown = {"cert_file": str(client.certificate), "key_password": SecretStr("sesame")}
        await speaks(using(server, "5", host="localhost", tls=True, ca_file=str(authority.file), **shown))


@mosquitto
async def test_broker_without_tls_is_named() -> None:
    async with Mosquitto() as server:
        assert "does it speak TLS at this port?" in await refusal(using(server, "5", tls=True))


@mosquitto
async def test_broker_that_wants_tls_is_named(authority: Authority) -> None:
    async with TlsMosquitto(authority.issue("broker"), authority) as server:
        assert "does it want TLS at this port?" in await refusal(using(server, "5"))


async def test_broker_that_never_answers_the_handshake_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.transport.mqtt_connection.ANSWER_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = BrokerConfig(port=silent.getsockname()[1], tls=True, protocol="5")
        with pytest.raises(LinkLost, match="no answer"):
            async with Link.connect(config, "one"):
                pass


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "wants a client certificate: set cert_file"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "may want a client certificate"),
        ("TLSV1_ALERT_UNKNOWN_CA", "does not trust the authority of our client certificate"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "our client certificate has expired"),
        ("SSLV3_ALERT_BAD_CERTIFICATE", "does not take our client certificate"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "another version of TLS"),
        ("WRONG_VERSION_NUMBER", "does it speak TLS at this port?"),
        ("SOMETHING_NEW", "TLS failed: something new"),
    ],
)
def test_what_the_broker_says_about_us_is_said_in_words(reason: str, said: str) -> None:
    """The alerts of OpenSSL; which of them comes over depends on the version of TLS and on who hangs up first."""
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    assert said in tls_fault(error, BrokerConfig(tls=True))


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "spoilt", "said"),
    [
        ("ca_file", None, "cannot be read: No such file"),
        ("ca_file", b"no PEM", "holds no certificate"),
        ("cert_file", None, "cannot be read: No such file"),
        ("cert_file", b"no PEM", "holds no certificate"),
        ("key_file", None, "cannot be read: No such file"),
        ("key_file", b"no PEM", "holds no private key"),
        ("key_file", b"other", "is not the one of the certificate"),
        ("key_password", b"", "does not open with key_password"),
    ],
)
async def test_file_that_cannot_be_used_is_named(
    option: str, spoilt: bytes | None, said: str, authority: Authority
) -> None:
    client = authority.issue("bridge", password="sesame")
    files = {"ca_file": authority.file, "cert_file": client.certificate, "key_file": client.key}
    if spoilt is None:
        files[option].unlink()
    elif spoilt == b"other":
        client.key.write_bytes(authority.issue("other").key.read_bytes())
    elif option in files:
        files[option].write_bytes(spoilt)
    names = {name: str(file) for name, file in files.items()}
    for password in (SecretStr("wrong"), None) if option == "key_password" else (SecretStr("sesame"),):
        config = BrokerConfig.model_validate({"port": 1, "tls": True, "key_password": password, **names})
        found = await refusal(config)
        assert found.startswith(f"{option}: ")
        assert said in found
        assert "sesame" not in found


@pytest.mark.parametrize(
    "options", [{"ca_file": "a"}, {"cert_file": "a"}, {"server_name": "a"}, {"cert_file": "a", "key_password": "b"}]
)
def test_options_of_tls_without_tls_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="tls: true"):
        BrokerConfig.model_validate(options)


def test_key_without_its_certificate_is_refused() -> None:
    with pytest.raises(ValidationError, match="cert_file"):
        BrokerConfig.model_validate({"tls": True, "key_file": "a"})


def test_password_of_the_key_is_not_shown() -> None:
    config = BrokerConfig(tls=True, cert_file="a", key_password=SecretStr("sesame"))
    assert "sesame" not in repr(config) + str(config.model_dump())
