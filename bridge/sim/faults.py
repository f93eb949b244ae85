"""Faults as switches: every public method of a simulator's fault class is one, with arguments that JSON has."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault for --help: its name, what it does, its arguments and whether each is required."""

    name: str
    description: str
    arguments: Mapping[str, bool]


def faults_of(switches: type) -> Mapping[str, Fault]:
    """Every fault of a class by name, those of its base classes first."""
    names = [name for base in reversed(switches.__mro__) for name in vars(base) if not name.startswith("_")]
    return {name: _describe(switches, name) for name in names if inspect.isfunction(getattr(switches, name))}


def _describe(switches: type, name: str) -> Fault:
    method = getattr(switches, name)
    parameters = list(inspect.signature(method).parameters.values())[1:]
    required = {parameter.name: parameter.default is parameter.empty for parameter in parameters}
    return Fault(name, inspect.getdoc(method) or "", required)
