"""Logs: human and JSON lines, repetitions, levels while it runs, the tail."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from bridge.errors import NotChanged
from bridge.runtime.log_reference import sentences
from bridge.runtime.logging import (
    AGAIN_S,
    LONGEST,
    MAX_KNOWN,
    ROOMS,
    TAIL,
    HumanLines,
    JsonLines,
    Repeats,
    Tail,
    levels,
    sentence_id,
    set_level,
)


class Bench:
    """A logger of its own, whose lines are caught, on a clock that stands still."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.now = 100.0
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.handler.setFormatter(formatter)
        self.repeats = Repeats(lambda: self.now)
        self.repeats.use(self.handler)
        self.log = logging.Logger("bridge.bench")
        self.log.addHandler(self.handler)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def bench() -> Bench:
    return Bench(HumanLines())


def test_what_a_stranger_says_is_one_line_of_text(bench: Bench) -> None:
    bench.log.warning("Login of %s failed", "eve\n2026-03-04 INFO bridge: all is well \x1b[2J\u202e\x9b")
    [line] = bench.lines
    assert r"eve\n2026-03-04 INFO bridge: all is well \x1b[2J\u202e\x9b failed" in line


def test_words_that_do_not_fit_their_values_stop_nobody(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    kept = Tail()
    bench.log.addHandler(kept)
    bench.log.warning("%d panels", "no number")
    assert "no number" in capsys.readouterr().err
    assert kept.lines == ["bridge.bench: '%d panels'"]


def test_json_says_what_is_no_text() -> None:
    bench = Bench(JsonLines())
    bench.log.warning("No such file: %s", "caf\udce9.yaml")
    assert json.loads(bench.lines[0])["message"] == r"No such file: caf\udce9.yaml"


def test_a_repeated_warning_is_counted_and_told_when_its_minute_is_over(bench: Bench) -> None:
    for number in (1, 2, 1, 1):
        bench.log.warning("Panel %s is lost", number)
    assert [line.partition("bench: ")[2].partition(" [")[0] for line in bench.lines] == [
        "Panel 1 is lost",
        "Panel 2 is lost",
    ]
    bench.now += AGAIN_S
    bench.repeats.flush()
    assert bench.lines[2].endswith(f"Panel 1 is lost (again, 2 times in 60 s) [{sentence_id('Panel %s is lost')}]")
    bench.log.warning("Panel %s is lost", 1)
    assert len(bench.lines) == 4


def test_info_and_tracebacks_are_never_held_back(bench: Bench) -> None:
    for _ in range(3):
        bench.log.info("Source %s is back", "a")
        bench.log.error("Broken", exc_info=ValueError("x"))
    assert len([line for line in bench.lines if "is back" in line]) == 3
    assert len([line for line in bench.lines if line.startswith("ValueError")]) == 3


def test_what_is_counted_is_bounded(bench: Bench) -> None:
    for number in range(MAX_KNOWN + 50):
        bench.log.warning("Number %d", number)
    assert len(bench.repeats._known) == MAX_KNOWN


def test_json_lines_have_the_id_of_their_sentence() -> None:
    bench = Bench(JsonLines())
    bench.log.warning('Panel %s said "no"\nand more', "ü")
    told = json.loads(bench.lines[0])
    assert (told["level"], told["message"], told["id"]) == (
        "warning",
        'Panel ü said "no"\nand more',
        sentence_id('Panel %s said "no"\nand more'),
    )
    assert len(bench.lines) == 1
    bench.log.error("Broken", exc_info=ValueError("x"))
    assert "ValueError: x" in json.loads(bench.lines[1])["exception"]


def test_the_tail_is_bounded() -> None:
    tail = Tail()
    for number in range(TAIL + 10):
        tail.emit(logging.LogRecord("n", logging.INFO, "", 0, "%d " + "x" * 3000, (number,), None))
    assert len(tail.lines) == TAIL
    assert max(map(len, tail.lines)) == LONGEST
    assert " 10 xxx" in tail.lines[0]


@pytest.fixture
def restored() -> Iterator[None]:
    before = {name: logging.getLogger(name).level for name in ROOMS.values()}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("restored")
def test_levels_change_for_one_part_and_for_all() -> None:
    set_level("opcua", "debug")
    assert logging.getLogger("bridge.northbound.opcua.server").isEnabledFor(logging.DEBUG)
    assert levels()["opcua"] == "debug"
    set_level("all", "error")
    assert set(levels().values()) == {"error"}
    with pytest.raises(NotChanged, match='did you mean "opcua"'):
        set_level("opcau", "debug")
    with pytest.raises(NotChanged, match="there is no level 'loud'"):
        set_level("opcua", "loud")


def test_every_room_has_the_loggers_it_names() -> None:
    names = {f"bridge.{one}" for one in ("sources", "northbound")}
    assert all(name == "bridge" or name.startswith("bridge.") for name in ROOMS.values())
    assert names <= {name.rpartition(".")[0] for name in ROOMS.values()} | set(ROOMS.values())
    assert {one.room for one in sentences()} >= {"opcua", "sparkplug", "uns", "runtime", "qitech"}
