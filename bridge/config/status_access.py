"""What is wrong with how the status page is reached, as far as other parts of the files tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.northbound.status.config import tls_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.config.merge import Sheaf
    from bridge.config.site import SiteFile
    from bridge.errors import Fault

STATUS: Final = ("northbound", "status")


def user_faults(file: SiteFile, sheaf: Sheaf) -> Iterator[Fault]:
    """A page for others that nobody could log in at but with the admin token, which can do everything."""
    status, users = file.northbound.status, file.northbound.opcua.users
    if not status.is_local and not any(user.password_hash for user in users):
        yield sheaf.fault(
            (*STATUS, "host"),
            f"{status.host} is not loopback, and nobody has a password",
            "a user in northbound: opcua: users (plantbridge users add NAME), or 127.0.0.1",
        )


def file_faults(file: SiteFile, sheaf: Sheaf) -> Iterator[Fault]:
    """Certificate and key that cannot be used. Reads them."""
    problem = tls_fault(file.northbound.status)
    if problem:
        yield sheaf.fault((*STATUS, "cert_file"), problem, "PEM files that this user may read")
