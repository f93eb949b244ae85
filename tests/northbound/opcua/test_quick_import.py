"""asyncua's protocol classes are the same, whether their methods were written at import or when first called."""

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from bridge.northbound.opcua.stack.quick_import import METHODS, PROTOCOL, deferring

EVERY_CLASS = f"""
import dataclasses, inspect, re, sys
from {PROTOCOL} import *
for name, cls in sorted(vars(sys.modules["{PROTOCOL}"]).items()):
    if dataclasses.is_dataclass(cls) and cls.__module__ == "{PROTOCOL}":
        print(name, cls.__slots__, cls.__match_args__, cls.__hash__)
        try:
            made, other = cls(), cls()
        except NameError as error:  # some refer to what asyncua does not have
            print(error)
            continue
        for one in dataclasses.fields(cls):
            setattr(other, one.name, getattr(made, one.name))
        print(inspect.signature(cls.__init__).parameters.keys())
        print(re.sub("datetime[(][^)]*[)]", "now", repr(made)), made == other, made == 0)
"""


def of(first_import: str) -> list[str]:
    """What every protocol class looks like in a process that begins so."""
    command = [sys.executable, "-c", first_import + EVERY_CLASS]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def test_every_class_is_as_asyncua_made_it() -> None:
    ours, theirs = of("import bridge.northbound.opcua.stack.quick_import"), of("import asyncua")
    assert len(theirs) > 400
    assert ours == theirs


def test_a_bridge_has_hardly_any_methods_written_when_its_modules_are_there() -> None:
    """Else something has imported asyncua before `quick_import` could."""
    count = (
        f"import bridge.runtime.bridge, sys; classes = [one for one in vars(sys.modules['{PROTOCOL}']).values()"
        " if isinstance(one, type) and hasattr(one, '__dataclass_fields__')];"
        "print(sum(hasattr(one.__init__, 'is_placeholder') for one in classes), len(classes))"
    )
    said = subprocess.run([sys.executable, "-c", count], check=True, capture_output=True, text=True).stdout
    waiting, there = map(int, said.split())
    assert waiting > 0.8 * there


@pytest.fixture
def plain() -> Any:
    namespace = {"__module__": PROTOCOL, "__annotations__": {"one": "int", "more": "list[int]"}}
    return type("Plain", (), {**namespace, "one": 1, "more": dataclasses.field(default_factory=list)})


def test_methods_are_written_when_one_is_called(plain: Any) -> None:
    cls = deferring(slots=True)(plain)
    assert all(hasattr(vars(cls)[name], "is_placeholder") for name in METHODS)
    assert cls(2) != cls(2, [3])
    assert repr(cls(one=5)) == "Plain(one=5, more=[])"
    assert not any(hasattr(vars(cls)[name], "is_placeholder") for name in METHODS)
    assert cls().more is not cls().more
    with pytest.raises(TypeError, match="unexpected keyword argument 'two'"):
        cls(two=2)
    with pytest.raises(TypeError, match="unhashable"):
        hash(cls())


def test_a_class_that_inherits_has_its_own(plain: Any) -> None:
    base = deferring(plain)
    below = deferring(type("Below", (base,), {"__module__": PROTOCOL, "__annotations__": {"two": "int"}, "two": 2}))
    assert repr(below(7)) == "Below(one=7, more=[], two=2)"
    assert repr(base(7)) == "Plain(one=7, more=[])"


def test_own_methods_stay(plain: Any) -> None:
    plain.__repr__ = lambda self: "mine"
    assert repr(deferring(plain)()) == "mine"


@pytest.mark.parametrize("options", [{"frozen": True}, {"order": True}])
def test_any_other_dataclass_is_made_at_once(plain: Any, options: dict[str, bool]) -> None:
    assert not hasattr(deferring(plain, **options).__init__, "is_placeholder")
