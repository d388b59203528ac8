"""The pages of schedules and calendars."""

from __future__ import annotations

from scheduling.admin.calendars import CalendarAdmin
from scheduling.admin.pages import ScheduledExecutionAdmin

__all__ = ["CalendarAdmin", "ScheduledExecutionAdmin"]
