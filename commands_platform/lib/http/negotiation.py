"""Answers in JSON for every Accept header, so that a client written for another server never gets 406."""

from __future__ import annotations

from collections.abc import Iterable

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from commands_platform.lib.http.parsers import is_json_media_type, unsupported


class JSONOnlyNegotiation(BaseContentNegotiation):
    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        """Returns the view's parser for a JSON body. Raises UnsupportedMediaType for any other."""
        if not is_json_media_type(request.content_type):
            raise unsupported(request.content_type)
        return next(iter(parsers), None)

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """Returns the view's first renderer and its media type."""
        renderer = next(iter(renderers))
        return renderer, renderer.media_type
