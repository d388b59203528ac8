"""Signals of the ledger to the apps above it."""

from __future__ import annotations

from django.dispatch import Signal

# Sent inside the transaction that records the failures, with `ids`, a list of UUIDs. Deliveries of events are left out.
deliveries_failed = Signal()

# Sent when dispatched runs are skipped before any attempt, inside the transaction that records it, with `ids`.
runs_unsent = Signal()

# Sent when runs that waited for the run before them may be sent.
runs_started = Signal()
