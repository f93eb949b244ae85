from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, field_validator
from pydantic_core import PydanticCustomError

from bridge.config.documents import SIZE_LIMIT, Document, parse_document, read_document, validate
from bridge.config.expand import expand
from bridge.errors import ConfigError
from bridge.transport.duration import Duration

from .mutations import assert_refused_without_traceback


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Panel(Strict):
    type: Literal["qitech"]
    url: str
    port: int = Field(8080, ge=1, le=65535)
    password: SecretStr | None = None


class Broker(Strict):
    type: Literal["mqtt"]
    host: str


Name = Annotated[str, StringConstraints(pattern="^[a-z]+$")]


class Span(Strict):
    low: float
    high: float


class Mode(Enum):
    STANDBY = "Standby"
    HEAT = "Heat"


class Zone(Strict):
    name: str
    below: list[Zone] = []


class Site(Strict):
    sources: dict[
        Annotated[str, StringConstraints(pattern="^[a-z]+$")], Annotated[Panel | Broker, Field(discriminator="type")]
    ] = {}
    range: tuple[float, float] | Span | None = None
    origin: str | list[str] = Field("x", alias="from")
    period: float | Literal["auto"] = "auto"
    mode: Mode = Mode.HEAT
    zones: list[Zone] = []
    unit: str = "Cel"

    @field_validator("unit")
    @classmethod
    def _known(cls, unit: str) -> str:
        if unit != "Cel":
            raise PydanticCustomError(
                "unit", "unknown unit", {"expected": "a UCUM code", "hint": 'did you mean "Cel"?'}
            )
        return unit


def faults(text: str, model: type[BaseModel] = Site) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(parse_document(text, "f.yaml"), model)
    return str(caught.value).splitlines()


def refusal(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_document(text, "f.yaml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("on", "on"), ("No", "No"), ("y", "y"), ("1:30", "1:30"), ("2026-01-01", "2026-01-01"), ("1_000", "1_000"),
        ("true", True), ("False", False), ("~", None), ("", None), ("012", 12), ("0x1F", 31), ("0o17", 15), ("-3", -3),
        ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("'1'", "1"), ('"true"', "true"), ("!!str 1", "1"), ("! 1", "1"),
        ("٣", "٣"), ("<<", "<<"),
    ],
)  # fmt: skip
def test_words_mean_what_yaml_1_2_says(word: str, value: object) -> None:
    data = parse_document(f"key: {word}", "f.yaml").data["key"]
    assert data == value
    assert type(data) is type(value)


def test_keys_on_and_off_stay_words() -> None:
    assert parse_document("on: 0\noff: 1", "f.yaml").data == {"on": 0, "off": 1}


def test_aliases_repeat_what_was_anchored() -> None:
    document = parse_document("a: &x {b: 1}\nc: *x", "f.yaml")
    assert document.data == {"a": {"b": 1}, "c": {"b": 1}}
    assert document.position(("c", "b")) == (1, 11)


def test_fault_is_at_value_key_or_nearest_known_place() -> None:
    document = parse_document("a:\n  b:\n    - x: 1\n    - y: 2\n", "f.yaml")

    def place(*path: str | int, at_key: bool = False) -> tuple[int, int]:
        fault = document.fault(path, "p", at_key=at_key)
        return fault.line, fault.column

    assert place("a", "b", 1, "y") == (4, 10)
    assert place("a", "b", 1, "y", at_key=True) == (4, 7)
    assert place("a", "b", 1, "z", "deeper") == (4, 7)
    assert place("a", "b", 7) == (3, 5)
    assert place() == (1, 1)
    assert (
        str(document.fault(("a", "b", 1, "y.z"), "is odd", "a", "b"))
        == 'f.yaml:4:7: a.b[1]."y.z": is odd; expected a; b'
    )


def test_fault_is_one_line_whatever_it_quotes() -> None:
    fault = parse_document("a: 1", "f.yaml").fault(("a",), "is a\nb", hint="\x1b[31m")
    assert str(fault) == "f.yaml:1:4: a: is a b;  [31m"


def test_every_structural_fault_is_told_at_once() -> None:
    text = "a: 1\na: 2\n1: 3\nx: !foo 3\ny: *q\nz: 1e999\nw: 99999999999999999999\nv: .nan\nu: !!int x"
    assert refusal(text) == [
        "f.yaml:2:1: a: this key is already there in line 1; expected each key once",
        'f.yaml:3:1: a key must be a word; expected text; write "1" in quotes',
        'f.yaml:4:4: x: the tag "!foo" is not supported',
        'f.yaml:5:4: y: nothing above is anchored as "q"',
        "f.yaml:6:4: z: this is not a finite number",
        "f.yaml:7:4: w: this number does not fit 64 bits",
        "f.yaml:8:4: v: this is not a finite number",
        "f.yaml:9:4: u: this is not what its tag !!int says",
    ]


