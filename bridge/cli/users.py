"""`plantbridge users`: who may log in to the OPC UA server."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from bridge.cli.examples import examples
from bridge.errors import NotEdited

if TYPE_CHECKING:
    from bridge.config.users import WrittenUser

AFTERWARDS = (
    "A running bridge takes it over by itself within seconds: its OPC UA server starts anew, and every client has to "
    "connect again."
)
Configs = tuple[Path, ...]
Function = TypeVar("Function", bound=Callable[..., object])


@click.group(
    "users",
    epilog=examples(
        "plantbridge users list bridge.yaml",
        "plantbridge users add anna bridge.yaml --role Operator --email anna@acme.example",
        "plantbridge users passwd anna bridge.yaml",
    ),
)
def command() -> None:
    """People and programs that may log in to the OPC UA server.

    \b
    Observer   reads, browses, subscribes
    Operator   also writes set points and calls commands, where the source says writes: true
    Engineer   also what weakens a protection or loses data, where allow_hazards names it
    """  # noqa: D301 - click's mark is the character itself


def password_options(function: Function) -> Function:
    """How a password is given: asked for twice, or on standard input; never in the list of processes."""
    piped = click.option(
        "--password-stdin", "from_stdin", is_flag=True, help="Read the password from standard input: for scripts."
    )
    return click.option("--password", hidden=True, help="Seen by others: use --password-stdin.")(piped(function))


def paths_argument(*, required: bool) -> Callable[[Function], Function]:
    """The files of a site."""
    kind = click.Path(exists=True, path_type=Path)
    metavar = "CONFIG…" if required else "[CONFIG]…"
    return click.argument("configs", metavar=metavar, nargs=-1, required=required, type=kind)


@command.command(
    "list",
    epilog=examples(
        "plantbridge users list bridge.yaml",
        "plantbridge users list site/ --json | jq -r 'select(.weakness != \"\").name'",
    ),
)
@paths_argument(required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(configs: Configs, as_json: bool) -> None:
    """List who may log in, with which role, where it is written, and whose password hash should be made anew.

    CONFIG is a site's file or folder. Hashes are never shown.
    """
    from bridge.config.users import users_of

    users = users_of(configs, os.environ)
    for user in users:
        click.echo(json.dumps(_payload(user), ensure_ascii=False) if as_json else _line(user))
    if not users and not as_json:
        click.echo(f"Nobody may log in. Begin with: plantbridge users add NAME {configs[0]} --role Operator")


@command.command(
    "add",
    epilog=examples(
        "plantbridge users add anna bridge.yaml --role Operator --email anna@acme.example",
        "plantbridge users add scada bridge.yaml --password-stdin < scada.password",
        "plantbridge users add scada bridge.yaml --role Operator --certificate scada.der",
        "plantbridge users add anna --role Engineer",
    ),
)
@click.argument("name")
@paths_argument(required=False)
@click.option(
    "--role",
    type=click.Choice(["Observer", "Operator", "Engineer"]),
    default="Observer",
    show_default=True,
    help="What the user may do.",
)
@click.option("--email", help="What a vendor that books by e-mail address is told; nobody else sees it.")
@click.option(
    "--certificate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of the certificate the user logs in with, instead of a password.",
)
@password_options
def add(
    name: str,
    configs: Configs,
    role: str,
    email: str | None,
    certificate: Path | None,
    password: str | None,
    from_stdin: bool,
) -> int:
    """Let NAME in.

    With CONFIG (a site's file or folder) the user is written into the file, which keeps its comments and every other
    byte; without, the lines to paste below northbound: opcua: are printed. Only a salted hash of the password is kept.
    """
    from bridge.config.users import HASH, add_user, name_fault, users_of
    from bridge.model.email import is_email

    if fault := name_fault(name):
        raise click.UsageError(f"{name!r}: {fault}")
    if email is not None and not is_email(email):
        raise click.UsageError(f"{email!r} is no e-mail address")
    there = next((user for user in users_of(configs, os.environ) if user.name == name), None) if configs else None
    if there is not None:
        raise click.UsageError(f"{name} is there already, {_where(there)}; plantbridge users passwd changes a password")
    fields = {"name": name, "role": role, **({"email": email} if email else {})}
    if certificate is not None:
        fields["certificate"] = _thumbprint(certificate)
    else:
        fields[HASH] = _hash(name, password, from_stdin)
    if not configs:
        _lines(fields)
        return 0
    try:
        user = add_user(configs, fields)
    except NotEdited as error:
        click.echo(f"No file was changed: {error}. Paste these lines below northbound: opcua: instead:", err=True)
        _lines(fields)
        return 1
    click.echo(f"{_where(user)}: {name} may log in as {role}. {AFTERWARDS}")
    return 0


@command.command(
    "passwd",
    epilog=examples(
        "plantbridge users passwd anna bridge.yaml",
        "plantbridge users passwd scada bridge.yaml --password-stdin < scada.password",
    ),
)
@click.argument("name")
@paths_argument(required=True)
@password_options
def passwd(name: str, configs: Configs, password: str | None, from_stdin: bool) -> int:
    """Give NAME another password.

    Its hash in CONFIG (a site's file or folder) is replaced, and nothing else. A hash that the file takes from a
    variable or from another file is printed, to be put there.
    """
    from bridge.config.users import change_hash, nearest, users_of

    users = users_of(configs, os.environ)
    user = next((one for one in users if one.name == name), None)
    if user is None:
        hint = nearest(name, users) or f"plantbridge users add {name} makes the login"
        raise click.UsageError(f"there is no user {name!r}; {hint}")
    hashed = _hash(name, password, from_stdin)
    try:
        change_hash(user, hashed)
    except NotEdited as error:
        click.echo(f"No file was changed: {error}. The new hash of {name} ({_where(user)}):", err=True)
        click.echo(hashed)
        return 1
    click.echo(f"{_where(user)}: {name} has another password. {AFTERWARDS}")
    return 0


def _thumbprint(file: Path) -> str:
    from bridge.northbound.opcua.certificates import parse, thumbprint

    try:
        return thumbprint(parse(file.read_bytes()))
    except ValueError as error:
        raise click.UsageError(f"{file} is not a certificate") from error


def _hash(name: str, password: str | None, from_stdin: bool) -> str:
    from bridge.northbound.opcua.passwords import hash_password, password_fault

    secret = _password(password, from_stdin)
    if fault := password_fault(secret, name):
        raise click.UsageError(fault)
    return hash_password(secret)


def _password(password: str | None, from_stdin: bool) -> str:
    if password is not None:
        click.echo(
            "Warning: a password on the command line is seen by everybody who can list processes, and kept by the "
            "shell; use --password-stdin.",
            err=True,
        )
        return password
    if from_stdin:
        return sys.stdin.read(10_000).removesuffix("\n").removesuffix("\r")
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for a password; give it by --password-stdin")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt="The same again", err=True))


def _lines(fields: Mapping[str, str]) -> None:
    from bridge.config.edit import quoted

    click.echo("    users:")
    click.echo(f"      - {{{', '.join(f'{key}: {quoted(value)}' for key, value in fields.items())}}}")


def _where(user: WrittenUser) -> str:
    return f"{user.file}:{user.line}"


def _weakness(user: WrittenUser) -> str:
    from bridge.northbound.opcua.passwords import weakness

    if user.kept_in and not user.password_hash:
        return f"it is in {user.kept_in}, which cannot be read here"
    if user.certificate and not user.password_hash:
        return ""
    return weakness(user.password_hash)


def _payload(user: WrittenUser) -> dict[str, object]:
    return {
        "name": user.name,
        "role": user.role,
        "email": user.email,
        "file": str(user.file),
        "line": user.line,
        "hash_in": user.kept_in,
        "certificate": user.certificate,
        "weakness": _weakness(user),
    }


def _line(user: WrittenUser) -> str:
    weakness = _weakness(user)
    told = f"  its password hash: {weakness}" if weakness else ""
    told += f"  certificate {user.certificate}" if user.certificate else ""
    email = f" <{user.email}>" if user.email else ""
    return f"{user.name + email:<32} {user.role:<9} {_where(user)}{told}"
