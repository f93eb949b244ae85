"""Who may ask: a Host header that is ours, and the admin token.

The Host check is what keeps a web page from reading the API of a bridge on the same computer through a name it lets
point at 127.0.0.1 (DNS rebinding). There is no CORS header anywhere: no other origin may read an answer.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from pydantic import SecretStr
    from starlette.requests import Request


class Guard:
    """Refuses requests that are not for us, or not from somebody with the token.

    Args:
        token: the admin token; must not be empty.
        host: the address we are bound to; on loopback, a request must name loopback or this address.
    """

    def __init__(self, token: SecretStr, host: str) -> None:
        if not token.get_secret_value():
            raise ValueError("the admin token is empty")
        self._token = token
        self._host = host.casefold()
        self._is_local = is_loopback(host)

    def check_host(self, request: Request) -> None:
        """Raises HTTPException 421 for a Host that is not ours."""
        name = host_name(request.headers.get("host", ""))
        if self._is_local and name != self._host and not is_loopback(name):
            raise HTTPException(421, "this Host is not served here")

    def check_token(self, request: Request) -> None:
        """Raises HTTPException 401 without `Authorization: Bearer <admin token>`."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        expected = self._token.get_secret_value().encode()
        is_same = hmac.compare_digest(given.strip().encode(), expected)
        if scheme.casefold() != "bearer" or not is_same:
            raise HTTPException(401, "the admin token is missing or wrong", {"WWW-Authenticate": "Bearer"})


def is_loopback(host: str) -> bool:
    """`localhost`, 127.0.0.0/8 or ::1."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """The name in a Host header, without port and brackets, in lower case."""
    if header.startswith("["):
        return header[1:].partition("]")[0].casefold()
    return header.partition(":")[0].casefold()
