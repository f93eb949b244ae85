"""`plantbridge simulate trackmymachines`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from bridge.cli.examples import examples
from bridge.cli.simulators import cloud_options, serve, switched

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.sim.faults import Fault
    from bridge.sim.trackmymachines import Machine, TrackMyMachines


def _faults() -> Mapping[str, Fault]:
    from bridge.sim.trackmymachines import FAULTS

    return FAULTS


@click.command(
    "trackmymachines",
    epilog=examples(
        "plantbridge simulate trackmymachines --speed 60",
        "plantbridge simulate trackmymachines --machine 'Mill 1=MILL1' --machine 'Mill 2=MILL2' --user me@example.com",
        "plantbridge simulate trackmymachines --set edition=2025-07 --control-port 3012",
        "curl -d '{\"after_commit\": true}' http://127.0.0.1:3012/_sim/faults/reset",
    ),
)
@click.option(
    "--app-port", type=click.IntRange(0, 65535), default=3010, show_default=True, help="Host .app; 0 takes a free one."
)
@click.option(
    "--com-port", type=click.IntRange(0, 65535), default=3011, show_default=True, help="Host .com; 0 takes a free one."
)
@click.option(
    "--machine",
    "machines",
    multiple=True,
    metavar="NAME[=FOREIGN_ID]",
    help="A machine, numbered from 1; repeat for more.  [default: four of every kind]",
)
@click.option("--user", "users", multiple=True, metavar="EMAIL", help="Who may be named.  [default: two]")
@click.option("--start", metavar="TIME", help="What the virtual clock shows first.  [default: now]")
@click.option("--floor/--no-floor", default=True, show_default=True, help="A shop floor that runs by itself.")
@cloud_options(_faults)
def trackmymachines(as_json: bool, **options: Any) -> None:
    """Simulate TrackMyMachines until interrupted: events on one port, step events on another.

    Faults are switched on at the control port: POST /_sim/faults/<name> with a JSON object of arguments.
    """
    with suppress(asyncio.CancelledError):
        asyncio.run(_run(as_json, options))


async def _run(as_json: bool, options: dict[str, Any]) -> None:
    simulator = _simulator(options)
    await serve(simulator, lambda: _described(simulator), lambda: _told(simulator), as_json)


def _simulator(options: dict[str, Any]) -> TrackMyMachines:
    from bridge.sim.trackmymachines import DEFAULT_USERS, Behaviour, TrackMyMachines, VirtualClock, timestamps

    start, text = None, options.pop("start")
    if text is not None and (start := timestamps.parse(text)) is None:
        raise click.BadParameter(f"{text!r}: expected a time such as 2025-05-27T10:00:00Z", param_hint="--start")
    behaviour = switched(Behaviour(), options.pop("switches"))
    machines = _machines(options.pop("machines"))
    clock = VirtualClock(start, options.pop("speed"))
    options["users"] = options["users"] or DEFAULT_USERS
    try:
        return TrackMyMachines(machines, clock=clock, behaviour=behaviour, **options)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--machine") from None


def _machines(texts: Sequence[str]) -> list[Machine] | None:
    from bridge.sim.trackmymachines import Machine

    pairs = [text.partition("=") for text in texts]
    return [Machine(number, name, foreign or None) for number, (name, _, foreign) in enumerate(pairs, 1)] or None


def _described(simulator: TrackMyMachines) -> dict[str, Any]:
    return {
        "events": simulator.app_url,
        "step_events": simulator.com_url,
        "control": simulator.control.url if simulator.control else None,
        "keys": {name: simulator.secret(name) for name in ("ro", "rw", "expired", "revoked")},
        "machines": [
            {"display_name": machine.display_name, "foreign_id": machine.foreign_id, "number": machine.number}
            for machine in simulator.organisation.machines
        ],
        "users": [user.email for user in simulator.organisation.users],
    }


def _told(simulator: TrackMyMachines) -> list[str]:
    facts = _described(simulator)
    lines = [
        f"A simulated TrackMyMachines listens on {facts['events']} (events) and {facts['step_events']} (step events)",
        *(
            f"  machine {one['number']:<5} {one['display_name']!r}, foreign id {one['foreign_id'] or 'none'}"
            for one in facts["machines"]
        ),
        f"  users         {', '.join(facts['users'])}",
        *(f"  key {name:<9} {secret}" for name, secret in facts["keys"].items()),
    ]
    if simulator.control is not None:
        lines.append(f"  faults        curl -d '{{\"after_commit\": true}}' {simulator.control.url}/faults/reset")
        lines.append(f"  journal       curl {simulator.control.url}/journal")
    return lines
