"""Errors of the local directory and of the servers in it."""

from __future__ import annotations


class LocalDirectoryError(SystemExit):
    """The local directory cannot be used. The message says what to do."""


class EmbeddedServerError(Exception):
    """An embedded server could not be started."""


class AlreadyRunningError(EmbeddedServerError):
    """Another process runs the servers of this directory."""
