"""The pages of schedules."""

from __future__ import annotations

from scheduling.admin.pages import ScheduledExecutionAdmin

__all__ = ["ScheduledExecutionAdmin"]
