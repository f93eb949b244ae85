"""`plantbridge init`: a first configuration."""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bridge.cli.examples import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.config.starter import Written

VENDORS = ("qitech", "quantiix", "trackmymachines", "iotistica")
_SEGMENT = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _segment(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not _SEGMENT.fullmatch(value):
        raise click.BadParameter("only letters, digits, _ and -, at most 64 of them: it becomes a level of topics")
    return value


@click.command(
    "init",
    epilog=examples(
        "plantbridge init plant --vendor qitech",
        "plantbridge init plant --vendor quantiix --vendor trackmymachines --enterprise acme --site essen",
        "plantbridge check plant/bridge.yaml && plantbridge run --simulate plant/bridge.yaml",
    ),
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option(
    "--vendor",
    "vendors",
    multiple=True,
    type=click.Choice(VENDORS),
    help="What it is to read; repeat for more.  [default: qitech]",
)
@click.option("--name", default="bridge-1", show_default=True, callback=_segment, help="Name of the bridge.")
@click.option("--enterprise", default="acme", show_default=True, callback=_segment, help="First level of topics.")
@click.option("--site", default="plant-1", show_default=True, callback=_segment, help="Second level of topics.")
def command(folder: Path, vendors: tuple[str, ...], name: str, enterprise: str, site: str) -> None:
    """Write a first, commented configuration into FOLDER; it asks nothing and overwrites nothing.

    Secrets have files of their own below secrets/, readable for you alone: one is made here, the password of the OPC UA
    user scada; the others are named afterwards. bridge.schema.json lets an editor complete and check what you write.
    What was written passes `plantbridge check`, and `plantbridge run --simulate` runs it without any machine.

    Exit codes: 0 written; 1 something is there already, or cannot be written; 2 the command line is wrong.
    """
    from bridge.config.schema import bridge_schema
    from bridge.config.starter import Starter, starter
    from bridge.northbound.opcua.passwords import hash_password

    password = secrets.token_urlsafe(18)
    schema = json.dumps(bridge_schema(), indent=2, ensure_ascii=False) + "\n"
    said = Starter(name, enterprise, site, tuple(dict.fromkeys(vendors)) or ("qitech",))
    files, needed = starter(said, password, hash_password(password), schema)
    _write(folder, files)
    for file in files:
        click.echo(f"{folder / file.path}")
    click.echo(
        f"\nThe OPC UA user scada has the password in {folder / 'secrets/scada.password'}. Still to be done:", err=True
    )
    for secret in needed:
        click.echo(f"  {folder / secret.path}: put in {secret.origin}", err=True)
    click.echo(f"  {folder / 'bridge.yaml'}: addresses; then: plantbridge doctor {folder / 'bridge.yaml'}", err=True)


def _write(folder: Path, files: Sequence[Written]) -> None:
    there = [str(folder / file.path) for file in files if (folder / file.path).exists()]
    if there:
        raise click.ClickException(
            f"{', '.join(there)}: there already, nothing was written; choose another folder: plantbridge init FOLDER"
        )
    try:
        for file in files:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if file.path.startswith("secrets/") else 0o755)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
                stream.write(file.text)
    except OSError as error:
        raise click.ClickException(f"{error.filename or folder} cannot be written: {error.strerror}") from None
