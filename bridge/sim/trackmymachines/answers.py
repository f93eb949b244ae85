"""Answers of the vendor's Rails application."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import hdrs, web


class Refused(Exception):
    """The request is answered with a status and `{"error": ...}`."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error


def json_answer(content: Any, status: int = 200) -> web.Response:
    """As Rails renders it."""
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json", charset="utf-8")


def rails_page(request: web.Request, status: int, reason: str) -> web.Response:
    """What Rails itself says (no route, bad request, broken code): a page, JSON only for who asks for JSON alone."""
    if request.headers.get(hdrs.ACCEPT, "").startswith("application/json"):
        return json_answer({"status": status, "error": reason}, status)
    page = (
        f"<!DOCTYPE html>\n<html><head><title>{reason} ({status})</title></head><body><h1>{reason}</h1></body></html>\n"
    )
    return web.Response(text=page, status=status, content_type="text/html")
