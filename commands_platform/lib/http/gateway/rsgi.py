"""The names of granian's RSGI interface, which it exports at run time without saying so to type checkers."""

from __future__ import annotations

from granian.rsgi import HTTPProtocol, ProtocolClosed, Scope  # type: ignore[attr-defined]

__all__ = ["HTTPProtocol", "ProtocolClosed", "Scope"]
