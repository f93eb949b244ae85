"""A site's plant without running it: for `check`, `tags` and the first look at a reload."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bridge.hub.slots import Slots
from bridge.runtime.faces import plant_faces, plant_faults
from bridge.runtime.inventory import InventoryStore
from bridge.runtime.plant_keeper import PlantKeeper
from bridge.transport.clock import SystemClock

if TYPE_CHECKING:
    from bridge.config.site import Site
    from bridge.model.plant import Plant
    from bridge.model.tag import Tag
    from bridge.ports import Northbound


class OfflinePlant:
    """The plant of a site as far as its files tell, and where each tag would be. No network, no files written."""

    def __init__(self, site: Site, *, with_inventory: bool = False) -> None:
        inventory = InventoryStore(site.state_directory / "inventory.json", site.file.limits.discovered_machines)
        if with_inventory:
            inventory.load()
        keeper = PlantKeeper(site, inventory, Slots(site.file.limits.tags), SystemClock(), lambda event: None)
        self.plant: Plant = keeper.first_plant()
        self.rules = list(keeper.rules())
        """Machine id and rule of what may make tags when data comes."""
        self._refused = keeper.refused
        north = site.file.northbound
        doors = {"opcua": True, "sparkplug": north.sparkplug.commands.enabled, "uns": north.uns.commands.enabled}
        self.doors = {name for name, is_open in doors.items() if is_open}
        """Faces that take commands where there are any."""
        self.faces: dict[str, Northbound] = plant_faces(site, SystemClock(), Path(site.state_directory))

    def faults(self) -> list[str]:
        """What cannot be in the plant, and what of it some face cannot carry."""
        refused = [f"{identifier}: {why}" for identifier, why in self._refused.items()]
        return [*refused, *plant_faults(self.faces.values(), self.plant)]

    def addresses(self, tag: Tag) -> dict[str, str]:
        """Where a tag is on each face."""
        return {name: face.address(tag) for name, face in self.faces.items()}
