"""`plantbridge certs`: whom the OPC UA server trusts, and what it shows."""

from __future__ import annotations

import getpass
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.examples import examples

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.northbound.opcua.pki import Entry
    from bridge.northbound.opcua.trust import TrustStore

TAKEN_OVER = (
    "A running bridge shows it within seconds, to clients that connect from then on; each has to trust it anew."
)

PASSES = "It would pass now, if the client's ApplicationUri is the one of its certificate."
SOON_DAYS = 30
"""A certificate that ends sooner is to be replaced now."""
WIDEST = {4: 16, 6: 48}
"""Prefix of the widest network that needs no warning, by version of IP: a site's."""


@click.group(
    "certs",
    epilog=examples(
        "plantbridge certs list --state-dir state",
        "plantbridge certs trust 3f1c8a --state-dir state",
        "plantbridge certs accept --for 15m --from 10.20.0.0/24 --state-dir state",
    ),
)
def command() -> None:
    """Certificates of the OPC UA server and its clients.

    They are files below pki in the state directory, and everything here works with and without a running bridge.
    """


def _folder(state: Path) -> Path:
    """Where `run --simulate` keeps state, beside the real one, are no certificates: it shows the real ones."""
    from bridge.config.site_changes import SIMULATED

    own = state / "pki"
    return own if own.is_dir() else state.with_name(state.name.removesuffix(SIMULATED)) / "pki"


