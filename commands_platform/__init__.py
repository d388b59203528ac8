"""The project: wiring on top (settings, urls, celery), the kernel in `lib` below every app."""

from __future__ import annotations

__version__ = "0.1.0"
