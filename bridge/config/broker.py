"""What a person says about the embedded MQTT broker in `broker:`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class EmbeddedBrokerConfig(BaseModel):
    """A small MQTT 3.1.1 broker inside the bridge, for a demo or a small site without one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(False, description="Run the embedded broker.")
    host: str = Field("127.0.0.1", description="Address it listens on; anonymous clients are let in on loopback only.")
    port: int = Field(1883, ge=0, le=65535, description="TCP port.")
