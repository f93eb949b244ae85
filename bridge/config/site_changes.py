"""A site with something said differently than in its file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.config.site import Site


def with_state_directory(site: Site, path: Path) -> Site:
    """The site with its state elsewhere."""
    own = site.file.bridge.model_copy(update={"state_directory": str(path.resolve())})
    return replace(site, file=site.file.model_copy(update={"bridge": own}))


def with_sources(site: Site, sources: dict[str, Any]) -> Site:
    """The site with other sources of the same names."""
    return replace(site, file=site.file.model_copy(update={"sources": sources}))
