"""From a source's configuration to the source."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from bridge.config.site import SourceConfig
    from bridge.ports import Clock, Executor, Source


def make_source(name: str, config: SourceConfig, clock: Clock, wanted: Collection[str] | None) -> Source:
    """The source that `config` describes; `wanted` are the machines it reads, None for all. No I/O."""
    from bridge.sources.qitech.source import QitechSource  # here: a vendor's libraries are for those who have it

    return QitechSource(name, config, clock, wanted)


def executor_of(source: Source) -> Executor | None:
    """Who carries out a source's commands; None for a source that takes none."""
    executor: Executor | None = getattr(source, "executor", None)
    return executor
