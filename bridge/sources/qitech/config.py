"""What a person writes about a QiTech panel and its machines."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from bridge.sources._rules import MachineChoice, SourceRules
from bridge.sources.qitech.catalogue import VENDOR, number_of, slug_of, slugs
from bridge.sources.qitech.identity import Identity
from bridge.transport.duration import Duration


def _panel_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not a panel's address; write https://<address>, such as https://192.168.1.10")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user name or password in the address; use the keys username and password")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("only scheme, host and port; the bridge knows the panel's paths")
    _ = parts.port  # raises ValueError for a port that is none
    return f"{parts.scheme}://{parts.netloc}"


def _known_slug(slug: str) -> str:
    if number_of(slug) is None:
        raise ValueError(f"unknown machine type; known are {', '.join(slugs())}; or give its number as `machine`")
    return slug


Hazard = Literal["heat", "motion", "power", "protection", "loses_data", "loses_tension"]
"""`bridge.model.command.HAZARDS`, for the schema and the type checker."""


class QitechConfig(SourceRules):
    """One QiTech panel."""

    type: Literal["qitech"] = Field(description="This is a QiTech panel.")
    url: Annotated[str, AfterValidator(_panel_url)] = Field(
        description="The panel's address, https://<address>; plain http://<address>:3001 only where it was opened.",
        examples=["https://192.168.1.10"],
    )
    username: str = Field("machine", description="User name of the panel's Basic authentication.")
    password: SecretStr | None = Field(
        None, description="The word credentials.sh printed; write ${VAR} or ${file:path}, never the word itself."
    )
    ca_file: str | None = Field(
        None, description="PEM file of the panel's own root certificate (Caddy's root.crt); never the leaf's."
    )
    verify: bool = Field(True, description="Verify the panel's certificate; false lets anybody play the panel.")
    profile: Literal["auto", "2.x", "3.x"] = Field(
        "auto", description="API generation, for a panel that does not show it; auto goes by what the panel shows."
    )
    poll_period: Duration = Field(0.5, ge=0.2, le=10, description="2.x: how often each machine is read.")
    list_period: Duration = Field(5, ge=5, le=10, description="How often the list of machines is read.")
    request_timeout: Duration = Field(
        10, ge=10, le=120, description="How long a request may take. A 2.x panel crashes if one is given up early."
    )
    writes: bool = Field(False, description="Allow commands to this panel's machines.")
    allow_hazards: tuple[Hazard, ...] = Field((), description="Hazards that commands may carry, by name.")

    @property
    def accepts_writes(self) -> bool:
        """Commands may go to this panel."""
        return self.writes

    @property
    def hazards(self) -> frozenset[str]:
        """The hazards that commands may carry."""
        return frozenset(self.allow_hazards)

    def hints(self) -> dict[str, str | int]:
        """What the configuration alone says about the identity of every machine here."""
        return {} if self.profile == "auto" else {"profile": self.profile}

    @property
    def is_encrypted(self) -> bool:
        """The address is https."""
        return self.url.startswith("https://")


class QitechMachine(MachineChoice):
    """Which machine of a panel: its type by slug or by number, and its serial."""

    slug: Annotated[str, AfterValidator(_known_slug)] | None = Field(
        None, description="Machine type by name, as in the panel's list.", examples=["extruder_v1"]
    )
    machine: int | None = Field(None, ge=0, le=65535, description="Machine type by number, instead of slug.")
    serial: int = Field(ge=0, le=65535, description="Serial number, as in the panel's list.")

    @model_validator(mode="after")
    def _has_one_type(self) -> QitechMachine:
        if (self.slug is None) == (self.machine is None):
            raise ValueError("say either slug or machine")
        return self

    @property
    def _identity(self) -> Identity:
        number = number_of(self.slug) if self.slug else self.machine
        return Identity(VENDOR, number or 0, self.serial)

    def key(self) -> str:
        """The machine as observations name it: "1/4/57922"."""
        return self._identity.key

    def identity(self) -> dict[str, str | int]:
        """What `match:` of a mapping is compared with: vendor, machine, serial, slug."""
        vendor, machine, serial = self._identity
        return {"vendor": vendor, "machine": machine, "serial": serial, "slug": self.slug or slug_of(machine)}
