"""What the apps above the ledger may want to hear of it."""

from __future__ import annotations

from django.dispatch import Signal

# Sent inside the transaction that records the failures, with `ids`, a list of UUIDs; deliveries of events are left out.
deliveries_failed = Signal()

# Sent inside the transaction that records them, with `ids`: runs that were dispatched and skipped before any attempt.
runs_unsent = Signal()

# Sent when runs that waited for the run before them may be sent.
runs_started = Signal()