def test_broken_yaml_names_line_column_and_text() -> None:
    [line] = refusal("a: 1\nb: c: d\n")
    assert line.startswith("f.yaml:2:5: broken YAML: mapping values are not allowed")
    assert line.endswith('near "b: c: d"')


def test_tab_is_named() -> None:
    assert refusal("a:\n  b: 1\n\t  c: 2\n") == ['f.yaml:3:1: a tab cannot indent YAML; expected spaces; near "c: 2"']


def test_broken_yaml_never_shows_a_line_with_a_secret() -> None:
    [line] = refusal("a: 1\npassword: hunter2: d\n")
    assert "hunter2" not in line


def test_second_document_is_refused() -> None:
    assert refusal("a: 1\n---\nb: 2\n") == ["f.yaml:2:1: a second document begins here; expected one document per file"]


def test_control_character_is_located() -> None:
    assert refusal("a: 1\nb: \x01") == ["f.yaml:2:4: the character U+0001 may not stand in YAML"]


def test_deep_nesting_and_alias_bombs_are_refused() -> None:
    assert "nested too deeply" in refusal("[" * 100_000)[0]
    bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n"
    bomb += "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    assert "unfolds into too much" in refusal(bomb)[0]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: 1\nb: \xff\n", ":2:4: this byte is not UTF-8; expected a file saved as UTF-8"),
        (b"#" * (SIZE_LIMIT + 1), ": is too big; expected at most 1048576 bytes"),
        (None, ": cannot be read: No such file or directory"),
    ],
)
def test_unreadable_file_is_a_fault(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "f.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_document(path)
    assert str(caught.value) == f"{path}{problem}"


def test_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_document(path).data == {"a": 1}


def test_folder_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_document(tmp_path)


def test_good_document_becomes_a_model() -> None:
    text = "sources: {a: {type: mqtt, host: h}}\nrange: [0, 1]\nfrom: [x, y]\nzones: [{name: a, below: [{name: b}]}]"
    site = validate(parse_document(text, "f.yaml"), Site)
    assert site.sources["a"] == Broker(type="mqtt", host="h")
    assert site.range == (0, 1)


def test_every_fault_of_a_model_is_told_at_its_line() -> None:
    text = """\
sources:
  A: {type: mqtt, host: h}
  b:
    type: qitch
  c: {}
  d: 3
  e:
    type: mqtt
    hst: 1
  f: {type: qitech, url: x, port: 0}
range: {low: x}
from: {x: 1}
period: atuo
mode: heta
rnage: 5
unit: C
zones:
  - name: a
    below:
      - nmae: b
"""
    assert faults(text) == [
        'f.yaml:2:3: sources.A: the key is "A"; expected text that matches ^[a-z]+$',
        'f.yaml:4:11: sources.b.type: is "qitch"; expected one of qitech, mqtt; did you mean "qitech"?',
        "f.yaml:5:6: sources.c.type: is missing; expected one of qitech, mqtt",
        "f.yaml:6:6: sources.d: is 3; expected a mapping of keys to values",
        "f.yaml:8:5: sources.e.host: is missing; expected text",
        'f.yaml:9:5: sources.e.hst: unknown key; did you mean "host"?',
        "f.yaml:10:35: sources.f.port: is 0; expected at least 1",
        "f.yaml:11:8: range.high: is missing; expected a number",
        'f.yaml:11:14: range.low: is "x"; expected a number',
        "f.yaml:12:7: from: is a mapping; expected text or a list",
        'f.yaml:13:9: period: is "atuo"; expected a number or auto; did you mean "auto"?',
        'f.yaml:14:7: mode: is "heta"; expected one of Standby, Heat; did you mean "Heat"?',
        'f.yaml:15:1: rnage: unknown key; did you mean "range"?',
        'f.yaml:16:7: unit: unknown unit; expected a UCUM code; did you mean "Cel"?',
        "f.yaml:20:9: zones[0].below[0].name: is missing; expected text",
        'f.yaml:20:9: zones[0].below[0].nmae: unknown key; did you mean "name"?',
    ]


def test_member_of_a_list_in_a_union_is_located() -> None:
    assert faults("range: [1, b]") == ['f.yaml:1:12: range[1]: is "b"; expected a number']


def test_key_that_resembles_a_union_tag_is_still_the_persons_key() -> None:
    text = "sources:\n  mqtt: {type: mqtt, host: [1]}\n"
    assert faults(text) == ["f.yaml:2:28: sources.mqtt.host: is a list; expected text"]


class Rhythm(Strict):
    period: Duration = Field(60.0, ge=5, le=6 * 3600)
    name: str = Field("x", min_length=1)
    zones: list[str] = Field(["x"], min_length=1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("period: 1s", 'period: is "1s"; expected at least 5s'),
        ("period: 2d", 'period: is "2d"; expected at most 6h'),
        ("period: 1", "period: is 1; expected at least 5.0"),
        ("name: 007", "name: is 7; expected text, in quotes"),
        ("name: ''", "name: is empty; expected some text"),
        ("zones: []", "zones: is a list; expected at least one entry"),
    ],
)
def test_limit_is_told_as_a_person_writes_it(text: str, told: str) -> None:
    [fault] = faults(text, Rhythm)
    assert fault.partition(": ")[2] == told


