"""The API's yardsticks: REST framework views that do almost nothing, without and with one indexed SELECT."""

from __future__ import annotations

from django.urls import path
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from organizations.models import Organization


class Bare(APIView):
    permission_classes = [AllowAny]
    renderer_classes = [JSONRenderer]

    def get(self, request: Request) -> Response:
        return Response({"name": "bare"})


class WithOneSelect(Bare):
    def get(self, request: Request) -> Response:
        [name] = Organization.objects.filter(pk=1).values_list("name", flat=True)
        return Response({"name": name})


urlpatterns = [path("bare", Bare.as_view()), path("select", WithOneSelect.as_view())]
