"""`plantbridge certs`: on files, as a person does it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from bridge.cli.certs import PASSES
from bridge.cli.main import main
from bridge.northbound.opcua.certificates import host_names, load, load_or_make, prepare, thumbprint
from bridge.northbound.opcua.trust import Refused, TrustStore
from bridge.northbound.opcua.window import read_window
from bridge.transport.clock import SystemClock
from tests.northbound.opcua.house import APPLICATION, HOSTS, Identity, crl, identity

Ran = tuple[int, str, str]
Run = Callable[..., Ran]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    prepare(tmp_path / "pki")
    load_or_make(tmp_path / "pki", APPLICATION, HOSTS, datetime.now(UTC))
    return tmp_path


@pytest.fixture
def run(state: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def ran(*arguments: object) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main(["certs", *map(str, arguments), "--state-dir", str(state)])
        told = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, told.out, told.err

    return ran


def lets_in(state: Path, client: Identity, peer: str = "10.20.0.7") -> bool:
    store = TrustStore(state / "pki", SystemClock(), trust_required=True)
    try:
        store.check(client.der, client.uri, peer)
    except Refused:
        return False
    return True


def test_refused_client_is_listed_trusted_and_rejected_again(state: Path, run: Run) -> None:
    client = identity("stranger")
    mark = thumbprint(client.certificate)
    assert not lets_in(state, client)
    _, out, _ = run("list", "--json")
    listed = [json.loads(line) for line in out.splitlines()]
    assert [(one["folder"], one["application_uri"]) for one in listed] == [
        ("own", APPLICATION),
        ("rejected", client.uri),
    ]
    assert listed[0]["hosts"] == list(HOSTS)
    assert listed[0]["days_left"] > 3600
    assert run("trust", mark[:8].upper())[0] == 0
    assert lets_in(state, client)
    assert "trusted " in run("list")[1]
    assert run("reject", mark[:8])[0] == 0
    assert not lets_in(state, client)
    assert [line.split()[1:3] for line in (state / "pki" / "audit.log").read_text().splitlines()] == [
        ["trusted", mark],
        ["rejected", mark],
    ]


def test_list_says_which_check_a_refused_client_fails_now(state: Path, run: Run) -> None:
    authority, member = identity("cli-authority", is_ca=True), identity("cli-member", issuer="cli-authority")
    stranger, ended, short = identity("stranger"), identity("cli-ended", days=-1), identity("cli-short", bits=1024)
    pki = state / "pki"
    for client in (stranger, ended, short, member):
        assert not lets_in(state, client)

    def refused() -> dict[str, str]:
        listed = [json.loads(line) for line in run("list", "--json")[1].splitlines()]
        assert all(("refused" in one) == (one["folder"] == "rejected") for one in listed)
        return {one["application_uri"]: one["refused"] for one in listed if one["folder"] == "rejected"}

    before, mark = refused(), thumbprint(stranger.certificate)
    assert before[stranger.uri] == (
        f"BadCertificateUntrusted: nobody has trusted it. If it is yours: plantbridge certs trust {mark} --pki {pki}"
    )
    assert before[ended.uri].startswith("BadCertificateTimeInvalid: it ended on ")
    assert before[short.uri].startswith("BadCertificatePolicyCheckFailed: its key must be RSA with 2048")
    assert before[member.uri].startswith("BadCertificateUntrusted")
    lines = run("list")[1].splitlines()
    assert lines[[mark in line for line in lines].index(True) + 1].strip() == before[stranger.uri]
    run("trust", authority.certificate_file)
    assert refused()[member.uri].startswith("BadCertificateRevocationUnknown: there is no revocation list of ")
    (pki / "crl" / "plant.crl").write_bytes(crl(authority, member))
    assert refused()[member.uri].startswith("BadCertificateRevoked: it was revoked by ")
    (pki / "crl" / "plant.crl").write_bytes(crl(authority))
    assert refused()[member.uri] == ""
    assert PASSES in run("list")[1]


def test_client_is_trusted_by_its_file(state: Path, run: Run) -> None:
    client = identity("stranger")
    assert run("trust", client.certificate_file)[0] == 0
    assert lets_in(state, client)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trust", "abc"], "is too short"),
        (["trust", "abcdef12"], "begins with abcdef12"),
        (["reject", "abcdef12"], "begins with abcdef12"),
        (["trust", __file__], "is not a certificate"),
        (["accept", "--for", "15m", "--from", "office"], "a network like 10.20.0.0/24"),
        (["accept", "--for", "long", "--from", "10.0.0.1"], "not a duration"),
        (["accept", "--for", "25h", "--from", "10.0.0.1"], "from 0s to 24h"),
        (["install", __file__], "is not a certificate"),
    ],
)
def test_what_cannot_be_done_says_why_and_does_nothing(state: Path, run: Run, arguments: list[str], words: str) -> None:
    before = sorted(path.name for path in state.rglob("*"))
    code, _, err = run(*arguments)
    assert code == 2
    assert words in " ".join(err.split())
    assert sorted(path.name for path in state.rglob("*")) == before


def test_unknown_clients_are_accepted_for_a_while_from_there(state: Path, run: Run) -> None:
    code, out, _ = run("accept", "--for", "15m", "--from", "10.20.0.0/24", "--from", "10.30.0.1")
    assert (code, "10.20.0.0/24, 10.30.0.1/32" in out) == (0, True)
    window = read_window(state / "pki")
    assert window is not None
    assert timedelta(minutes=14) < window.until - datetime.now(UTC) <= timedelta(minutes=15)
    assert not lets_in(state, identity("stranger"), "10.21.0.7")
    assert lets_in(state, identity("stranger"), "10.20.0.7")
    assert "Unknown clients of 10.20.0.0/24" in run("list")[1]
    assert run("accept", "--for", "0s", "--from", "10.20.0.0/24")[0] == 0
    assert not lets_in(state, identity("early"), "10.20.0.7")
    assert lets_in(state, identity("stranger"), "10.21.0.7")


def test_new_certificate_has_the_names_of_before_unless_told(state: Path, run: Run) -> None:
    before = load(state / "pki").certificate
    assert run("new")[0] == 0
    same = load(state / "pki").certificate
    assert (host_names(same), thumbprint(same) != thumbprint(before)) == (list(HOSTS), True)
    code, out, _ = run("new", "--host", "gateway7", "--host", "10.20.0.7")
    assert (code, host_names(load(state / "pki").certificate)) == (0, ["gateway7", "10.20.0.7"])
    (_, second) = (state / "pki" / "audit.log").read_text().splitlines()
    assert f"made own certificate {thumbprint(load(state / 'pki').certificate)} for gateway7, 10.20.0.7" in second
    assert APPLICATION in out
    kept = state / "pki" / "own" / "certificate.der.before"
    assert kept.read_bytes() == same.public_bytes(Encoding.DER)
    assert (state / "pki" / "own" / "key.pem").stat().st_mode & 0o777 == 0o600


def signed(pem: str, authority: Identity, uri: bool = True, days: int = 365) -> bytes:
    """What an authority makes of a signing request."""
    request = x509.load_pem_x509_csr(pem.encode())
    assert request.is_signature_valid
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
    )
    for one in request.extensions:
        if uri or not isinstance(one.value, x509.SubjectAlternativeName):
            builder = builder.add_extension(one.value, one.critical)
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def test_certificate_of_the_plants_authority_is_requested_and_installed(state: Path, run: Run, tmp_path: Path) -> None:
    code, pem, _ = run("csr", "--host", "gateway7")
    assert code == 0
    answer = tmp_path / "gateway7.crt"
    answer.write_bytes(signed(pem, identity("authority", is_ca=True)))
    assert run("install", answer)[0] == 0
    own = load(state / "pki").certificate
    assert own.issuer == identity("authority", is_ca=True).certificate.subject
    assert host_names(own) == ["gateway7"]
    assert f"installed own certificate {thumbprint(own)}" in (state / "pki" / "audit.log").read_text()


@pytest.mark.parametrize(("days", "is_warned"), [(29, True), (31, False)])
def test_certificate_that_ends_soon_is_installed_with_a_warning(
    state: Path, run: Run, tmp_path: Path, days: int, is_warned: bool
) -> None:
    answer = tmp_path / "gateway7.crt"
    answer.write_bytes(signed(run("csr")[1], identity("authority", is_ca=True), days=days))
    code, _, err = run("install", answer)
    assert (code, "Warning: it ends in 28 days" in err, "Warning" in err) == (0, is_warned, is_warned)


@pytest.mark.parametrize(
    ("network", "is_warned"),
    [("10.20.0.0/16", False), ("10.0.0.0/15", True), ("0.0.0.0/0", True), ("fd00::/48", False), ("fd00::/47", True)],
)
def test_accepting_from_a_wide_network_warns(state: Path, run: Run, network: str, is_warned: bool) -> None:
    code, _, err = run("accept", "--for", "1m", "--from", network)
    assert (code, f"Warning: {network} has" in err) == (0, is_warned)


def test_certificate_that_would_not_do_is_not_installed(state: Path, run: Run, tmp_path: Path) -> None:
    before = load(state / "pki").certificate
    _, pem, _ = run("csr")
    answer = tmp_path / "wrong.crt"
    answer.write_bytes(signed(pem, identity("authority", is_ca=True), uri=False))
    for file, words in (
        (answer, "does not name the ApplicationUri"),
        (identity("stranger").certificate_file, "another key"),
    ):
        code, _, err = run("install", file)
        assert (code, words in " ".join(err.split())) == (2, True)
    assert load(state / "pki").certificate == before


def test_server_must_be_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLANTBRIDGE_STATE_DIR", raising=False)
    for arguments in (["list"], ["list", "--pki", "/nowhere/at/all"]):
        with pytest.raises(SystemExit) as ended:
            main(["certs", *arguments])
        assert ended.value.code == 2


def test_revocation_list_of_a_known_authority_is_taken_over(state: Path, run: Run, tmp_path: Path) -> None:
    authority, member = identity("cli-authority", is_ca=True), identity("cli-member", issuer="cli-authority")
    file = tmp_path / "plant.crl"
    file.write_bytes(crl(authority))
    code, _, err = run("crl", file)
    assert code == 2
    assert "neither trusted nor among the issuers" in err
    assert run("trust", authority.certificate_file)[0] == 0
    assert not lets_in(state, member)
    code, out, _ = run("crl", file)
    assert code == 0
    assert "has revoked 0 certificates" in out
    assert lets_in(state, member)
    file.write_bytes(crl(authority, member, made=datetime.now(UTC)))
    assert run("crl", file)[0] == 0
    assert not lets_in(state, member)
    file.write_bytes(crl(authority))
    code, _, err = run("crl", file)
    assert code == 2
    assert "there is a newer one" in err
    assert not lets_in(state, member)
    file.write_bytes(b"nonsense")
    assert "this is not a revocation list" in run("crl", file)[2]


def test_simulated_site_shows_the_certificates_of_the_real_one(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beside = state.with_name(state.name + "-simulated")
    beside.mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["certs", "list", "--state-dir", str(beside)])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("own ")
