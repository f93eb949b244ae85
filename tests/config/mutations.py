"""Bad configurations made from a good one: deletions, wrong types, odd characters, huge numbers, broken YAML."""

from __future__ import annotations

import copy
import random
import string
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from bridge.errors import ConfigError

_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 10**18, -(2**63), 2**64, 10**400, 1e308, float("inf"), float("nan"), "", " ", "on", "~",
    "${", "${}", "${NOT_SET}",
    "${file:/nonexistent}", "${file:.}", "$$", "$x", "\x00", "😀", "é" * 300,
    "../../etc", "-", "a/b/c", "1/2/3", [], {}, [[]], [None], {"": ""}, {"a": {"b": []}},
    [1, "x", {"y": 2}], "\u202e", "\n",
    {"type": "nonsense"}, {"type": 3}, {"type": None}, {"eq": {}},
    "((", "[unclosed", "1 +", "a.b[0", "<x>", "$value.x", "9" * 5000,
)  # fmt: skip
_ODD_TEXT = ("\t", "\x00", "\x07", "\ufeff", ": ", "- ", "{", "}", "[", "]", "&a ", "*a ", "!!python/object:os.system ",
             "!x ", "%", "@", "`", "|", ">", "'", '"', "#", "<<: ", "? ", "---\n", "...\n", "\u2028", "\ud7ff", "😀",
             "9" * 5000, "[" * 500, "- " * 500, "1: ", "\r", "  ", "é")  # fmt: skip


def mutations(good: str, count: int, seed: int = 1) -> Iterator[str]:
    """`count` variants of the YAML text `good`, each broken in one to four ways; the same ones for the same seed."""
    chance = random.Random(seed)
    data = yaml.safe_load(good)
    for _ in range(count):
        yield (_of_text(good, chance) if chance.random() < 0.4 else _of_data(data, chance))


def assert_refused_without_traceback(load: Callable[[str], object], good: str, count: int = 1000, seed: int = 1) -> int:
    """Load every mutation: each loads, or raises ConfigError with faults of one line each. Counts the refused."""
    refused = 0
    for text in mutations(good, count, seed):
        try:
            load(text)
        except ConfigError as error:
            refused += 1
            assert error.faults, text
            assert all("\n" not in str(fault) and str(fault).isprintable() for fault in error.faults), error.faults
        except BaseException as error:
            raise AssertionError(f"{type(error).__name__} from:\n{text[:2000]}") from error
    return refused


def _of_text(good: str, chance: random.Random) -> str:
    text = good
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text) + 1)
        cut = at + chance.choice((0, 0, 1, 3, 40))
        text = text[:at] + chance.choice((*_ODD_TEXT, chance.choice(string.printable), "")) + text[cut:]
    return text


def _of_data(data: Any, chance: random.Random) -> str:
    data = copy.deepcopy(data)
    for _ in range(chance.randint(1, 4)):
        _mutate(data, chance)
    return yaml.safe_dump(data, allow_unicode=chance.random() < 0.5)


def _mutate(data: Any, chance: random.Random) -> None:
    places = list(_places(data))
    if not places:
        return
    container, step = chance.choice(places)
    kind = chance.randrange(5)
    if kind == 0:
        del container[step]
    elif kind == 1 and isinstance(container, dict):
        name = str(step)
        container[name[: len(name) // 2] + chance.choice(("", "x", "é", " ")) + name[len(name) // 2 :]] = container.pop(
            step
        )
    elif kind == 2 and isinstance(container, dict):
        container[chance.choice(("", "extra", "😀", 1, None, True, "a.b", "x" * 500))] = chance.choice(_ODD_VALUES)
    elif kind == 3:
        other, other_step = chance.choice(places)
        container[step] = copy.deepcopy(other[other_step])
    else:
        container[step] = copy.deepcopy(chance.choice(_ODD_VALUES))


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    entries: list[tuple[Any, Any]] = []
    if isinstance(data, dict):
        entries = list(data.items())
    elif isinstance(data, list):
        entries = list(enumerate(data))
    for step, value in entries:
        yield data, step
        yield from _places(value)
