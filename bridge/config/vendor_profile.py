"""Profiles of vendors whose servers differ: shipped ones by name, one's own by file, changes written beside either."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from bridge.config.documents import Document, read_document, validate
from bridge.config.faults import faults_of
from bridge.errors import ConfigError, Fault
from bridge.mapping.compile import deep_merge
from bridge.sources.iotistica.config import IotisticaConfig
from bridge.sources.iotistica.profile import Profile
from bridge.sources.iotistica.rest.pace import too_much

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.config.keypath import KeyPath
    from bridge.config.merge import Sheaf

SHIPPED: Final = ("actual", "documented")

EXTENDS: Final = "extends"
"""Key of an own profile that begins with a shipped one; what is null there takes a route away."""


def shipped_profile(name: str) -> Path:
    """The file of a profile that comes with plantbridge."""
    return Path(str(files("bridge"))) / "sources" / "iotistica" / "profiles" / f"{name}.yaml"


def profile_of(config: IotisticaConfig) -> Profile | None:
    """What the cloud's API looks like; None where a source has none. Raises ConfigError."""
    return None if config.rest is None else load_profile(config.profile, config.rest.profile_changes)


def own_profiles(sources: Mapping[str, object]) -> list[Path]:
    """Files of profiles that are a site's own: what a reload watches."""
    named = (source.profile for source in sources.values() if isinstance(source, IotisticaConfig))
    return [Path(name) for name in named if name not in SHIPPED]


def profile_faults(sources: Mapping[str, object], sheaf: Sheaf) -> list[Fault]:
    """What is wrong with the profiles of a site's sources."""
    faults: list[Fault] = []
    for name, source in sources.items():
        if isinstance(source, IotisticaConfig) and source.rest is not None:
            where = (sheaf, ("sources", name, "rest", "profile_changes"))
            try:
                profile = load_profile(source.profile, source.rest.profile_changes, where)
            except ConfigError as error:
                faults.extend(error.faults)
                continue
            faults.extend(_pace_faults(name, source, profile, sheaf))
    return faults


def _pace_faults(name: str, source: IotisticaConfig, profile: Profile, sheaf: Sheaf) -> list[Fault]:
    """Periods that cannot be kept with the agents that are named; found ones are read as often as can be."""
    if source.rest is None or source.agents == "all":
        return []
    demand = too_much(profile, source.rest, len(source.agents))
    if demand is None:
        return []
    problem = (
        f"{len(source.agents)} agents cannot be read so often: {demand.wanted:.0f} requests a minute, of "
        f"{demand.allowed:.0f} that share {source.rest.share:g} of the limit lets out evenly"
    )
    expected = "longer periods (health_period, detail_period), or a larger share"
    return [sheaf.fault(("sources", name, "rest", "health_period"), problem, expected)]


def load_profile(
    name: str, changes: Mapping[str, Any] | None = None, where: tuple[Sheaf, KeyPath] | None = None
) -> Profile:
    """The shipped profile of this name, or the one in this file, with `changes` laid over it.

    `where` is the place of the changes in the site's files, for faults. Raises ConfigError.
    """
    document = read_document(shipped_profile(name) if name in SHIPPED else Path(name))
    data = _whole(document)
    profile = validate(document, Profile, data)
    if not changes:
        return profile
    try:
        return Profile.model_validate(_without_nothing(deep_merge(data, changes)))
    except ValidationError as error:
        sheaf, path = where or (document, ())
        raise ConfigError(faults_of(error, Profile, sheaf, path)) from None


def _whole(document: Document) -> Any:
    """What the file says, laid over what it extends."""
    data = document.data
    if not isinstance(data, dict) or EXTENDS not in data:
        return data
    base = data[EXTENDS]
    if base not in SHIPPED:
        raise ConfigError([document.fault((EXTENDS,), f"there is no profile {base!r}", " or ".join(SHIPPED))])
    own = {key: value for key, value in data.items() if key != EXTENDS}
    return _without_nothing(deep_merge(read_document(shipped_profile(base)).data, own))


def _without_nothing(data: Any) -> Any:
    """Without the routes that were taken away."""
    routes = data.get("routes") if isinstance(data, dict) else None
    if not isinstance(routes, dict):
        return data
    return {**data, "routes": {name: route for name, route in routes.items() if route is not None}}
