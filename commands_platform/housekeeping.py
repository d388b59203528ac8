"""The housekeeping of the platform: the chores that dispatchers do beside dispatching."""

from __future__ import annotations

from audit import retention as audit_retention
from audit import sealing
from auth_tokens import idempotency
from commands_platform.lib.metronome import Metronome, Rhythm
from commands_platform.operators import expired_sessions
from deliveries import floor, partitions
from installations import ending
from processes import heartbeats
from processes.chores import Chore
from scheduling import failures, gone, pauses, repeats, retention, revoked_keys, zone_moves, zone_rules
from storage import expiry


def _follow_zones() -> None:
    zone_moves.follow()
    zone_rules.follow()


# Their offsets lie between the ticks, which begin just before each whole second.
CHORES = (
    Chore("set-floor", Rhythm(every=2, offset=1.13), floor.set_floor),
    Chore("follow-zones", Rhythm(every=2, offset=0.14), _follow_zones),
    Chore("give-back-repeats", Rhythm(every=2, offset=1.14), repeats.give_back_repeats),
    Chore("resume-paused", Rhythm(every=1, offset=0.13), pauses.resume_paused),
    Chore("follow-gone", Rhythm(every=2, offset=1.15), gone.follow_gone),
    Chore("keep-partitions", Rhythm(every=60, offset=13.13), partitions.keep_partitions),
    Chore("remove-finished", Rhythm(every=5, offset=0.16), retention.remove_finished),
    Chore("remove-expired-items", Rhythm(every=10, offset=0.12), lambda: expiry.remove_expired(limit=2_000)),
    Chore("remove-expired-answers", Rhythm(every=10, offset=5.12), idempotency.remove_expired_answers),
    Chore("end-removed-installations", Rhythm(every=2, offset=0.17), ending.end_removed),
    Chore("deactivate-failing", Rhythm(every=10, offset=7.18), failures.deactivate_failing),
    Chore("pause-schedules-of-keys", Rhythm(every=2, offset=1.17), revoked_keys.pause_schedules_of_revoked_keys),
    Chore("seal-changes", Rhythm(every=1, offset=0.18), sealing.seal_changes),
    Chore("remove-old-changes", Rhythm(every=60, offset=43.13), audit_retention.remove_old_changes),
    Chore("remove-expired-sessions", Rhythm(every=60, offset=3.13), expired_sessions.remove_expired_sessions),
    Chore("remove-dead-processes", Rhythm(every=60, offset=33.13), heartbeats.remove_dead),
)


def housekeeping() -> Metronome:
    """Returns the thread that does all chores."""
    return Metronome("housekeeping", [chore.as_timed_work() for chore in CHORES])
