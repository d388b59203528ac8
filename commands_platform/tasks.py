"""Tasks that belong to no other app."""

from __future__ import annotations

from celery import shared_task

from commands_platform.operators import expired_sessions


@shared_task(name="commands_platform.remove_expired_sessions")
def remove_expired_sessions() -> None:
    """Removes some expired sessions. The next run removes the rest."""
    expired_sessions.remove_expired_sessions()
