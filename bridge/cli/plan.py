"""`plantbridge plan`: what a changed configuration does to each face, before it is in force."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.admin import Access, AdminClient
from bridge.cli.check import plant_faults
from bridge.cli.examples import examples
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from bridge.runtime.outline import Outline
    from bridge.runtime.plan import FaceDiff, MachineDiff, Plan

FEW = 10
"""Lines of a list that are shown without --all."""


@click.command(
    "plan",
    epilog=examples(
        "plantbridge plan bridge.yaml --state-dir state",
        "plantbridge plan new/bridge.yaml --against bridge.yaml",
        "plantbridge plan bridge.yaml --state-dir state --all --json | jq .faces",
    ),
)
@click.argument("paths", metavar="CONFIG…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="PLANTBRIDGE_STATE_DIR",
    help="State directory of the running bridge to compare with.  [env: PLANTBRIDGE_STATE_DIR]",
)
@click.option(
    "--against",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Compare with these files, not with a running bridge; repeat for more.",
)
@click.option("--all", "tells_all", is_flag=True, help="Every tag and every address, however many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    paths: tuple[Path, ...],
    state_dir: Path | None,
    against: tuple[Path, ...],
    tells_all: bool,
    as_json: bool,
) -> int:
    """Say what a changed configuration adds, removes and renames on each face; nothing is changed.

    Compared with the running bridge, or with --against other files. Told are: machines and tags that come, go or look
    different; rules and vendors' machines that are others behind the same addresses; NodeIds, metrics and topics; what
    hosts and historians keep of what is gone; which births follow; what is refused, because a tag has one data type for
    ever; what needs a restart. Secrets are not compared.

    Exit codes: 0 it would be taken over, or nothing changes; 1 it would be refused; 2 the configuration has faults.
    """
    from bridge.runtime.plan import plan

    if not against and state_dir is None:
        raise click.UsageError("say with what: --state-dir DIR of a running bridge, or --against FILE")
    before = _of_files(against, None) if against else _running(state_dir)
    found = plan(before, _of_files(paths, None if against else state_dir))
    if as_json:
        click.echo(json.dumps(asdict(found), ensure_ascii=False))
    else:
        for line in lines(found, None if tells_all else FEW):
            click.echo(line)
    is_refused = found.refused or (found.needs_restart and not against)
    return 1 if is_refused else 0


def _running(state_dir: Path | None) -> Outline:
    return asyncio.run(AdminClient(Access.found(None, None, state_dir)).get("/api/v1/outline", {}))


def _of_files(paths: Sequence[Path], state_dir: Path | None) -> Outline:
    """What files describe, and what was found in earlier runs; `state_dir` where that is not as they say."""
    from bridge.config.site import load_site
    from bridge.config.site_changes import with_state_directory
    from bridge.runtime.offline import OfflinePlant
    from bridge.runtime.outline import outline

    site = load_site(paths)
    if state_dir is not None:
        site = with_state_directory(site, state_dir)
    offline = OfflinePlant(site, with_inventory=True)
    if faults := plant_faults(site, offline):
        raise ConfigError(faults)
    return asyncio.run(outline(offline.plant, offline.faces, site))


def lines(plan: Plan, limit: int | None) -> Iterator[str]:
    """A plan for a person; at most `limit` entries of a list."""
    if plan.is_empty:
        yield "Nothing changes."
        return
    for sentence in plan.refused:
        yield click.style(f"refused    {sentence}", fg="red")
    for machine in plan.machines:
        yield from _machine(machine, limit)
    for face in plan.faces:
        yield from _face(face, limit)
    for sentence in plan.sources:
        yield f"source     {sentence}"
    yield from _settings(plan, limit)


def _machine(machine: MachineDiff, limit: int | None) -> Iterator[str]:
    sign = {"added": "+", "removed": "-", "changed": "~"}[machine.fate]
    counts = {"added": machine.added, "removed": machine.removed, "changed": machine.changed}
    words = ", ".join(f"{len(tags)} {word}" for word, tags in counts.items() if tags)
    yield f"{sign} machine  {machine.id} ({machine.type}): tags: {words or 'as before'}"
    if machine.moved is not None:
        yield f"           moves from {machine.moved[0]} to {machine.moved[1]}"
    yield from _some(
        (f"           ~ {one.key}: {_said(one.before)} → {_said(one.after)}" for one in machine.behind), limit
    )
    if machine.fate == "changed":
        yield from _some((f"           + {tag}" for tag in machine.added), limit)
        yield from _some((f"           - {tag}" for tag in machine.removed), limit)
        changes = (
            f"           ~ {one.id}: {one.what} {_said(one.before)} → {_said(one.after)}" for one in machine.changed
        )
        yield from _some(changes, limit)
        yield from _some((f"           + command {name}" for name in machine.commands_added), limit)
        yield from _some((f"           - command {name}" for name in machine.commands_removed), limit)


def _face(face: FaceDiff, limit: int | None) -> Iterator[str]:
    if face.is_empty:
        yield f"{face.name:<10} nothing changes"
        return
    yield f"{face.name:<10} {len(face.added)} added, {len(face.removed)} removed, {len(face.renamed)} renamed"
    for sentence in face.consequences:
        yield f"           {sentence}"
    yield from _some((f"           - {address}" for address in face.removed), limit)
    yield from _some((f"           ~ {before} → {after}" for before, after in face.renamed), limit)


def _settings(plan: Plan, limit: int | None) -> Iterator[str]:
    rules = (f"rule       {one.key}: {_said(one.before)} → {_said(one.after)}" for one in plan.rules)
    yield from _some(rules, limit)
    changes = (f"setting    {one.key}: {_said(one.before)} → {_said(one.after)}" for one in plan.settings)
    yield from _some(changes, limit)
    if plan.needs_restart:
        yield f"restart    needed for {', '.join(plan.needs_restart)}: a running bridge refuses the change until then"


def _some(entries: Iterator[str], limit: int | None) -> Iterator[str]:
    listed = [*entries]
    yield from listed[:limit]
    if limit is not None and len(listed) > limit:
        yield f"           … {len(listed) - limit} more; --all tells them"


def _said(value: Any) -> str:
    if value is None:
        return "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, bool)) else str(value)
