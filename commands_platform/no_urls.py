"""The paths of a process that serves none. Celery checks a process's paths, and would load every page for that."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
