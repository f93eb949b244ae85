"""The status page's files: HTML, CSS and ES modules as they are in the package; nothing is built, nothing fetched.

The policy allows what comes from here and nothing else: no inline script, no inline style, no text that becomes markup.
Source: W3C Content Security Policy Level 3; W3C Trusted Types (`require-trusted-types-for`).
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
INDEX: Final = "index.html"


class Page:
    """Answers with the files of the folder `web`; each is read once."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, str]] = {}

    async def index(self, request: Request) -> Response:
        """The page."""
        return self._answer(request, INDEX)

    async def file(self, request: Request) -> Response:
        """One of its parts."""
        return self._answer(request, request.path_params["name"])

    def _answer(self, request: Request, name: str) -> Response:
        content, tag = self._read(name)
        headers = {**_HEADERS, "ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=TYPES[name[name.rindex(".") :]])

    def _read(self, name: str) -> tuple[bytes, str]:
        """The file and its entity tag. Raises HTTPException 404; a name is compared, never followed."""
        if not self._files:
            for file in files("bridge.northbound.status").joinpath("web").iterdir():
                content = file.read_bytes()
                self._files[file.name] = content, f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        try:
            return self._files[name]
        except KeyError:
            raise HTTPException(404, "there is no such file") from None
