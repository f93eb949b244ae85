"""A site: the files it is made of, and what is said in them about where things are."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config.check import check_paths
from bridge.config.site import load_site
from bridge.errors import ConfigError
from bridge.runtime.faces import uns_face
from bridge.transport.clock import SystemClock
from tests.sites import BASE

OWN_MAPPING = """
version: 1
mapping: acme/thing
match: {vendor: 9, machine: 1}
channels: {live: {periodic: 1s}}
tags:
  Monitoring/A: {from: live.a, type: Double}
"""


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_a_folder_may_hold_the_sites_own_mappings_too(tmp_path: Path) -> None:
    write(tmp_path, bridge=BASE + "mappings: [mappings]\n", mappings__thing=OWN_MAPPING)
    assert check_paths([tmp_path], {}).faults == []
    assert "acme/thing" in load_site([tmp_path], {}).library.names


def test_a_mapping_named_as_the_site_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path, thing=OWN_MAPPING)
    with pytest.raises(ConfigError, match="bridge: is missing"):
        load_site([tmp_path / "thing.yaml"], {})


def test_several_files_are_one_site(tmp_path: Path) -> None:
    head, machines = BASE.split("machines:")
    write(tmp_path, a=head, b="machines:" + machines)
    site = load_site([tmp_path / "a.yaml", tmp_path / "b.yaml"], {})
    assert [machine.id for machine in site.machines] == ["mock-1", "mock-2"]


def test_a_fault_is_shown_in_the_file_it_is_in(tmp_path: Path) -> None:
    head, machines = BASE.split("machines:")
    write(tmp_path, a=head, b="machines:" + machines.replace("source: other", "source: others"))
    with pytest.raises(ConfigError) as caught:
        load_site([tmp_path], {})
    (fault,) = caught.value.faults
    assert (fault.file, fault.line) == (str(tmp_path / "b.yaml"), 3)
    assert "other" in fault.hint


def test_two_machines_with_one_id_in_other_letters_are_refused(tmp_path: Path) -> None:
    write(tmp_path, bridge=BASE.replace("id: mock-2", "id: MOCK-1"))
    with pytest.raises(ConfigError, match="MOCK-1 is also the id of another machine"):
        load_site([tmp_path], {})


def test_paths_count_from_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    secured = BASE.replace('url: "http://127.0.0.1:3001",', 'url: "https://127.0.0.1", ca_file: root.crt,')
    write(
        folder, bridge=secured + "northbound: {uns: {broker: {tls: true, ca_file: /etc/ca.pem}}, opcua: {pki: keys}}\n"
    )
    monkeypatch.chdir(tmp_path)
    site = load_site([Path("site/bridge.yaml")], {})
    assert site.file.sources["panel"].ca_file == str(folder / "root.crt")
    assert site.file.northbound.uns.broker.ca_file == "/etc/ca.pem"
    assert site.file.northbound.opcua.pki == str(folder / "keys")
    assert site.state_directory == folder / "state"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("Monitoring/Temperature/Lft: {range: [0, 1]}", "has no tag of this name"),
        ("Monitoring/Temperature/Left: {rnge: [0, 1]}", "rnge"),
    ],
)
def test_changes_of_a_machine_whose_mapping_is_not_known_yet_are_checked_too(
    tmp_path: Path, change: str, words: str
) -> None:
    text = BASE.replace(", profile: 3.x", "").replace(
        "machine: {slug: mock, serial: 1}", f"machine: {{slug: aquapath_v1, serial: 1}}, tags: {{{change}}}"
    )
    write(tmp_path, bridge=text)
    with pytest.raises(ConfigError, match=words):
        load_site([tmp_path], {})


# -- people -----------------------------------------------------------------------------------------------------------


def users(*names: str) -> str:
    """Logins; each e-mail address after a colon."""
    lines = ["northbound:", "  opcua:", "    users:"]
    for name, _, email in (name.partition(":") for name in names):
        more = f", email: {email}" if email else ""
        lines.append(f"      - {{name: {name}, password_hash: 'scrypt$1$1$1$AA==$AA=='{more}}}")
    return "\n".join(lines) + "\n"


def test_people_are_those_listed_and_the_logins_that_have_an_address(tmp_path: Path) -> None:
    listed = 'commands: {people: {"0451": anna@acme.example, anna: anna@acme.example}}\n'
    write(tmp_path, bridge=BASE + users("anna", "otto:otto@acme.example", "berta") + listed)
    site = load_site([tmp_path], {})
    assert site.people == {
        "0451": "anna@acme.example",
        "anna": "anna@acme.example",
        "otto": "otto@acme.example",
    }
    assert "acme.example" not in repr(site.file.commands) + repr(site.file.northbound)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("commands: {people: {a: anna@acme}}", "23:24: commands.people.a: this is no e-mail address"),
        ("commands: {people: {0451: a@acme.example}}", "23:21: commands.people: a key must be a word"),
        ("commands: {people: {' a': a@acme.example}}", '23:21: commands.people." a": a blank at its end'),
        ("commands: {people: {'': a@acme.example}}", '23:21: commands.people.""'),
        ("commands: {people: {a: a@b.de, a: a@b.de}}", "23:32: commands.people.a: this key is already there in line"),
        ("commands: {people: {a: a@b.de, A: b@b.de}}", "23:32: commands.people.A: a has another e-mail address"),
        ("commands: {people: {Otto: b@b.de}}", "23:21: commands.people.Otto: otto has another e-mail address"),
    ],
)
def test_a_person_who_cannot_be_is_refused_where_written(tmp_path: Path, text: str, told: str) -> None:
    head = BASE + users("otto:otto@acme.example")
    padding = "\n" * (22 - head.count("\n"))
    write(tmp_path, bridge=head + padding + text)
    with pytest.raises(ConfigError) as caught:
        load_site([tmp_path], {})
    (fault,) = caught.value.faults
    assert str(fault).startswith(f"{tmp_path / 'bridge.yaml'}:{told}")


def test_ten_thousand_people_fit_and_no_more(tmp_path: Path) -> None:
    def people(count: int) -> str:
        lines = (f'    "{number:05}": person-{number}@acme.example' for number in range(count))
        return "\n".join([BASE + "commands:\n  people:", *lines])

    write(tmp_path, bridge=people(10_000))
    assert len(load_site([tmp_path], {}).people) == 10_000
    write(tmp_path, bridge=people(10_001))
    with pytest.raises(ConfigError, match="at most 10000 entries"):
        load_site([tmp_path], {})


@pytest.mark.parametrize("written", ['"5"', "5"])
def test_the_protocol_may_be_written_without_quotes(tmp_path: Path, written: str) -> None:
    write(tmp_path, bridge=BASE + f"northbound: {{uns: {{broker: {{host: broker, protocol: {written}}}}}}}\n")
    assert load_site([tmp_path], {}).file.northbound.uns.broker.protocol == "5"


def test_another_protocol_is_refused_with_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, bridge=BASE + "northbound: {uns: {broker: {protocol: 3.1}}}\n")
    with pytest.raises(ConfigError, match=r"northbound\.uns\.broker\.protocol.*auto"):
        load_site([tmp_path], {})


EMBEDDED = (
    "broker: {{enabled: true, port: 1884, {own}}}\nnorthbound: {{uns: {{broker: {{{reached}, protocol: {speaks}}}}}}}\n"
)


@pytest.mark.parametrize(
    ("own", "reached", "is_it"),
    [
        ("", "port: 1884", True),
        ("", "host: localhost, port: 1884", True),
        ("host: 0.0.0.0, users: {a: b}", "host: localhost, port: 1884", True),
        ("host: 10.0.0.9, users: {a: b}", "host: 10.0.0.9, port: 1884", True),
        ("host: 10.0.0.9, users: {a: b}", "port: 1884", False),
        ("", "port: 1883", False),
        ("", "host: broker, port: 1884", False),
    ],
)
def test_the_embedded_broker_is_known_to_speak_3_1_1(tmp_path: Path, own: str, reached: str, is_it: bool) -> None:
    write(tmp_path, bridge=BASE + EMBEDDED.format(own=own, reached=reached, speaks="auto"))
    site = load_site([tmp_path], {})
    assert uns_face(site, SystemClock())._config.broker.protocol == ("3.1.1" if is_it else "auto")
    write(tmp_path, bridge=BASE + EMBEDDED.format(own=own, reached=reached, speaks='"5"'))
    if not is_it:
        load_site([tmp_path], {})
        return
    with pytest.raises(ConfigError, match=r"uns\.broker\.protocol: the embedded broker speaks MQTT 3\.1\.1 only"):
        load_site([tmp_path], {})
