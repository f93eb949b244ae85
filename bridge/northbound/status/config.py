"""StatusConfig: where the admin API listens."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class StatusConfig(BaseModel):
    """`northbound.status` of a site: health, metrics and the admin API."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        max_length=255,
        description="Address to listen on. Anything but loopback puts the admin token on the network unencrypted.",
    )
    port: int = Field(8080, ge=0, le=65535, description="TCP port; 0 takes a free one.")
