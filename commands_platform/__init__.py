"""The project. Settings, URLs and Celery connect the apps; `lib` is the code that every app may use."""

from __future__ import annotations

__version__ = "0.1.0"
