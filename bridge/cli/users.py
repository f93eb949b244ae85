"""`plantbridge users`: who may log in to the OPC UA server."""

from __future__ import annotations

import click

from bridge.cli.examples import examples


@click.group("users", epilog=examples("plantbridge users add anna", "plantbridge users add scada --role Operator"))
def command() -> None:
    """People who may log in to the OPC UA server."""


@command.command("add", epilog=examples("plantbridge users add anna", "plantbridge users add scada --role Operator"))
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["Observer", "Operator", "Engineer"]),
    default="Observer",
    show_default=True,
    help="What the user may do.",
)
@click.password_option(help="Asked for when not given; only its salted hash is printed.")
def add(name: str, role: str, password: str) -> None:
    """Print the lines that let NAME in, to be pasted below northbound: opcua: in bridge.yaml."""
    from bridge.northbound.opcua.passwords import hash_password

    click.echo("    users:")
    click.echo(f"      - {{name: {name}, role: {role}, password_hash: '{hash_password(password)}'}}")
