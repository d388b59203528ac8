"""The URLs of a process that serves none. Celery checks a process's URLs, which would otherwise load every page."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
