"""`check`: every fault in configurations and mappings, without a network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bridge.config import broker_access, status_access
from bridge.config.library import MappingLibrary, is_mapping, shipped_folder, yaml_files
from bridge.config.merge import read_sheaf
from bridge.config.site import Site, load_sheaf
from bridge.errors import ConfigError, Fault


@dataclass(slots=True)
class Checked:
    """What was looked at, and what is wrong with it."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    """What works, and should not be so."""
    sites: list[Site] = field(default_factory=list)
    is_partial: bool = False
    """A site has such faults that what refers to what in it was not looked at whole."""
    mappings: int = 0
    examples: int = 0


def check_paths(paths: Sequence[Path], environment: Mapping[str, str] | None = None) -> Checked:
    """Check sites and mappings. A folder is one site, or a folder of mappings, by what its files hold."""
    checked = Checked()
    for path in paths:
        files = yaml_files(path)
        if not files:
            checked.faults.append(Fault(str(path), 0, 0, "", "no YAML file is here", "bridge.yaml, or mapping files"))
            continue
        mappings = [file for file in files if is_mapping(file)]
        _check_mappings(checked, mappings)
        site_files = [file for file in files if file not in mappings]
        if site_files:
            folder = path if path.is_dir() else path.parent
            _check_site(checked, site_files, folder, os.environ if environment is None else environment)
    checked.faults = list(dict.fromkeys(checked.faults))
    return checked


def _check_mappings(checked: Checked, files: Sequence[Path]) -> None:
    if not files:
        return
    library = MappingLibrary()
    for file in yaml_files(shipped_folder("mappings")):  # so that `extends` finds what is shipped
        library.add(file)
    library.faults.clear()
    for file in files:
        library.add(file)
    library.resolve()
    names = {str(file) for file in files}
    checked.faults.extend(fault for fault in library.faults if fault.file in names)
    checked.mappings += len(files)
    checked.examples += library.examples(names)


def _check_site(checked: Checked, files: list[Path], folder: Path, environment: Mapping[str, str]) -> None:
    try:
        sheaf = read_sheaf(files, environment)
        site = load_sheaf(sheaf, folder, tuple(files))
    except ConfigError as error:
        checked.faults.extend(error.faults)
        checked.is_partial = True
        return
    checked.faults.extend(site.library.prove())
    checked.sites.append(site)
    checked.faults.extend(broker_access.file_faults(site.file, sheaf))
    checked.faults.extend(status_access.file_faults(site.file, sheaf))
    checked.warnings.extend(broker_access.warnings(site.file, sheaf))
