"""Who gets in, and what those who do not get in are given: nothing."""

import asyncio
import dataclasses
import functools
import itertools
import logging
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from asyncua import Client, ua
from asyncua.crypto import security_policies
from asyncua.crypto.security_policies import (
    SecurityPolicy,
    SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic256Sha256,
    sign_asymmetric,
)
from asyncua.ua.uaerrors import UaError
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bridge.cli.main import main
from bridge.northbound.opcua.certificates import host_names, load, make, thumbprint
from bridge.northbound.opcua.own import Own
from bridge.northbound.opcua.stack.engine import Engine
from tests.northbound.opcua.house import House, Identity, Seen, crl, eventually, house, identity, raw, secure_client

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRESSURE = "ns=2;s=extruder-1.Monitoring.Pressure"
SET_POINT = "ns=2;s=extruder-1.Setpoints.ScrewSpeed"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home() -> AsyncIterator[House]:
    async with house() as home:
        home.trust(identity("trusted"))
        yield home


async def refused(client: Client) -> str:
    """How the server said no."""
    with pytest.raises((UaError, ConnectionError, TimeoutError)) as caught:
        await client.connect()
        await client.disconnect()
    return type(caught.value).__name__


async def test_trusted_client_with_a_password_reads(home: House) -> None:
    async with await secure_client(home, identity("trusted")) as client:
        assert await client.get_node(PRESSURE).read_value() == 12.5


async def test_only_secured_endpoints_with_a_login_are_offered(home: House) -> None:
    endpoints = await Client(home.url).connect_and_get_server_endpoints()
    offered = {one.SecurityPolicyUri.partition("#")[2] for one in endpoints}
    assert offered == {"Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"}
    for endpoint in endpoints:
        assert endpoint.SecurityMode == ua.MessageSecurityMode.SignAndEncrypt
        tokens = {token.TokenType for token in endpoint.UserIdentityTokens}
        assert tokens == {ua.UserTokenType.UserName, ua.UserTokenType.Certificate}
        assert endpoint.Server.ApplicationUri == "urn:test:bridge"


@pytest.mark.parametrize(
    "policy", [SecurityPolicyBasic256Sha256, SecurityPolicyAes128Sha256RsaOaep, SecurityPolicyAes256Sha256RsaPss]
)
@pytest.mark.parametrize("by", ["password", "certificate"])
async def test_each_policy_with_each_login(home: House, policy: type[SecurityPolicy], by: str) -> None:
    client = await secure_client(home, identity("trusted"), "operator" if by == "password" else None, policy=policy)
    if by == "certificate":
        await show(client, identity("badge"))
    async with client:
        assert await client.get_node(PRESSURE).read_value() == 12.5
        assert await write(client, SET_POINT, ua.Variant(30.0)) == "Good"


async def test_endpoints_are_named_as_the_client_names_them() -> None:
    async with house(unsecured_read_only=True) as home:
        plain = home.url.rstrip("/")
        for url in (plain, f"{plain}/"):
            endpoints = await Client(url).connect_and_get_server_endpoints()
            assert {one.EndpointUrl for one in endpoints} == {url}
            assert {found for one in endpoints for found in one.Server.DiscoveryUrls} == {url}


async def show(client: Client, badge: Identity, key: Identity | None = None) -> None:
    """Log in with this user certificate, and with the key of another if asked."""
    await client.load_client_certificate(str(badge.certificate_file))
    await client.load_private_key(str((key or badge).key_file))


async def test_user_certificate_that_nobody_has_is_refused(home: House, caplog: pytest.LogCaptureFixture) -> None:
    client = await secure_client(home, identity("trusted"), None)
    await show(client, identity("stranger"))
    assert await refused(client) == "BadUserAccessDenied"
    assert f"the user certificate {thumbprint(identity('stranger').certificate)} failed" in caplog.text
    assert "plantbridge users add NAME CONFIG --certificate FILE" in caplog.text
    assert not home_sessions(home)


async def test_copy_of_a_user_certificate_without_its_key_is_refused(home: House) -> None:
    client = await secure_client(home, identity("trusted"), None)
    await show(client, identity("badge"), identity("thief"))
    assert await refused(client) == "BadUserSignatureInvalid"
    assert not home_sessions(home)


