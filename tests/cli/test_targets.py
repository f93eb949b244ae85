"""What a person types to command something."""

from __future__ import annotations

import asyncio

import click
import pytest

from bridge.cli.admin import Access, AdminClient, Unanswered, Unreachable
from bridge.cli.targets import arguments_given, command_meant, pasted
from bridge.cli.values import plain_value
from bridge.cli.write import command as write

STANDBY = "extruder-1.Commands.Standby"


@pytest.mark.parametrize(
    "words",
    [
        ["extruder-1", "Standby"],
        ["extruder-1", "Commands.Standby"],
        ["extruder-1", "Commands/Standby"],
        ["extruder-1", STANDBY],
        [STANDBY],
        ["extruder-1/Commands/Standby"],
        [f"ns=2;s={STANDBY}"],
    ],
)
def test_a_command_is_known_by_every_form_of_its_name(words: list[str]) -> None:
    assert command_meant([*words, "A=1"]) == (STANDBY, ["A=1"])


def test_a_name_of_several_levels() -> None:
    assert command_meant(["extruder-1", "SetPid/Front"]) == ("extruder-1.Commands.SetPid.Front", [])


@pytest.mark.parametrize("words", [["extruder-1"], ["extruder-1", "Kp=1"]])
def test_a_machine_alone_is_no_command(words: list[str]) -> None:
    with pytest.raises(click.UsageError, match="which command of extruder-1"):
        command_meant(words)


@pytest.mark.parametrize(("words", "why"), [(["Kp", "1"], "NAME=VALUE"), (["Kp=1", "Kp=2"], "Kp is given twice")])
def test_arguments_that_cannot_be_meant(words: list[str], why: str) -> None:
    with pytest.raises(click.UsageError, match=why):
        arguments_given(words)


def test_a_tag_is_known_by_its_node_id() -> None:
    assert pasted("ns=2;s=extruder-1.Setpoints.Mode") == pasted("extruder-1/Setpoints/Mode")


@pytest.mark.parametrize(("text", "value"), [("-5", -5), ("1e999", "1e999"), ("NaN", "NaN"), ("true", True)])
def test_values_on_the_command_line(text: str, value: object) -> None:
    assert plain_value(text) == value


@pytest.mark.parametrize("number", ["-5", "-0.5", "-.5", "-1e3"])
def test_a_negative_value_is_no_option(number: str) -> None:
    context = write.make_context("write", ["winder-1.Setpoints.X", number, "--token", "t"])
    assert (context.params["value"], context.params["token"]) == (number, "t")


def test_a_misspelled_option_is_told() -> None:
    with pytest.raises(click.NoSuchOption):
        write.make_context("write", ["--tokn", "t", "winder-1.Setpoints.X", "-5"])


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()


async def test_a_command_whose_answer_was_lost_may_have_happened() -> None:
    async with await asyncio.start_server(_hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = AdminClient(Access(f"http://127.0.0.1:{port}", "token"))
        with pytest.raises(Unanswered, match="not known whether the machine took it"):
            await client.command("/api/v1/commands", {})


async def test_a_command_to_a_bridge_that_is_not_there_was_not_sent() -> None:
    async with await asyncio.start_server(_hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
    client = AdminClient(Access(f"http://127.0.0.1:{port}", "token"))
    with pytest.raises(Unreachable, match="no bridge answers"):
        await client.command("/api/v1/commands", {})
