"""A site with something said differently than in its file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.config.site import Site

SIMULATED = "-simulated"
"""Ends the name of the state directory of a site with simulated sources."""


def with_state_directory(site: Site, path: Path) -> Site:
    """The site with its state elsewhere."""
    own = site.file.bridge.model_copy(update={"state_directory": str(path.resolve())})
    return replace(site, file=site.file.model_copy(update={"bridge": own}))


def apart(site: Site) -> Site:
    """The site with a state directory of its own beside the real one, but with the same certificates."""
    file, state = site.file, site.state_directory
    opcua = file.northbound.opcua.model_copy(update={"pki": file.northbound.opcua.pki or str(state / "pki")})
    northbound = file.northbound.model_copy(update={"opcua": opcua})
    changed = replace(site, file=file.model_copy(update={"northbound": northbound}))
    return with_state_directory(changed, state.with_name(state.name + SIMULATED))


def with_sources(site: Site, sources: dict[str, Any]) -> Site:
    """The site with other sources of the same names."""
    return replace(site, file=site.file.model_copy(update={"sources": sources}))