async def test_user_certificate_s_key_signs_as_the_policy_of_the_endpoint_says(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await secure_client(home, identity("trusted"), None)
    await show(client, identity("badge"))
    other = functools.partial(sign_asymmetric, policy_uri=SecurityPolicyAes256Sha256RsaPss.URI)
    monkeypatch.setattr(security_policies, "sign_asymmetric", lambda key, data, uri: other(key, data))
    assert await refused(client) == "BadUserSignatureInvalid"
    assert not home_sessions(home)


@pytest.mark.parametrize("by", ["password", "certificate"])
@pytest.mark.parametrize("claimed", ["anonymous", "another", None])
async def test_login_must_answer_to_what_the_endpoint_offers(
    home: House, monkeypatch: pytest.MonkeyPatch, by: str, claimed: str | None
) -> None:
    client = await secure_client(home, identity("trusted"), "operator" if by == "password" else None)
    if by == "certificate":
        await show(client, identity("badge"))
    found = Client.server_policy
    monkeypatch.setattr(Client, "server_policy", lambda *one: dataclasses.replace(found(*one), PolicyId=claimed))
    assert await refused(client) == "BadIdentityTokenInvalid"
    assert not home_sessions(home)


async def test_user_without_a_password_cannot_log_in_with_one(home: House) -> None:
    client = await secure_client(home, identity("trusted"), "scada", "")
    assert await refused(client) == "BadUserAccessDenied"


def by_name(client: Client, host: str) -> None:
    """Let it come by this name, which no resolver knows."""
    client._server_url = client.server_url._replace(netloc=f"{host}:{client.server_url.port}")
    real = client.uaclient.connect_socket

    async def by_address(host: str, port: int) -> None:
        await real("127.0.0.1", port)

    client.uaclient.connect_socket = by_address  # type: ignore[method-assign]


def told_of(host: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one for one in caplog.messages if host in one]


async def test_name_of_ours_that_the_certificate_lacks_is_told(home: House, caplog: pytest.LogCaptureFixture) -> None:
    client = await secure_client(home, identity("trusted"))
    by_name(client, "gateway-7")
    with caplog.at_level(logging.WARNING, "bridge"):
        await client.connect()
        await client.disconnect()
    (line,) = told_of("gateway-7", caplog)
    assert f"plantbridge certs new --pki {home.pki} --uri urn:test:bridge" in line
    assert line.rstrip().endswith("--host gateway-7")


async def test_client_that_minds_the_name_and_leaves_is_told_too(home: House, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "bridge"):
        for host in ("Gateway-8", "gateway-8", "localhost", "$(gateway-9)"):
            client = Client(home.url)
            by_name(client, host)
            (endpoint, *_) = await client.connect_and_get_server_endpoints()
            shown = x509.load_der_x509_certificate(endpoint.ServerCertificate)
            assert host_names(shown) == ["localhost", "127.0.0.1"]  # of which it sees that it must not go on
    (line,) = told_of("gateway-", caplog)
    assert "BadCertificateHostNameInvalid" in line
    assert line.rstrip().endswith("--host gateway-8")


async def test_strangers_names_leave_room_for_those_of_clients(caplog: pytest.LogCaptureFixture, home: House) -> None:
    own = Own(home.pki)
    own.show(load(home.pki))
    for number in range(100):
        own.reached_as(f"opc.tcp://stranger-{number}:4840", is_known=False)
    for number in range(100):
        own.reached_as(f"opc.tcp://client-{number}:4840", is_known=True)
    assert len(told_of("--host stranger-", caplog)) == len(told_of("--host client-", caplog)) == 10


async def test_another_own_certificate_is_shown_without_a_restart() -> None:
    async with house() as home:
        home.trust(identity("trusted"))
        async with await secure_client(home, identity("trusted")) as before:
            make(home.pki, "urn:test:bridge", ("localhost", "127.0.0.1"), datetime.now(UTC))
            made = load(home.pki).certificate.public_bytes(Encoding.DER)

            async def shown() -> bytes:
                endpoints = await Client(home.url).connect_and_get_server_endpoints()
                return bytes(endpoints[0].ServerCertificate)

            async with asyncio.timeout(30):
                while await shown() != made:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert await before.get_node(PRESSURE).read_value() == 12.5
        async with await secure_client(home, identity("trusted")) as after:
            assert await after.get_node(PRESSURE).read_value() == 12.5


async def test_a_change_of_the_certificate_leaves_nobody_without_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end, made = asyncio.Event(), asyncio.Event(), Engine._setup_server_nodes

    async def slow(self: Engine) -> None:
        begun.set()
        await may_end.wait()
        await made(self)

    async with house() as home:
        home.trust(identity("trusted"))
        engine = home.server._serving
        assert engine is not None
        monkeypatch.setattr(Engine, "_setup_server_nodes", slow)
        own = load(home.pki)
        change = asyncio.create_task(engine.change(own.certificate, own.key))
        await begun.wait()
        assert len(await Client(home.url).connect_and_get_server_endpoints()) == 3
        async with await secure_client(home, identity("trusted")) as client:
            assert await client.get_node(PRESSURE).read_value() == 12.5
        may_end.set()
        await change
        assert len(await Client(home.url).connect_and_get_server_endpoints()) == 3


async def test_wrong_password_is_refused(home: House) -> None:
    client = await secure_client(home, identity("trusted"), "observer", "wrong")
    assert await refused(client) == "BadUserAccessDenied"


@pytest.mark.parametrize("user", ["admin", "Admin", "nobody", " "])
async def test_asyncuas_own_admin_is_nobody_here(home: House, user: str) -> None:
    client = await secure_client(home, identity("trusted"), user, "anything")
    assert await refused(client) == "BadUserAccessDenied"


async def test_anonymous_is_refused_on_the_secured_endpoint(home: House) -> None:
    client = await secure_client(home, identity("trusted"), None)
    assert await refused(client) == "BadIdentityTokenRejected"
    assert not home_sessions(home)


async def test_unsecured_client_gets_no_session(home: House) -> None:
    assert await refused(Client(home.url)) in ("BadSecurityPolicyRejected", "UaError")


async def test_password_is_not_taken_in_clear(home: House) -> None:
    client = Client(home.url)
    client.set_user("operator")
    client.set_password("correct horse")
    assert await refused(client) in ("BadSecurityPolicyRejected", "UaError")


async def test_foreign_certificate_is_refused_until_a_person_trusts_it(
    home: House, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = identity("stranger")
    with caplog.at_level(logging.WARNING, "bridge"):
        assert await refused(await secure_client(home, stranger)) == "BadCertificateUntrusted"
    mark = thumbprint(stranger.certificate)
    assert f"of 127.0.0.1, certificate {mark}: BadCertificateUntrusted" in caplog.text
    command = re.search(r"plantbridge (certs trust \S+ --pki \S+)", caplog.text)
    assert command is not None
    with pytest.raises(SystemExit) as ended:
        main(command[1].split())
    assert ended.value.code == 0
    assert not list((home.pki / "rejected").glob(f"*{mark}.der"))
    async with await secure_client(home, stranger) as client:
        assert await client.get_node(PRESSURE).read_value() == 12.5


def cli(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 0


async def test_rejected_client_is_cut_off_and_nobody_else_is(home: House, caplog: pytest.LogCaptureFixture) -> None:
    client, gone, heard = identity("soon-rejected"), asyncio.Event(), bytearray()
    home.trust(client)
    mark = thumbprint(client.certificate)
    async with await secure_client(home, identity("trusted")) as other:
        rejected = await secure_client(home, client)
        await rejected.connect()
        watched = rejected.uaclient.protocol
        assert watched is not None
        receive, lose = watched.data_received, watched.connection_lost
        watched.data_received = lambda data: (heard.extend(data), receive(data))  # type: ignore[method-assign]
        watched.connection_lost = lambda why: (lose(why), gone.set())  # type: ignore[method-assign]
        subscription = await rejected.create_subscription(1000, Seen())
        await subscription.subscribe_data_change(rejected.get_node(PRESSURE))
        with caplog.at_level(logging.WARNING, "bridge"):
            cli("certs", "reject", mark, "--pki", str(home.pki))
            await eventually(lambda: gone.is_set() and "Cut off" in caplog.text, 30)
        assert b"ERRF" in heard
        assert f"certificate {mark}: BadCertificateUntrusted" in caplog.text
        assert caplog.text.count("Cut off") == 1
        await eventually(lambda: len(home_sessions(home)) == 1, 30)
        assert await other.get_node(PRESSURE).read_value() == 12.5
        await leave(rejected)
    assert await refused(await secure_client(home, client)) == "BadCertificateUntrusted"


async def test_client_that_a_new_revocation_list_names_is_cut_off(
    home: House, caplog: pytest.LogCaptureFixture
) -> None:
    authority, member = identity("plant-authority", is_ca=True), identity("plant-member", issuer="plant-authority")
    home.trust(authority)
    (home.pki / "crl" / "plant.crl").write_bytes(crl(authority))
    client = await secure_client(home, member)
    await client.connect()
    assert await client.get_node(PRESSURE).read_value() == 12.5
    with caplog.at_level(logging.WARNING, "bridge"):
        (home.pki / "crl" / "plant.crl").write_bytes(crl(authority, member))
        await eventually(lambda: "Cut off" in caplog.text, 30)
    assert f"certificate {thumbprint(member.certificate)}: BadCertificateRevoked" in caplog.text
    await eventually(lambda: not home_sessions(home), 30)
    await leave(client)
    assert await refused(await secure_client(home, member)) == "BadCertificateRevoked"


async def leave(client: Client) -> None:
    """Of a client whose connection is gone."""
    with suppress(UaError, ConnectionError, TimeoutError):
        await client.disconnect()


async def test_certificate_that_names_another_application_is_refused(home: House) -> None:
    client = await secure_client(home, identity("trusted"))
    client.application_uri = "urn:somebody:else"
    assert await refused(client) == "BadCertificateUriInvalid"


class Impostor(Client):
    """Opens the channel with its own key and shows somebody's trusted certificate."""

    shown: bytes | None = None

    async def create_session(self) -> ua.CreateSessionResult:
        create = self.uaclient.create_session

        async def with_other_certificate(params: ua.CreateSessionParameters) -> ua.CreateSessionResult:
            params.ClientCertificate = self.shown
            return await create(params)

        self.uaclient.create_session = with_other_certificate  # type: ignore[method-assign]
        return await super().create_session()


@pytest.mark.parametrize("shown", ["copy", "empty"])
async def test_copy_of_a_trusted_certificate_or_none_at_all_does_not_help(home: House, shown: str) -> None:
    victim, thief = identity("trusted"), identity("thief")
    proper = await secure_client(home, thief)
    client = Impostor(home.url, timeout=30)
    client.shown = victim.der if shown == "copy" else None
    client.application_uri = victim.uri
    client.security_policy = proper.security_policy
    client.uaclient.set_security(proper.security_policy)
    client.set_user("observer")
    client.set_password("correct horse")
    assert await refused(client) in ("BadSecurityChecksFailed", "UaError")
    assert not home_sessions(home)


def home_sessions(home: House) -> list[object]:
    """Sessions the server holds, seen from the asyncio tasks it made for them."""
    return [task for task in asyncio.all_tasks() if "_timeout_loop" in repr(task)]


async def write(client: Client, node: str, value: ua.Variant, attribute: int = ua.AttributeIds.Value) -> str:
    item = ua.WriteValue(NodeId=ua.NodeId.from_string(node), AttributeId=attribute, Value=ua.DataValue(value))
    (status,) = await client.uaclient.write(ua.WriteParameters([item]))
    return str(status.name)


async def test_writes_are_answered_per_item_and_change_nothing(home: House) -> None:
    async with await secure_client(home, identity("trusted"), "operator") as client:
        items = [
            ua.WriteValue(ua.NodeId.from_string(node), attribute, None, ua.DataValue(ua.Variant(99.0)))
            for node, attribute in (
                (SET_POINT, ua.AttributeIds.Value),
                (PRESSURE, ua.AttributeIds.Value),
                ("ns=2;s=nothing", ua.AttributeIds.Value),
                (PRESSURE, ua.AttributeIds.DisplayName),
                ("i=2255", ua.AttributeIds.Value),
            )
        ]
        results = await client.uaclient.write(ua.WriteParameters(items))
        names = [one.name for one in results]
        assert names == ["Good", "BadNotWritable", "BadNodeIdUnknown", "BadNotWritable", "BadNotWritable"]
        assert await client.get_node(SET_POINT).read_value() == 30.0
        assert (await client.get_namespace_array())[2] == "urn:test:bridge:instances"


async def test_observer_may_not_write_a_set_point(home: House) -> None:
    async with await secure_client(home, identity("trusted"), "observer") as client:
        assert await write(client, SET_POINT, ua.Variant(1.0)) == "BadUserAccessDenied"
        assert await write(client, PRESSURE, ua.Variant(1.0)) == "BadNotWritable"


@pytest.mark.parametrize(("user", "expected"), [("observer", "BadUserAccessDenied"), ("engineer", "BadNotExecutable")])
async def test_calls_are_answered_per_item(home: House, user: str, expected: str) -> None:
    async with await secure_client(home, identity("trusted"), user) as client:
        server, method = ua.NodeId(ua.ObjectIds.Server), ua.NodeId(ua.ObjectIds.Server_GetMonitoredItems)
        requests = [
            ua.CallMethodRequest(server, method, [ua.Variant(1, ua.VariantType.UInt32)]),
            ua.CallMethodRequest(ua.NodeId("nothing", 2), method),
            ua.CallMethodRequest(server, ua.NodeId("nothing", 2)),
        ]
        results = await client.uaclient.call(requests)
        assert [one.StatusCode.name for one in results] == [expected, "BadNodeIdUnknown", "BadMethodInvalid"]


async def test_even_an_engineer_may_not_change_the_address_space(home: House) -> None:
    async with await secure_client(home, identity("trusted"), "engineer") as client:
        with pytest.raises(UaError):
            await client.nodes.objects.add_folder(2, "mine")
        with pytest.raises(UaError):
            await client.delete_nodes([client.get_node(PRESSURE)])
        assert await client.get_node(PRESSURE).read_value() == 12.5


async def test_any_with_login_lets_a_strange_certificate_in_with_a_password_only() -> None:
    async with house(trust="any_with_login") as lenient:
        async with await secure_client(lenient, identity("stranger")) as client:
            assert await client.get_node(PRESSURE).read_value() == 12.5
        assert await refused(await secure_client(lenient, identity("stranger"), "observer", "wrong"))
        assert await refused(await secure_client(lenient, identity("weak-1024", bits=2048), None))
        assert await refused(Client(lenient.url))


async def test_unsecured_endpoint_reads_and_nothing_else() -> None:
    async with house(unsecured_read_only=True) as open_house:
        async with Client(open_house.url) as client:
            assert await client.get_node(PRESSURE).read_value() == 12.5
            assert await write(client, SET_POINT, ua.Variant(1.0)) == "BadUserAccessDenied"
        named = Client(open_house.url)
        named.set_user("operator")
        named.set_password("correct horse")
        assert await refused(named) == "BadIdentityTokenRejected"
        endpoints = await Client(open_house.url).connect_and_get_server_endpoints()
        tokens = {one.SecurityMode.name: [t.TokenType.name for t in one.UserIdentityTokens] for one in endpoints}
        assert tokens == {"SignAndEncrypt": ["Certificate", "UserName"], "None_": ["Anonymous"]}


async def test_discovery_needs_no_security_and_gives_no_more(home: House) -> None:
    async with raw(home.port) as client:
        await client.open()
        assert await client.status(ua.GetEndpointsRequest()) == "Good"
        assert await client.status(ua.FindServersRequest()) == "Good"
        assert await client.status(ua.CreateSessionRequest()) == "BadSecurityPolicyRejected"
        for request in (ua.ReadRequest(), ua.BrowseRequest(), ua.ActivateSessionRequest(), ua.PublishRequest()):
            assert await client.status(request) == "BadSecurityPolicyRejected", request


@pytest.mark.parametrize("short", [0, 1], ids=["channel", "session"])
async def test_a_client_whose_nonce_is_short_gets_nothing(
    home: House, monkeypatch: pytest.MonkeyPatch, short: int
) -> None:
    client, asked = await secure_client(home, identity("trusted")), itertools.count()
    monkeypatch.setattr(
        "asyncua.client.client.create_nonce", lambda size=32: b"n" * (31 if next(asked) == short else 32)
    )
    assert await refused(client) == "BadNonceInvalid"
