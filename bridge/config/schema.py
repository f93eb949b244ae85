"""JSON Schema of both kinds of file, for editors."""

from __future__ import annotations

from typing import Any

from bridge.config.site import SiteFile
from bridge.mapping.schema import MappingFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def bridge_schema() -> dict[str, Any]:
    """Schema of bridge.yaml."""
    return {"$schema": DIALECT, **SiteFile.model_json_schema(by_alias=True), "title": "plantbridge: a site"}


def mapping_schema() -> dict[str, Any]:
    """Schema of a mapping file."""
    return {"$schema": DIALECT, **MappingFile.model_json_schema(by_alias=True), "title": "plantbridge: a mapping"}
