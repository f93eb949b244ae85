from __future__ import annotations

import asyncio
import importlib
import importlib.util
import subprocess
import sys

import click
import pytest

from bridge import __version__
from bridge.cli import main as shell
from bridge.cli.main import VERBS, Verbs, cli, main, module_of
from bridge.errors import AddressTaken, BridgeError, ConfigError, Fault

WRITTEN = [verb for verb in VERBS if importlib.util.find_spec(module_of(verb))]


def outcome(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    @click.command()
    def broken() -> None:
        raise error

    monkeypatch.setattr(Verbs, "get_command", lambda *_: broken)


def commands(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    inner = command.commands.items() if isinstance(command, click.Group) else ()
    return [(name, command), *(pair for verb, below in inner for pair in commands(below, f"{name} {verb}"))]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome("--version") == 0
    assert capsys.readouterr().out == f"plantbridge {__version__}\n"


@pytest.mark.parametrize("verb", WRITTEN)
def test_every_verb_says_what_it_does_and_teaches_by_example(verb: str) -> None:
    command = importlib.import_module(module_of(verb)).command
    for name, inner in commands(command, verb):
        epilog = inner.epilog or ""
        assert inner.help, name
        assert epilog.count("plantbridge ") >= 2, name
        options = [option for option in inner.params if isinstance(option, click.Option)]
        assert all(option.help for option in options), name


@pytest.mark.parametrize("verb", WRITTEN)
def test_examples_parse(verb: str) -> None:
    command = importlib.import_module(module_of(verb)).command
    for name, inner in commands(command, verb):
        for line in (inner.epilog or "").splitlines():
            words = line.split("plantbridge ", 1)[1].split() if "plantbridge " in line and "|" not in line else []
            if words[: len(name.split())] == name.split() and not isinstance(inner, click.Group):
                inner.make_context(
                    name, [word.strip("'\"") for word in words[len(name.split()) :]], resilient_parsing=True
                )


def test_overview_imports_no_verb() -> None:
    code = """if True:
        import sys
        from bridge.cli.main import main
        try:
            main(["--help"])
        finally:
            print([name for name in ("pydantic", "httpx", "asyncua", "rich", "uvicorn", "yaml") if name in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(verb in done.stdout for verb in VERBS)


def test_wrong_verb_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome("whatch") == 2
    assert 'there is no verb "whatch"; did you mean "watch"?' in capsys.readouterr().err


def test_configuration_faults_are_one_line_each_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = [Fault("a.yaml", 1, 2, "x", "is odd"), Fault("b.yaml", 0, 0, "", "cannot be read")]
    raising(monkeypatch, ConfigError(faults))
    assert outcome("check") == 2
    assert capsys.readouterr().err == "a.yaml:1:2: x: is odd\nb.yaml: cannot be read\n"


def test_address_of_another_computer_is_told_with_what_to_write() -> None:
    error = AddressTaken("OPC UA", "192.168.10.5:4840", "Cannot assign requested address")
    assert str(error).endswith("; host must be an address of this computer, or 0.0.0.0 for all it has")


def test_taken_port_is_one_line_and_exit_1_also_out_of_a_task_group(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = AddressTaken("the status page", "127.0.0.1:8080", "in use")
    raising(monkeypatch, ExceptionGroup("outer", [ExceptionGroup("inner", [error])]))
    assert outcome("run") == 1
    advice = "; stop what listens there, or choose another port"
    assert capsys.readouterr().err == f"plantbridge: the status page cannot listen on 127.0.0.1:8080: in use{advice}\n"


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), BaseExceptionGroup("", [KeyboardInterrupt(), BridgeError("x")])]
)
def test_interrupt_is_quiet_and_exits_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    raising(monkeypatch, error)
    assert outcome("run") == 130
    assert capsys.readouterr().err.strip() == ""


def test_bug_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, ExceptionGroup("group", [BridgeError("ours"), RuntimeError("a bug")]))
    with pytest.raises(ExceptionGroup):
        main(["run"])


def test_reader_that_closes_the_pipe_is_met_with_silence() -> None:
    command = f"{sys.executable} -m bridge simulate qitech --faults | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode in {0, 1}, done.stderr) == (True, "")


def test_no_verb_is_overview_and_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome() == 2
    assert "Verbs:" in "".join(capsys.readouterr())


def test_entry_point_is_the_group() -> None:
    assert isinstance(cli, Verbs)
    assert shell.main is main
    assert asyncio.iscoroutinefunction(main) is False
