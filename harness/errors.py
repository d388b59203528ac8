"""Errors of the harness."""

from __future__ import annotations


class NotPossibleHereError(Exception):
    """This machine or account cannot run something. The message says why."""
