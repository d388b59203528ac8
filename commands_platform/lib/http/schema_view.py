"""Serves the OpenAPI document."""

from __future__ import annotations

from functools import cache

from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from commands_platform.lib.http.renderers import render


class SchemaView(APIView):
    """The view of the document. It needs no key, because the document contains nobody's data."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        """Returns the document as JSON."""
        return HttpResponse(_document(), content_type="application/vnd.oai.openapi+json")


@cache
def _document() -> bytes:
    # Making it takes a fifth of a second of CPU, so requests must not be able to cause that again and again.
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    return render(generator.get_schema(request=None, public=True))  # type: ignore[no-untyped-call]
