"""`plantbridge doctor`: everything a site depends on, looked at once, each finding with the next step."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.admin import Access, AdminClient
from bridge.cli.examples import examples

if TYPE_CHECKING:
    from bridge.config.site import Site
    from bridge.runtime.doctor.finding import Finding

SIGNS = {
    "ok": ("  ok  ", "green"),
    "note": (" note ", "cyan"),
    "skipped": (" skip ", "cyan"),
    "warning": (" warn ", "yellow"),
    "fault": ("FAULT ", "red"),
}


@click.command(
    "doctor",
    epilog=examples(
        "plantbridge doctor bridge.yaml",
        "plantbridge doctor bridge.yaml --all",
        "plantbridge doctor bridge.yaml --json | jq 'select(.verdict == \"fault\")'",
    ),
)
@click.argument("paths", metavar="CONFIG…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--state-dir", type=click.Path(path_type=Path, file_okay=False), help="State directory, where run is given one too."
)
@click.option("--all", "tells_all", is_flag=True, help="Tell also what is well.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for everything that was looked at.")
def command(paths: tuple[Path, ...], state_dir: Path | None, tells_all: bool, as_json: bool) -> int:
    """Look at everything a site depends on, and say what is wrong and what to do next.

    Of each source: name, port, certificate, whether it lets us in (one login, and one list of machines), its clock. Of
    each broker: whether it lets us in, and what it lets us do; an empty message goes to …/doctor below each branch. Of
    OPC UA: the port, what clients are told, whether the certificate says the same. Of this computer: state directory,
    disk, time zones, ports. Nothing is sent to a machine. A bridge that runs on the state directory goes on undisturbed
    and is asked about its sources: two logins of one account would be too many for some vendors.

    Exit codes: 0 no fault; 1 a fault was found; 2 the configuration or the command line is wrong.
    """
    from bridge.config.site import load_site
    from bridge.config.site_changes import with_state_directory

    site = load_site(paths)
    if state_dir is not None:
        site = with_state_directory(site, state_dir)
    return asyncio.run(_examined(site, tells_all=tells_all, as_json=as_json))


async def _examined(site: Site, *, tells_all: bool, as_json: bool) -> int:
    from bridge.runtime.doctor.examine import examine
    from bridge.transport.clock import SystemClock

    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        is_new = not findings or findings[-1].subject != finding.subject
        findings.append(finding)
        if as_json:
            click.echo(json.dumps(asdict(finding), ensure_ascii=False))
            return
        if is_new:
            click.echo(finding.subject)
        if tells_all or finding.verdict != "ok":
            _tell(finding)

    await examine(site, SystemClock(), await _running(site), tell)
    if not as_json:
        click.echo(_sum(findings))
    return 1 if any(finding.verdict == "fault" for finding in findings) else 0


async def _running(site: Site) -> dict[str, Any] | None:
    """What the bridge that runs on the state directory says of itself."""
    from bridge.runtime.doctor.house import is_held

    if not is_held(site.state_directory):
        return None
    return await AdminClient(Access.found(None, None, site.state_directory)).get("/api/v1/health", {})


def _tell(finding: Finding) -> None:
    sign, colour = SIGNS[finding.verdict]
    click.echo(f"  {click.style(sign, fg=colour)} {finding.check}: {finding.sentence}")
    if finding.next_step:
        click.echo(f"         → {finding.next_step}")


def _sum(findings: Sequence[Finding]) -> str:
    words = {"fault": "faults", "warning": "warnings", "skipped": "not looked at", "ok": "well"}
    counts = {verdict: sum(finding.verdict == verdict for finding in findings) for verdict in words}
    return ", ".join(f"{counts[verdict]} {word}" for verdict, word in words.items())
