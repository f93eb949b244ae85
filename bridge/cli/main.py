"""`plantbridge`: the verbs, and how errors look.

A verb's module is imported when the verb is used, so that `plantbridge --help` answers at once.
Exit codes: 0 done; 1 it could not be done; 2 the command line or the configuration is wrong; 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from bridge import __version__
from bridge.cli.examples import examples
from bridge.errors import BridgeError, ConfigError, did_you_mean, leaves

VERBS = {
    "demo": "Start a simulated plant with all faces and say where to look.",
    "init": "Write a first, commented configuration.",
    "run": "Run the bridge of a site.",
    "check": "Find every fault in configurations and mappings, without a network.",
    "doctor": "Look at everything a site depends on, and say what to do about what is wrong.",
    "discover": "Listen to a source; print its machines, mapping skeletons, and fields that no mapping takes.",
    "plan": "Say what a changed configuration does to each face, before it is in force.",
    "tags": "Print every tag of a site and where it appears.",
    "health": "Say whether a running bridge does its work, and why not.",
    "watch": "Show the tags of a running bridge, live.",
    "why": "Say where one value of a running bridge comes from, and why it is as it is.",
    "write": "Set a set point of a machine, and say what really happened.",
    "call": "Call a command of a machine, and say what really happened.",
    "commands": "Show commands and how they ended; decide about dead letters.",
    "alarms": "Show what is wrong now; acknowledge it.",
    "record": "Record what vendors say to a running bridge, without secrets, for a bug report.",
    "replay": "Run a bridge from a record: what a customer saw, again.",
    "backup": "Write what must survive into one file, while the bridge runs or not.",
    "restore": "Put a backup back into the state directory.",
    "support-bundle": "Write what whoever helps needs to know into one file, without secrets.",
    "drift": "Show how vendors' answers have changed since the bridge was started.",
    "log-level": "Show, or change, how much a running bridge tells in its log.",
    "docs": "Print pages made from the plant: tags, NodeSet2, Ignition, PLC, data flow, topics.",
    "simulate": "Run a vendor's simulator alone, with faults to switch on.",
    "users": "Logins for the OPC UA server: list, add, change a password.",
    "certs": "Certificates of the OPC UA server: list, trust, reject, accept, new, csr, install.",
    "schema": "Print the JSON Schema of the files, for editors.",
}
"""Verb to what it does, in the order of first use; `module_of(verb)` holds a click command named `command`."""


INTERRUPTED = 130


def module_of(verb: str) -> str:
    """Where a verb is."""
    return f"bridge.cli.{verb.replace('-', '_')}"


class Verbs(click.Group):
    """The verbs, imported when used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command; None for a word that is no verb."""
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(module_of(cmd_name)).command
        assert isinstance(command, click.Command)  # noqa: S101 - our own modules
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb; one that does not exist is answered with the nearest."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], VERBS)
            ctx.fail(f'there is no verb "{args[0]}"' + (f"; {hint}" if hint else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs and what they do, without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=Verbs,
    subcommand_metavar="VERB …",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=examples(
        "plantbridge demo",
        "plantbridge check bridge.yaml && plantbridge run bridge.yaml",
        "plantbridge watch --state-dir state '*/Temperature/*'",
    ),
)
@click.version_option(__version__, "-V", "--version", message="plantbridge %(version)s")
def cli() -> None:
    """Vendor APIs in; OPC UA, Sparkplug B and a Unified Namespace out, from one mapping."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a verb and exit with its code; what the person can mend is one line on stderr, never a traceback."""
    sys.exit(_code(arguments))


def _code(arguments: Sequence[str] | None) -> int:
    try:
        result = cli.main(arguments, prog_name="plantbridge", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except (click.ClickException, BridgeError) as error:
        return _told(error)
    except BaseExceptionGroup as group:
        return _of_group(group)
    return result if isinstance(result, int) else 0


def _of_group(group: BaseExceptionGroup[BaseException]) -> int:
    """What a task group raised: our errors are told, an interrupt is quiet, anything else is a bug and goes on."""
    found = list(leaves(group))
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in found):
        return INTERRUPTED
    if not all(isinstance(leaf, (click.ClickException, BridgeError)) for leaf in found):
        raise group
    return max(_told(leaf) for leaf in found)


def _told(error: BaseException) -> int:
    """Tell an error on stderr; its exit code."""
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, ConfigError):
        for fault in error.faults:
            click.echo(str(fault), err=True)
        return 2
    click.echo(f"plantbridge: {error}", err=True)
    return 1
