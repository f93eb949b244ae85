"""`plantbridge schema`: the JSON Schema of the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from bridge.cli.examples import examples

KINDS = ("bridge", "mapping")


@click.command(
    "schema",
    epilog=examples(
        "plantbridge schema bridge > bridge.schema.json",
        "plantbridge schema mapping | jq .title",
        "plantbridge schema --write mappings",
        "plantbridge schema mapping --markdown | less",
    ),
)
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.option(
    "--write",
    "folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Write <kind>.schema.json into this folder instead.",
)
@click.option("--markdown", is_flag=True, help="Every key as a page for people; with a KIND.")
def command(kind: str | None, folder: Path | None, markdown: bool) -> None:
    """Print the JSON Schema of the files, for editors.

    Without KIND both, as one object. Name it in a file's first line: # yaml-language-server: $schema=<path>
    """
    schemas = _schemas()
    if markdown:
        if kind is None or folder is not None:
            raise click.UsageError("--markdown prints one page: plantbridge schema bridge --markdown")
        click.echo(_page(schemas[kind]), nl=False)
        return
    chosen = {name: schemas[name] for name in ((kind,) if kind else KINDS)}
    if folder is None:
        click.echo(_text(chosen[kind] if kind else chosen), nl=False)
        return
    for name, schema in chosen.items():
        _write(folder / f"{name}.schema.json", _text(schema))


def _schemas() -> dict[str, dict[str, Any]]:
    from bridge.config.schema import bridge_schema, mapping_schema

    return {"bridge": bridge_schema(), "mapping": mapping_schema()}


def _page(schema: dict[str, Any]) -> str:
    from bridge.config.reference import reference

    return reference(schema)


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.FileError(str(path), error.strerror or "cannot be written") from None
    click.echo(str(path))
