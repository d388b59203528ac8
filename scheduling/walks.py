"""The models that record how far the recomputing of next runs has come. `scheduling.models` registers them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q

from organizations.models import Organization, User


class Walk(models.Model):
    """A pass over schedules that recomputes their next runs, after something that these depend on has changed."""

    # After this time every process knows of the change, and every transaction that began before it has ended.
    OVERLAP = timedelta(minutes=1)
    COUNTS = ("seen", "changed", "held", "invalid")
    PROGRESS = ("began_at", "finished_at", "reached_at", "reached_id", *COUNTS)

    began_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    reached_at = models.DateTimeField(null=True, help_text="The next run of the schedule that was looked at last.")
    reached_id = models.BigIntegerField(default=0, help_text="The schedule that was looked at last.")
    seen = models.PositiveBigIntegerField(default=0)
    changed = models.PositiveBigIntegerField(default=0)
    held = models.PositiveBigIntegerField(
        default=0, help_text="Schedules that were skipped because they were locked or due."
    )
    invalid = models.PositiveBigIntegerField(default=0)

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                name="%(app_label)s_%(class)s_under_way",
                condition=Q(began_at=None, reached_at=None, finished_at=None)
                | Q(began_at__isnull=False, reached_at__isnull=False),
            ),
        ]

    @property
    def is_under_way(self) -> bool:
        return self.began_at is not None and self.finished_at is None

    def begin(self, now: datetime) -> None:
        """Begins at `now`. Schedules that are due by then are left to the dispatcher. The caller saves."""
        self.began_at = self.reached_at = now
        self.finished_at = None
        self.reached_id = self.seen = self.changed = self.held = self.invalid = 0

    def counts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.COUNTS}


class ZoneRules(Walk):
    """A version of the rules of time zones, and the walk that recomputes next runs by these rules.

    Only the newest version has walks. For an older one the row records when a process without the upgrade last used it.
    """

    version = models.CharField(
        max_length=32, primary_key=True, help_text="The version of the IANA database, like 2026f."
    )
    first_used_at = models.DateTimeField(help_text="When a dispatcher first had it. Until then, older ones were used.")
    last_used_at = models.DateTimeField(null=True, help_text="When it was last used while a newer one was known.")

    class Meta(Walk.Meta):
        verbose_name_plural = "zone rules"

    def __str__(self) -> str:
        return self.version

    def must_begin(self, *, others: Iterable[ZoneRules], now: datetime) -> bool:
        """Returns whether a walk is due: there was none yet, or older rules may have been used since the last one."""
        if self.began_at is None:
            return True
        if self.finished_at is None or now < self.began_at + self.OVERLAP:
            return False
        used = max([self.first_used_at, *(rules.last_used_at for rules in others if rules.last_used_at)])
        return bool(self.held) or self.began_at <= used + self.OVERLAP


class ZoneMove(Walk):
    """An organization or a user that has moved to another time zone, and the walk over the schedules that follow."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, null=True, related_name="+")
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="+")
    moved_at = models.DateTimeField()
    zone = models.CharField(max_length=64, help_text="The zone it moved to.")
    look_at = models.DateTimeField(help_text="When to work on it next.")

    class Meta(Walk.Meta):
        constraints = [
            *Walk.Meta.constraints,
            models.CheckConstraint(
                name="scheduling_zonemove_one_mover",
                condition=Q(organization=None, user__isnull=False) | Q(organization__isnull=False, user=None),
            ),
        ]
        indexes = [models.Index(fields=["look_at"], name="scheduling_zonemove_look")]

    def __str__(self) -> str:
        return f"{self.user or self.organization}, {self.moved_at}"

    @property
    def is_done(self) -> bool:
        """Returns whether the last walk skipped nothing and began when nobody could know the old zone any more."""
        return not self.held and self.began_at is not None and self.began_at >= self.moved_at + self.OVERLAP

    def next_move(self) -> ZoneMove | None:
        """Returns the next move of the same organization or user, if it has moved again."""
        later = ZoneMove.objects.filter(organization=self.organization_id, user=self.user_id, pk__gt=self.pk)
        return later.order_by("pk").first()