def test_unknown_key_without_neighbour_lists_the_known_ones() -> None:
    assert faults("{low: 1, high: 2, zzzzz: 3}", Span) == ["f.yaml:1:19: zzzzz: unknown key; expected one of high, low"]


@pytest.mark.parametrize(
    ("text", "problem"), [("", "the file is empty"), ("[]", "the file is a list"), ("x", 'the file is "x"')]
)
def test_file_that_is_no_mapping_says_so(text: str, problem: str) -> None:
    assert faults(text) == [f"f.yaml:1:1: {problem}; expected a mapping of keys to values"]


def test_value_of_a_secret_is_not_shown() -> None:
    lines = faults("sources: {a: {type: qitech, url: x, password: 271828}}")
    assert lines == ["f.yaml:1:47: sources.a.password: is not text; expected text, in quotes"]


def test_part_of_a_document_is_validated_at_its_own_place() -> None:
    document = parse_document("spans:\n  - low: 1\n    high: y\n", "f.yaml")
    with pytest.raises(ConfigError) as caught:
        validate(document, Span, document.data["spans"][0], ("spans", 0))
    assert str(caught.value) == 'f.yaml:3:11: spans[0].high: is "y"; expected a number'


def test_value_that_another_file_gave_is_shown_at_the_nearest_place() -> None:
    document = parse_document("extends: base\nrange: [0, 1]\n", "f.yaml")
    with pytest.raises(ConfigError) as caught:
        validate(document, Site, {"range": [0, 1], "mode": "heta", "period": []})
    assert str(caught.value).splitlines() == [
        "f.yaml:1:1: period: is a list; expected a number or auto",
        'f.yaml:1:1: mode: is "heta"; expected one of Standby, Heat; did you mean "Heat"?',
    ]


def expanded(text: str, **environment: str) -> Document:
    return expand(parse_document(text, "f.yaml"), environment)


def test_references_are_replaced_in_every_string() -> None:
    text = "a: ${A}\nb: ['x${A}y${B:-d}', {c: '${C:-}'}]\nd: $$A $value $${A}\ne: 1\nf: ${A:?m}\n'${A}': k"
    data = expanded(text, A="1", C="").data
    assert data == {"a": "1", "b": ["x1yd", {"c": ""}], "d": "$A $value ${A}", "e": 1, "f": "1", "${A}": "k"}


def test_file_reference_is_relative_to_the_document_and_loses_one_line_end(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n\n")
    (tmp_path / "f.yaml").write_text("a: ${file:secret}")
    assert expand(read_document(tmp_path / "f.yaml"), {}).data == {"a": "s3cret\n"}


def test_every_reference_without_value_is_told_at_its_place() -> None:
    text = "a: ${A}\nb:\n  - ${B:?set it to the panel's name}\n  - '${9}'\n  - '${A'\n  - ${file:no/such}\n"
    with pytest.raises(ConfigError) as caught:
        expanded(text)
    lines = [str(fault).partition("; ")[0] for fault in caught.value.faults]
    assert lines == [
        "f.yaml:1:4: a: the environment variable A is not set",
        "f.yaml:3:5: b[0]: the environment variable B is not set: set it to the panel's name",
        'f.yaml:4:5: b[1]: "${9}" is not a reference',
        'f.yaml:5:5: b[2]: "${A" has no closing brace',
        'f.yaml:6:5: b[3]: the file "no/such" cannot be read: No such file or directory',
    ]


class Nosy(Strict):
    port: int
    name: str

    @field_validator("name")
    @classmethod
    def _never(cls, name: str) -> str:
        raise ValueError(f"{name} will not do")


def test_value_from_the_environment_never_appears_in_a_fault() -> None:
    document = expanded("port: ${PORT}\nname: a-${NAME}", PORT="hunter2", NAME="sesame")
    with pytest.raises(ConfigError) as caught:
        validate(document, Nosy)
    assert str(caught.value).splitlines() == [
        'f.yaml:1:7: port: is "${PORT}"; expected a whole number',
        "f.yaml:2:7: name: a-${NAME} will not do",
    ]
    assert "sesame" not in repr(document)


GOOD = """\
sources:
  panel: {type: qitech, url: "http://${HOST:-127.0.0.1}:3001", port: 3001, password: "${PW:-x}"}
  broker: {type: mqtt, host: localhost}
range: [0, 350.5]
from: [a.b, c.d]
period: 1e3
mode: Heat
zones:
  - name: Front
    below: [{name: Nozzle}, {name: Die, below: []}]
unit: Cel
"""


def test_thousand_bad_configurations_never_give_a_traceback() -> None:
    def load(text: str) -> Any:
        return validate(expand(parse_document(text, "f.yaml"), {}), Site)

    load(GOOD)
    assert assert_refused_without_traceback(load, GOOD, 1000) > 600
