"""What every vendor's part of the configuration has in common: what the house asks of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.model.calendar import Calendar


class RuleFault(NamedTuple):
    """A fault of a source's configuration that only shows with its machines; `key` is below the source."""

    key: tuple[str | int, ...]
    problem: str
    expected: str
    machine: str = ""
    """Key of the machine whose selector is at fault; `key` is then below that."""


class SourceRules(BaseModel):
    """A connection to a vendor; each vendor's own has a literal `type`. Unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def accepts_writes(self) -> bool:
        """Commands may go to this source."""
        return False

    @property
    def hazards(self) -> frozenset[str]:
        """The hazards that commands may carry."""
        return frozenset()

    @property
    def part_of_limit(self) -> tuple[str, float] | None:
        """Whose requests the vendor counts, and which part of them this source takes; None where nothing is counted.

        Each source has a budget of its own: sources of one credential divide the limit as people say, and so do several
        bridges. One budget for all of them would hide from `check` which of their periods cannot be kept.
        """
        return None

    def hints(self) -> dict[str, str | int]:
        """What the configuration alone says about the identity of every machine here."""
        return {}

    def faults(self, machines: Mapping[str, Mapping[str, str | int]], calendar: Calendar | None) -> Iterator[RuleFault]:
        """What cannot work with these machines (identities by key; all that `machines:` names) and this calendar."""
        yield from ()


class MachineChoice(BaseModel, ABC):
    """Which of a source's machines; each vendor says it in its own words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @abstractmethod
    def key(self) -> str:
        """The machine as observations name it."""

    @abstractmethod
    def identity(self) -> dict[str, str | int]:
        """What `match:` of a mapping is compared with."""
