"""From a source's configuration to the source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.sources.qitech.source import QitechSource

if TYPE_CHECKING:
    from bridge.config.site import SourceConfig
    from bridge.ports import Clock, Source


def make_source(name: str, config: SourceConfig, clock: Clock) -> Source:
    """The source that `config` describes. No I/O."""
    return QitechSource(name, config, clock)