def _with_pki(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which server is meant; the function gets its folder."""
    kind = click.Path(path_type=Path, file_okay=False)

    def found(state_dir: Path | None, pki: Path | None, **others: Any) -> Any:
        from bridge.northbound.opcua.certificates import prepare

        folder = pki or (_folder(state_dir) if state_dir else None)
        if folder is None:
            raise click.UsageError("say which server: --state-dir DIR, or --pki DIR where the site sets opcua.pki")
        if not folder.is_dir():
            raise click.UsageError(f"there is no folder {folder}; the bridge makes it when it starts")
        prepare(folder)
        return function(pki=folder, **others)

    found.__name__, found.__doc__ = function.__name__, function.__doc__
    found.__dict__.update(function.__dict__)
    for option in (
        click.option("--pki", type=kind, help="Folder of the certificates."),
        click.option(
            "--state-dir",
            type=kind,
            envvar="PLANTBRIDGE_STATE_DIR",
            help="State directory of the bridge.  [env: PLANTBRIDGE_STATE_DIR]",
        ),
    ):
        found = option(found)
    return found


@command.command(
    "list",
    epilog=examples(
        "plantbridge certs list --state-dir state",
        "plantbridge certs list --state-dir state --json | jq -r 'select(.days_left < 30).subject'",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@_with_pki
def list_(pki: Path, as_json: bool) -> None:
    """List certificates: own, trusted, issuers, rejected; and whether unknown clients are accepted now.

    Below each that was refused is the check it fails now, and what to do; `refused` in JSON, empty where it would pass.
    """
    from bridge.northbound.opcua.pki import entries
    from bridge.northbound.opcua.trust import TrustStore
    from bridge.northbound.opcua.window import read_window
    from bridge.transport.clock import SystemClock

    store = TrustStore(pki, SystemClock(), trust_required=True)
    for entry in entries(pki):
        payload = _payload(entry) | ({"refused": _refusal(store, entry)} if entry.folder == "rejected" else {})
        click.echo(json.dumps(payload, ensure_ascii=False) if as_json else _line(payload))
    window = read_window(pki)
    if window is not None and window.is_open(_now()) and not as_json:
        networks = ", ".join(map(str, window.networks))
        click.echo(
            f"Unknown clients of {networks} are trusted until {window.until:%Y-%m-%d %H:%M:%S} UTC ({window.by})."
        )


@command.command(
    "trust",
    epilog=examples(
        "plantbridge certs trust 3f1c8a --state-dir state",
        "plantbridge certs trust scada.der --state-dir state",
    ),
)
@click.argument("which", metavar="THUMBPRINT|FILE")
@_with_pki
def trust(pki: Path, which: str) -> None:
    """Let a client in: one that was refused (by its thumbprint), or one whose certificate is in FILE.

    Of an authority: every client it has signed. Compare the thumbprint with the one the client shows.
    """
    from bridge.northbound.opcua import pki as store
    from bridge.northbound.opcua.certificates import parse, subject_of, thumbprint

    try:
        if Path(which).is_file():
            certificate = parse(Path(which).read_bytes())
        else:
            certificate = store.find(pki, which, "rejected")[0].certificate
    except store.NotFound as error:
        raise click.UsageError(f"{error}; plantbridge certs list shows what there is") from error
    except ValueError as error:
        raise click.UsageError(f"{which} is not a certificate") from error
    path = store.trust(pki, certificate, getpass.getuser(), _now())
    click.echo(f"{path}: {subject_of(certificate)} is trusted from its next connect on.")
    click.echo(f"thumbprint {thumbprint(certificate)}")


@command.command(
    "reject",
    epilog=examples(
        "plantbridge certs reject 3f1c8a --state-dir state",
        "plantbridge certs list --state-dir state",
    ),
)
@click.argument("thumbprint")
@_with_pki
def reject(pki: Path, thumbprint: str) -> None:
    """Trust a client no longer. A running bridge ends its sessions within seconds."""
    from bridge.northbound.opcua import pki as store

    try:
        entry = store.reject(pki, thumbprint, getpass.getuser(), _now())
    except store.NotFound as error:
        raise click.UsageError(f"{error}; plantbridge certs list shows what there is") from error
    click.echo(f"{entry.subject} ({entry.thumbprint}) is not trusted any more.")


@command.command(
    "crl",
    epilog=examples(
        "plantbridge certs crl plant-ca.crl --state-dir state",
        "plantbridge certs list --state-dir state",
    ),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_with_pki
def crl(pki: Path, file: Path) -> None:
    """Take over FILE, the revocation list of an authority whose clients are trusted; it replaces the one of before."""
    from bridge.northbound.opcua import pki as store

    try:
        authority, made = store.take_crl(pki, file.read_bytes(), getpass.getuser(), _now())
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from error
    until = f", until {made.next_update_utc.date()}" if made.next_update_utc else ""
    click.echo(f"{authority.subject} has revoked {len(made)} certificates, as of {made.last_update_utc.date()}{until}.")


@command.command(
    "accept",
    epilog=examples(
        "plantbridge certs accept --for 15m --from 10.20.0.0/24 --state-dir state",
        "plantbridge certs accept --for 0s --from 10.20.0.0/24 --state-dir state",
    ),
)
@click.option("--for", "duration", required=True, help="How long: 15m, 2h; 24h at most; 0s ends it.")
@click.option("--from", "networks", required=True, multiple=True, help="Network or address of the clients.")
@_with_pki
def accept(pki: Path, duration: str, networks: tuple[str, ...]) -> None:
    """Trust, for good, every unknown client that connects from a network within a time: for commissioning.

    It still needs a login. Each is named in the log and in pki/audit.log; `certs reject` takes one back.
    """
    from bridge.northbound.opcua import window
    from bridge.transport.duration import seconds_of

    try:
        wanted, long = [_network(text) for text in networks], seconds_of(re.sub(r"m\Z", "min", duration))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if not 0 <= long <= window.LONGEST_S:
        raise click.UsageError(f"--for {duration}: from 0s to 24h")
    now, who = _now(), getpass.getuser()
    shown = ", ".join(map(str, wanted))
    if not long:
        window.close_window(pki)
        window.audit(pki, now, f"accepting ended by {who}")
        click.echo("Unknown clients are refused again.")
        return
    for one in (one for one in wanted if one.prefixlen < WIDEST[one.version]):
        click.echo(
            f"Warning: {one} has {one.num_addresses} addresses, more than a plant's network usually has: "
            f"whoever connects from one of them is trusted for good. Give a network within /{WIDEST[one.version]}.",
            err=True,
        )
    until = now + timedelta(seconds=long)
    window.open_window(pki, window.Window(until, tuple(wanted), who))
    window.audit(pki, now, f"accepting unknown clients of {shown} until {until:%Y-%m-%d %H:%M:%S} by {who}")
    click.echo(f"Unknown clients of {shown} are trusted until {until:%Y-%m-%d %H:%M:%S} UTC.")


@command.command(
    "new",
    epilog=examples(
        "plantbridge certs new --state-dir state --host gateway7 --host 10.20.0.7",
        "plantbridge certs list --state-dir state",
    ),
)
@click.option("--host", "hosts", multiple=True, help="Name or address clients use.  [default: those of before]")
@click.option("--uri", help="ApplicationUri.  [default: the one of before]")
@_with_pki
def new(pki: Path, hosts: tuple[str, ...], uri: str | None) -> None:
    """Make the server a new key and certificate. Every client must trust it anew; the old ones are kept as *.before."""
    from bridge.northbound.opcua import window
    from bridge.northbound.opcua.certificates import load, make, thumbprint

    uri, hosts = _named(pki, uri, hosts)
    make(pki, uri, hosts, _now())
    own = load(pki)
    mark = thumbprint(own.certificate)
    window.audit(pki, _now(), f"made own certificate {mark} for {', '.join(hosts)} by {getpass.getuser()}")
    click.echo(f"{own.path}: for {uri}, {', '.join(hosts)}, until {own.certificate.not_valid_after_utc.date()}.")
    click.echo(f"thumbprint {mark}\n{TAKEN_OVER}")


@command.command(
    "csr",
    epilog=examples(
        "plantbridge certs csr --state-dir state > gateway7.csr",
        "plantbridge certs install gateway7.crt --state-dir state",
    ),
)
@click.option("--host", "hosts", multiple=True, help="Name or address clients use.  [default: those of before]")
@click.option("--uri", help="ApplicationUri.  [default: the one of before]")
@_with_pki
def csr(pki: Path, hosts: tuple[str, ...], uri: str | None) -> None:
    """Print a signing request for the server's key, to be signed by the plant's authority."""
    from bridge.northbound.opcua.certificates import request

    click.echo(request(pki, *_named(pki, uri, hosts)).decode(), nl=False)


@command.command(
    "install",
    epilog=examples(
        "plantbridge certs install gateway7.crt --state-dir state",
        "plantbridge certs list --state-dir state",
    ),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_with_pki
def install(pki: Path, file: Path) -> None:
    """Show the certificate in FILE, which an authority made of `certs csr`. The one of before is kept as *.before."""
    from bridge.northbound.opcua import window
    from bridge.northbound.opcua.certificates import NotInstalled, subject_of, thumbprint
    from bridge.northbound.opcua.certificates import install as installed

    try:
        certificate = installed(pki, file.read_bytes(), _now())
    except NotInstalled as error:
        raise click.UsageError(f"{file}: {error}") from error
    except OSError as error:
        raise click.UsageError(f"there is no key yet: start the bridge once ({error})") from error
    window.audit(pki, _now(), f"installed own certificate {thumbprint(certificate)} by {getpass.getuser()}")
    click.echo(f"Installed {subject_of(certificate)}, until {certificate.not_valid_after_utc.date()}.")
    left = certificate.not_valid_after_utc - _now()
    if left < timedelta(days=SOON_DAYS):
        click.echo(
            f"Warning: it ends in {left.days} days, and clients refuse it from then on: ask for one that lasts longer, "
            "and install that before.",
            err=True,
        )
    click.echo(TAKEN_OVER)


def _named(pki: Path, uri: str | None, hosts: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """What a new certificate is for: what was said, else what the present one says."""
    from bridge.northbound.opcua.certificates import application_uris, host_names, load

    try:
        own = load(pki).certificate
    except (OSError, ValueError, TypeError) as error:
        if not (uri and hosts):
            raise click.UsageError(
                f"give --uri and --host: the present certificate cannot be read ({error})"
            ) from error
        return uri, hosts
    return uri or next(iter(application_uris(own)), ""), hosts or tuple(host_names(own))


def _network(text: str) -> Any:
    import ipaddress

    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError(f"--from {text}: a network like 10.20.0.0/24, or an address") from error


def _now() -> datetime:
    return datetime.now(UTC)


def _payload(entry: Entry) -> dict[str, Any]:
    from bridge.northbound.opcua.pki import told

    return {**told(entry, _now()), "file": str(entry.path)}


def _refusal(store: TrustStore, entry: Entry) -> str:
    fault = store.fault(entry.certificate)
    return "" if fault is None else f"{fault.status}: {fault}"


def _line(payload: dict[str, Any]) -> str:
    days = payload["days_left"]
    left = f"{days:.0f} days left" if days >= 0 else "ENDED"
    uri = f" {payload['application_uri']}" if payload["application_uri"] else ""
    line = f"{payload['folder']:<8} {payload['thumbprint']}  {left:<15} {payload['subject']}{uri}"
    return f"{line}\n         {payload['refused'] or PASSES}" if "refused" in payload else line
