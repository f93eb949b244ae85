"""`plantbridge users`: logins written into a person's files, which stay that person's."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.cli.main import main
from bridge.config.documents import parse_document
from bridge.config.site import load_site
from bridge.northbound.opcua.certificates import thumbprint
from bridge.northbound.opcua.passwords import hash_password, matches
from tests.northbound.opcua.house import identity
from tests.sites import BASE

PASSWORD, OTHER = "correct horse battery", "another horse entirely"
HASH = hash_password(PASSWORD)
Ran = tuple[int, str, str]
Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`plantbridge users …` with the password on standard input: exit code, standard output, standard error."""

    def ran(*arguments: object, password: str = PASSWORD) -> Ran:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(password.encode())))
        piped = ["--password-stdin"] if arguments[0] != "list" else []
        with pytest.raises(SystemExit) as ended:
            main(["users", *map(str, arguments), *piped])
        told = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, told.out, told.err

    return ran


def site(folder: Path, northbound: str, name: str = "bridge.yaml") -> Path:
    file = folder / name
    file.write_bytes((BASE + northbound).encode())
    return file


BLOCK = """
northbound:
  opcua:
    port: 4841  # ours
    users:
    - name: otto   # the shift leader
      role: Engineer
      password_hash: "HASH"   # of May
    # - {name: nobody}
    trust: required
# the end
"""
FLOW = """
northbound:
  opcua:
    users:
        -  {name: otto, password_hash: 'HASH'}  # first
    hosts: [a, b]
"""
ONE = "name: anna, role: Operator, email: anna@acme.example, password_hash: 'NEW'"
BLOCK_ADDED = """
    - name: anna
      role: Operator
      email: anna@acme.example
      password_hash: 'NEW'
"""


@pytest.mark.parametrize(
    ("northbound", "before", "added"),
    [
        (BLOCK, "# of May\n", BLOCK_ADDED[1:]),
        (FLOW, "# first\n", f"        -  {{{ONE}}}\n"),
        (FLOW.replace("\n", "\r\n"), "# first\r\n", f"        -  {{{ONE}}}\r\n"),
        ("northbound:\n  opcua:\n    users:\n", "users:\n", f"      - {{{ONE}}}\n"),
        ("northbound:\n  opcua:\n    users:", "users:", f"\n      - {{{ONE}}}"),
        ("northbound:\n  opcua:\n    port: 4841\n\n  # x\n", "4841\n", f"    users:\n      - {{{ONE}}}\n"),
        ("northbound:\n  opcua: # x\n", "# x\n", f"    users:\n      - {{{ONE}}}\n"),
        ("northbound:\n    uns: {enabled: false}\n", "false}\n", f"    opcua:\n      users:\n        - {{{ONE}}}\n"),
        ("# end\n", "serial: 2}}\n", f"northbound:\n  opcua:\n    users:\n      - {{{ONE}}}\n"),
    ],
)
def test_a_user_is_written_into_the_file_and_nothing_else_changes(
    tmp_path: Path, run: Run, northbound: str, before: str, added: str
) -> None:
    file = site(tmp_path, northbound.replace("HASH", HASH))
    was = file.read_bytes().decode()
    code, out, err = run("add", "anna", file, "--role", "Operator", "--email", "anna@acme.example")
    assert (code, err) == (0, "")
    user = next(user for user in load_site([file], {}).file.northbound.opcua.users if user.name == "anna")
    hashed = user.password_hash.get_secret_value()
    assert (user.role, user.email, matches(PASSWORD, hashed)) == ("Operator", "anna@acme.example", True)
    assert file.read_bytes().decode() == was.replace(before, before + added.replace("NEW", hashed), 1)
    line = file.read_text().split("name: anna")[0].count("\n") + 1
    assert out.startswith(f"{file}:{line}: anna may log in as Operator. A running bridge takes it over by itself")


def test_an_empty_list_becomes_a_list_and_its_comment_stays(tmp_path: Path, run: Run) -> None:
    file = site(tmp_path, "northbound:\n  opcua:\n    users: []   # nobody yet\n    port: 4841\n")
    assert run("add", "anna", file)[0] == 0
    assert "    users:   # nobody yet\n      - {name: anna, role: Observer, password_hash: 'scrypt$" in file.read_text()
    assert [user.name for user in load_site([file], {}).file.northbound.opcua.users] == ["anna"]


