"""`plantbridge docs plc` from files: what it prints, and what it says when it cannot."""

from pathlib import Path

import pytest

from bridge.cli.main import main

SITE = """\
version: 1
bridge: {name: press-shop, enterprise: acme, site: essen, state_directory: state}
sources:
  panel: {type: qitech, url: "http://127.0.0.1:3001", writes: true}
machines:
  - {id: extruder-1, area: extrusion, source: panel, machine: {slug: extruder_v1, serial: 5}}
northbound: {opcua: {host: 127.0.0.1, port: 4855}}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "bridge.yaml"
    path.write_text(SITE)
    return path


class Told:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["docs", "plc", *map(str, arguments)])
        return (int(caught.value.code or 0), *self._capsys.readouterr())


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(capsys)


@pytest.mark.parametrize("dialect", ["scl", "st"])
def test_files_alone_are_enough_and_say_the_same_twice(site: Path, told: Told, dialect: str) -> None:
    code, out, err = told("extruder-1", "--dialect", dialect, site)
    assert (code, err) == (0, "")
    for words in (
        "opc.tcp://localhost:4855/",
        "urn:plantbridge:press-shop:instances",
        "PB_Handshake",
        "qitech/extruder",
    ):
        assert words in out
    assert told("extruder-1", "--dialect", dialect, site) == (0, out, "")


def test_output_goes_to_a_file(site: Path, told: Told, tmp_path: Path) -> None:
    path = tmp_path / "extruder-1.st"
    code, out, err = told("extruder-1", "--dialect", "st", site, "--output", path)
    assert (code, out) == (0, "")
    assert err == f"{path}: {len(path.read_text().splitlines())} lines\n"
    assert path.read_text() == told("extruder-1", "--dialect", "st", site)[1]


def test_output_that_cannot_be_written_is_said(site: Path, told: Told, tmp_path: Path) -> None:
    code, _, err = told("extruder-1", "--dialect", "st", site, "--output", tmp_path / "no" / "file.st")
    assert (code, "cannot be written: No such file" in err) == (1, True)


def test_one_command_can_be_chosen(site: Path, told: Told) -> None:
    out = told("extruder-1", "--dialect", "st", "--command", "Standby", site)[1]
    assert "PB_extruder_1_Standby_Order" in out
    assert "SetPid_Front_Order" not in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["extruder-2", "--dialect", "st"], 1, 'there is no machine "extruder-2"; did you mean "extruder-1"?'),
        (["extruder-1", "--dialect", "st", "--command", "Standbye"], 1, 'did you mean "Standby"?'),
        (["extruder-1", "--dialect", "ladder"], 2, "'ladder' is not one of 'scl', 'st'"),
        (["extruder-1"], 2, "Missing option '--dialect'"),
    ],
)
def test_what_is_not_there_is_named(site: Path, told: Told, arguments: list[str], code: int, words: str) -> None:
    exit_code, out, err = told(*arguments, site)
    assert (exit_code, out) == (code, "")
    assert words in err


def test_without_files_and_without_a_bridge_it_says_what_to_give(told: Told) -> None:
    code, _, err = told("extruder-1", "--dialect", "st")
    assert (code, "--state-dir" in err) == (2, True)


def test_a_site_without_an_opcua_server_has_nothing_to_declare(site: Path, told: Told) -> None:
    site.write_text(SITE.replace("opcua: {", "opcua: {enabled: false, "))
    code, _, err = told("extruder-1", "--dialect", "st", site)
    assert (code, "no OPC UA server" in err) == (1, True)
