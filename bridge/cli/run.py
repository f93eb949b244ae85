"""`plantbridge run`: the bridge of a site, in the foreground."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bridge.cli.examples import examples
from bridge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bridge.config.site import Site
    from bridge.runtime.bridge import Bridge


@click.command(
    epilog=examples(
        "plantbridge run bridge.yaml",
        "plantbridge run bridge.yaml --simulate      # every source replaced by its simulator, same ids",
        "plantbridge run /etc/plantbridge --log-level debug",
    )
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--simulate",
    is_flag=True,
    envvar="PLANTBRIDGE_SIMULATE",
    help="Replace every source by its simulator: acceptance before the machine.  [env: PLANTBRIDGE_SIMULATE=1]",
)
@click.option("--state-dir", type=click.Path(path_type=Path), help="Keep state here instead of bridge.state_directory.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="How much is told on standard error.",
)
@click.option(
    "--log-format",
    type=click.Choice(["human", "json"]),
    default="human",
    show_default=True,
    envvar="PLANTBRIDGE_LOG_FORMAT",
    help="Lines for a person, or JSON objects.  [env: PLANTBRIDGE_LOG_FORMAT]",
)
def command(
    paths: tuple[Path, ...],
    simulate: bool,
    state_dir: Path | None,
    log_level: str,
    log_format: Literal["human", "json"],
) -> None:
    """Run the bridge described by PATHS: one bridge.yaml, several files, or a folder.

    Changed files are taken over while it runs (also on SIGHUP); a bad one changes nothing and says why. With
    --simulate they are taken over at the next start.
    A bad configuration at start keeps the status page up, with the faults on it, and nothing else.
    """
    from bridge.runtime.collector import resting_collector
    from bridge.runtime.logging import set_up_logging

    set_up_logging(log_level, log_format)
    os.umask(0o077)  # state is for this user alone, also in a folder that somebody else has made
    with suppress(asyncio.CancelledError), resting_collector():
        asyncio.run(_run(list(paths), simulate, state_dir))


async def _run(paths: list[Path], simulate: bool, state_dir: Path | None) -> None:
    from bridge.config.site import load_site
    from bridge.config.site_changes import with_state_directory

    def load() -> Site:
        site = load_site(paths)
        return with_state_directory(site, state_dir) if state_dir else site

    faults: Sequence[str] = ()
    while True:
        site = await _first_site(load, paths, state_dir, faults)
        try:
            async with AsyncExitStack() as stack:
                await serve(await _simulated(site, stack) if simulate else site, None if simulate else load)
        except BaseExceptionGroup as group:
            faults = _faults_in(group)
            if not faults:
                raise
        else:
            return


def _faults_in(group: BaseExceptionGroup[BaseException]) -> list[str]:
    """Faults of the configuration that only the faces could see, such as a group id with a forbidden character."""
    matching, others = group.split(ConfigError)
    if matching is None or others is not None:
        return []
    leaves = [error for error in matching.exceptions if isinstance(error, ConfigError)]
    return [str(fault) for error in leaves for fault in error.faults]


async def _simulated(site: Site, stack: AsyncExitStack) -> Site:
    """The site with simulated sources; what they show is kept apart from what the real ones did."""
    from bridge.cli.simulators import private_broker
    from bridge.config.site_changes import apart
    from bridge.sim.site import simulated

    site = await stack.enter_async_context(simulated(apart(site), private_broker))
    sources = ", ".join(site.file.sources) or "no source"
    text = (
        f"Simulated: {sources}; state directory: {site.state_directory}; changed files are taken over at the next start"
    )
    click.echo(text, err=True)
    return site


async def _first_site(
    load: Callable[[], Site], paths: list[Path], state_dir: Path | None, faults: Sequence[str]
) -> Site:
    """The site; while its files are faulty, health says so and nothing else runs."""
    from bridge.config.library import yaml_files
    from bridge.config.written import as_written
    from bridge.runtime.collector import settled
    from bridge.runtime.crippled import CrippledBridge, status_config
    from bridge.runtime.state_directory import StateDirectory
    from bridge.transport.clock import SystemClock

    if not faults:
        try:
            return load()
        except ConfigError as error:
            faults = [str(fault) for fault in error.faults]
            if not any(yaml_files(path) and path.exists() for path in paths):
                raise
    for fault in faults:
        click.echo(fault, err=True)
    settled()  # nobody knows how long a person takes
    files = [file for path in paths for file in yaml_files(path) if file.exists()]
    crippled = CrippledBridge(faults, SystemClock(), load, files)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - we are one
    loop.add_signal_handler(signal.SIGHUP, crippled.ask)
    loop.add_signal_handler(signal.SIGTERM, task.cancel)  # the first process of a container is not ended without it
    try:
        state = StateDirectory(state_dir) if state_dir is not None else None
        return await crippled.wait(status_config(as_written(files), files[0].parent), state)
    finally:
        for number in (signal.SIGHUP, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def serve(
    site: Site, load: Callable[[], Site] | None, started: Callable[[Bridge], Awaitable[None]] | None = None
) -> None:
    """Run a site until SIGINT or SIGTERM; `started` is called once it listens."""
    from bridge.runtime.bridge import Bridge
    from bridge.runtime.reload import FileWatch
    from bridge.transport.clock import SystemClock

    bridge = Bridge(site, SystemClock(), load)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, bridge, number)
    try:
        async with asyncio.TaskGroup() as group:
            helpers = []
            if load is None:
                loop.add_signal_handler(signal.SIGHUP, _stop, bridge, signal.SIGHUP)  # the terminal was closed
            else:
                watch = FileWatch(bridge)
                loop.add_signal_handler(signal.SIGHUP, watch.ask)
                helpers.append(group.create_task(watch.run(), name="file watch"))
            if started is not None:
                helpers.append(group.create_task(_when_listening(bridge, started), name="started"))
            await bridge.run()
            for helper in helpers:
                helper.cancel()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)


def _stop(bridge: Bridge, number: int) -> None:
    """The first signal asks for goodbyes; a second one does not wait for them."""
    bridge.stop()
    asyncio.get_running_loop().remove_signal_handler(number)


async def _when_listening(bridge: Bridge, started: Callable[[Bridge], Awaitable[None]]) -> None:
    await bridge.listening.wait()
    await started(bridge)
