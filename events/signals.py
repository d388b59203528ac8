"""Signals of events."""

from __future__ import annotations

from django.dispatch import Signal

# Sent after the commit of a transaction that has published events which some hook may want.
events_published = Signal()