def test_the_shipped_example_takes_a_user(tmp_path: Path, run: Run) -> None:
    example = Path(__file__).parents[2] / "examples/qitech/bridge.yaml"
    file = tmp_path / "bridge.yaml"
    file.write_bytes(example.read_bytes())
    assert run("add", "anna", file)[0] == 0
    was, now = example.read_text().splitlines(), file.read_text().splitlines()
    assert len(now) == len(was) + 1
    assert sum(line not in was for line in now) == 2


@pytest.mark.parametrize(
    ("northbound", "why"),
    [
        ("northbound:\n  opcua:\n    users: [{name: otto, password_hash: 'HASH'}]\n", "is written in brackets"),
        ("northbound: {opcua: {port: 4841}}\n", "northbound.opcua is not written as a block"),
        ("northbound: {opcua: {users: []}}\n", "would break the file"),
        ("northbound:\n  opcua:\n    users: {}\n", "northbound.opcua.users is no list"),
        (
            "northbound:\n  opcua:\n    users:\n      - &otto {name: otto, password_hash: 'HASH'}\n      - *otto\n",
            "",
        ),
    ],
)
def test_what_cannot_be_edited_stays_and_the_lines_are_printed(
    tmp_path: Path, run: Run, northbound: str, why: str
) -> None:
    file = site(tmp_path, northbound.replace("HASH", HASH))
    was = file.read_bytes()
    code, out, err = run("add", "anna", file, "--role", "Engineer")
    assert (code, file.read_bytes()) == (1, was)
    assert err.startswith("No file was changed: ")
    assert why in err
    (user,) = parse_document(out, "").data["users"]
    assert (user["name"], user["role"], matches(PASSWORD, user["password_hash"])) == ("anna", "Engineer", True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bridge.yaml"]


def test_a_list_that_is_also_used_elsewhere_is_left_alone(tmp_path: Path, run: Run) -> None:
    file = site(tmp_path, "northbound:\n  opcua:\n    hosts: &all\n      - a\n    users: *all\n")
    was = file.read_bytes()
    code, _, err = run("add", "anna", file)
    assert (code, file.read_bytes()) == (1, was)
    assert "what an alias stands for" in err


def test_without_a_file_the_lines_to_paste_are_printed(run: Run) -> None:
    code, out, _ = run("add", "anna", "--role", "Operator")
    (user,) = parse_document(out, "").data["users"]
    assert (code, out.splitlines()[0], user["role"]) == (0, "    users:", "Operator")


def test_the_file_that_has_users_gets_the_next_one(tmp_path: Path, run: Run) -> None:
    site(tmp_path, "", "a.yaml")
    (tmp_path / "b.yaml").write_text("northbound:\n  uns: {enabled: false}\n")
    (tmp_path / "c.yaml").write_text("northbound:\n  opcua: {port: 4841}\n")
    (tmp_path / "d.yaml").write_text(FLOW.replace("HASH", HASH))
    code, out, _ = run("add", "anna", tmp_path)
    assert (code, out.startswith(f"{tmp_path / 'd.yaml'}:6: ")) == (0, True)


@pytest.mark.parametrize("northbound", [BLOCK, FLOW, FLOW.replace("'HASH'", "HASH"), "\ufeff# x\n" + FLOW])
def test_another_password_changes_the_hash_alone(tmp_path: Path, run: Run, northbound: str) -> None:
    file = tmp_path / "bridge.yaml"
    text = northbound.replace("HASH", HASH)
    text = "\ufeff" + BASE + text[1:] if text.startswith("\ufeff") else BASE + text
    file.write_text(text, encoding="utf-8")
    code, out, err = run("passwd", "otto", file, password=OTHER)
    assert (code, err, "otto has another password" in out) == (0, "", True)
    (user,) = load_site([file], {}).file.northbound.opcua.users
    hashed = user.password_hash.get_secret_value()
    assert matches(OTHER, hashed)
    assert file.read_text(encoding="utf-8") == text.replace(HASH, hashed)


@pytest.mark.parametrize(
    ("written", "where"),
    [
        ("'${OTTO_HASH:?set it}'", "the environment variable OTTO_HASH"),
        ("${file:secrets/otto.hash}", "the file secrets/otto.hash"),
        ("&x '@'", "has an anchor or a tag"),
        ("|\n          @", "is not written on one line"),
    ],
)
def test_a_hash_that_is_not_written_here_is_printed(tmp_path: Path, run: Run, written: str, where: str) -> None:
    rows = f"      - name: otto\n        password_hash: {written}\n".replace("@", HASH)
    file = site(tmp_path, f"northbound:\n  opcua:\n    users:\n{rows}")
    was = file.read_bytes()
    code, out, err = run("passwd", "otto", file)
    assert (code, file.read_bytes(), matches(PASSWORD, out.strip())) == (1, was, True)
    assert where in err


@pytest.mark.parametrize(
    ("arguments", "password", "said"),
    [
        (("add", "otto", "FILE"), PASSWORD, "otto is there already, FILE:15; plantbridge users passwd"),
        (("passwd", "oto", "FILE"), PASSWORD, "there is no user 'oto'; did you mean \"otto\"?"),
        (("passwd", "xyz", "FILE"), PASSWORD, "plantbridge users add xyz makes the login"),
        (("add", "anna", "FILE"), "short horse", "has 11 characters; at least 12 are wanted"),
        (("add", "anna", "FILE"), "x" * 1025, "the server takes 1024 at most"),
        (("add", "anna", "FILE"), "ababababababab", "again and again"),
        (("add", "anna", "FILE"), "this is Anna's password", "has the user's name in it"),
        (("add", "anna", "FILE"), "two lines\nof password\n", "cannot be seen"),
        (("add", "an na", "FILE"), PASSWORD, "a user name has letters, digits"),
        (("add", "an:{na", "FILE"), PASSWORD, "a user name has letters, digits"),
        (("add", "a" * 65, "FILE"), PASSWORD, "64 characters at most"),
        (("add", "anna", "FILE", "--email", "anna@acme"), PASSWORD, "'anna@acme' is no e-mail address"),
        (("add", "anna", "FILE", "--role", "Boss"), PASSWORD, "Observer"),
        (("list", "nothing.yaml"), PASSWORD, "does not exist"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(
    tmp_path: Path, run: Run, arguments: tuple[str, ...], password: str, said: str
) -> None:
    file = site(tmp_path, BLOCK.replace("HASH", HASH))
    was = file.read_bytes()
    code, out, err = run(*(argument.replace("FILE", str(file)) for argument in arguments), password=password)
    assert (code, out, file.read_bytes()) == (2, "", was)
    assert said.replace("FILE", str(file)) in err
    assert password not in err


def test_names_that_yaml_would_misread_stay_names(tmp_path: Path, run: Run) -> None:
    file = site(tmp_path, "")
    names = ["4711", "true", "null", "1e3", "jürgen", "plc-1@line.2", "0x10"]
    for name in names:
        assert run("add", name, file)[0] == 0
    assert run("add", "brian", file, "--email", "o'brien@acme.example")[0] == 0
    users = load_site([file], {}).file.northbound.opcua.users
    assert [user.name for user in users] == [*names, "brian"]
    assert users[-1].email == "o'brien@acme.example"


def test_users_are_listed_with_what_is_weak_and_no_hash(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLD_HASH", HASH.replace("$16384$", "$1024$"))
    monkeypatch.delenv("NO_HASH", raising=False)
    file = site(
        tmp_path,
        "northbound:\n  opcua:\n    users:\n"
        f"      - {{name: otto, role: Engineer, email: otto@acme.example, password_hash: '{HASH}'}}\n"
        "      - {name: old, password_hash: '${OLD_HASH}'}\n"
        "      - {name: away, password_hash: '${NO_HASH}'}\n"
        "      - {name: broken, password_hash: 'scrypt$x'}\n",
    )
    code, out, _ = run("list", file)
    lines = out.splitlines()
    assert code == 0
    assert [line.split()[0] for line in lines] == ["otto", "old", "away", "broken"]
    assert lines[0] == f"otto <otto@acme.example>         Engineer  {file}:13"
    assert "its cost is lower than that of a new one (N=1024, r=8, p=1)" in lines[1]
    assert "it is in the environment variable NO_HASH, which cannot be read here" in lines[2]
    assert "nobody gets in by it" in lines[3]
    _, told, _ = run("list", file, "--json")
    entries = [json.loads(line) for line in told.splitlines()]
    assert [bool(entry["weakness"]) for entry in entries] == [False, True, True, True]
    assert (entries[0]["role"], entries[0]["file"], entries[0]["line"]) == ("Engineer", str(file), 13)
    assert "scrypt$" not in out + told
    assert HASH.rpartition("$")[2] not in out + told


def test_a_site_without_users_says_how_to_begin(tmp_path: Path, run: Run) -> None:
    file = site(tmp_path, "")
    assert run("list", file) == (
        0,
        f"Nobody may log in. Begin with: plantbridge users add NAME {file} --role Operator\n",
        "",
    )


# -- the file ---------------------------------------------------------------------------------------------------------


def test_mode_and_link_stay(tmp_path: Path, run: Run) -> None:
    file = site(tmp_path, FLOW.replace("HASH", HASH), "real.yaml")
    file.chmod(0o640)
    link = tmp_path / "bridge.yaml"
    link.symlink_to(file)
    assert run("add", "anna", link)[0] == 0
    assert link.is_symlink()
    assert "anna" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bridge.yaml", "real.yaml"]


def test_a_file_that_cannot_be_replaced_stays(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(Path, "replace", refuse)
    file = site(tmp_path, FLOW.replace("HASH", HASH))
    was = file.read_bytes()
    code, out, err = run("add", "anna", file)
    assert (code, file.read_bytes(), "name: anna" in out) == (1, was, True)
    assert "cannot be replaced: Device or resource busy" in err
    assert [entry.name for entry in tmp_path.iterdir()] == ["bridge.yaml"]


def test_what_somebody_else_has_written_meanwhile_is_not_lost(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = site(tmp_path, FLOW.replace("HASH", HASH))
    real = os.fsync

    def meanwhile(descriptor: int) -> None:
        file.write_text("# mine\n")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    code, _, err = run("add", "anna", file)
    assert (code, file.read_text(), "was changed by somebody else meanwhile" in err) == (1, "# mine\n", True)


@pytest.mark.parametrize(("mode", "code"), [(0o640, 1), (0o644, 0)])
def test_who_could_read_it_still_can(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, mode: int, code: int
) -> None:
    file = site(tmp_path, FLOW.replace("HASH", HASH))
    file.chmod(mode)
    own, real = os.stat(file), os.fstat

    def another(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        same = stat.S_ISREG(found.st_mode) and found.st_dev == own.st_dev and found.st_ino != own.st_ino
        return os.stat_result((*found[:4], found.st_uid + 1, *found[5:])) if same else found

    def refuse(descriptor: int, user: int, group: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fstat", another)
    monkeypatch.setattr(os, "fchown", refuse)
    ended, _, err = run("add", "anna", file)
    assert ended == code
    assert ("anna" in file.read_text()) is (code == 0)
    assert ("do this as its owner or as root" in err) is (code == 1)


# -- the password -----------------------------------------------------------------------------------------------------


def test_a_password_on_the_command_line_is_warned_about(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["users", "add", "anna", "--password", PASSWORD])
    told = capsys.readouterr()
    assert ended.value.code == 0
    assert "seen by everybody who can list processes" in told.err
    assert PASSWORD not in told.err + told.out


def test_where_nobody_can_be_asked_the_way_for_scripts_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD))
    with pytest.raises(SystemExit) as ended:
        main(["users", "add", "anna"])
    assert ended.value.code == 2
    assert "--password-stdin" in capsys.readouterr().err


def test_on_a_terminal_the_password_is_asked_for_twice(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = iter([PASSWORD, "something else", PASSWORD, PASSWORD])
    monkeypatch.setattr("sys.stdin", type("Terminal", (io.StringIO,), {"isatty": lambda self: True})())
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda prompt: next(typed))
    with pytest.raises(SystemExit) as ended:
        main(["users", "add", "anna"])
    assert (ended.value.code, list(typed)) == (0, [])
    assert "do not match" in capsys.readouterr().err


def test_user_with_a_certificate_needs_no_password(run: Run, tmp_path: Path) -> None:
    file, badge = site(tmp_path, BLOCK.replace("HASH", HASH)), identity("badge")
    mark = thumbprint(badge.certificate)
    code, _, _ = run("add", "scada", file, "--role", "Operator", "--certificate", badge.certificate_file)
    assert code == 0
    (user,) = (one for one in load_site([file]).file.northbound.opcua.users if one.name == "scada")
    assert (user.certificate, user.password_hash) == (mark, None)
    _, out, _ = run("list", file)
    (line,) = (one for one in out.splitlines() if one.startswith("scada"))
    assert mark in line
    assert "hash" not in line
    assert run("add", "other", file, "--certificate", __file__)[0] == 2
