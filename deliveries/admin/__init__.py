"""The pages of the ledger."""

from __future__ import annotations

from deliveries.admin.pages import DeliveryAdmin

__all__ = ["DeliveryAdmin"]
