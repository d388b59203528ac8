"""`manage.py verify_ledger`: checks that the ledger has every slot that it should have, and no other."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from commands_platform.lib.errors import InvalidInputError
from commands_platform.lib.http.routes import parse_uuid
from commands_platform.lib.instants import format_instant
from organizations.models import Organization
from scheduling.models import DeactivationReason, ScheduledExecution, ScheduledExecutionQuerySet
from scheduling.verification import Difference, Verification


class Command(BaseCommand):
    """It only reads. It ends with status 1 if there is a difference."""

    help = (
        "Computes the slots that schedules should have had from their rules alone, and compares them with the ledger. "
        "It looks back to the last change of a schedule's timing, as far as the ledger's retention reaches."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--schedule", type=_uuid, help="one schedule, by its UUID (default: all)")
        which.add_argument("--organization", help="the schedules of one organization, by its name")
        parser.add_argument("--from", dest="since", type=_instant, help="slots from this instant on, ISO 8601")
        parser.add_argument("--to", dest="until", type=_instant, help="slots before this instant, ISO 8601")
        parser.add_argument("--json", action="store_true", help="one JSON object a line, the last one with the totals")

    def handle(self, *args: Any, **options: Any) -> None:
        schedules = slots = differences = 0
        for schedule in _chosen(options["schedule"], options["organization"]).iterator(chunk_size=500):
            verification = Verification(schedule, since=options["since"], until=options["until"])
            schedules += 1
            try:
                for difference in verification.differences():
                    differences += 1
                    self._tell(schedule, difference, as_json=options["json"])
            except InvalidInputError as error:
                if schedule.deactivation_reason == DeactivationReason.INVALID:
                    # The ledger has a row that says so.
                    continue
                differences += 1
                self._tell_invalid(schedule, error.message, as_json=options["json"])
            slots += verification.slots
        totals = {"schedules": schedules, "slots": slots, "differences": differences}
        words = f"{schedules} schedules, {slots} slots, {differences} differences"
        self.stdout.write(json.dumps(totals) if options["json"] else words)
        if differences:
            raise CommandError("The ledger differs from the schedules.")

    def _tell(self, schedule: ScheduledExecution, difference: Difference, *, as_json: bool) -> None:
        first, last = format_instant(difference.first), format_instant(difference.last)
        if as_json:
            found = {"difference": difference.kind, "count": difference.count, "first": first, "last": last}
            self.stdout.write(json.dumps({"schedule": str(schedule.uuid), **found}))
        else:
            when = first if first == last else f"{first} to {last}"
            self.stdout.write(f"{schedule.uuid}  {difference.kind} {difference.count}: {when}")

    def _tell_invalid(self, schedule: ScheduledExecution, message: str, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps({"schedule": str(schedule.uuid), "difference": "invalid", "error": message}))
        else:
            self.stdout.write(f"{schedule.uuid}  cannot be computed: {message}")


def _chosen(uuid: UUID | None, organization: str | None) -> ScheduledExecutionQuerySet:
    schedules = ScheduledExecution.objects.select_related("organization", "owner__organization").order_by("pk")
    if uuid is not None:
        schedules = schedules.filter(uuid=uuid)
        if not schedules.exists():
            raise CommandError(f"There is no schedule {uuid}.")
    if organization is not None:
        if not Organization.objects.filter(name=organization).exists():
            raise CommandError(f"There is no organization named {organization!r}.")
        schedules = schedules.filter(organization__name=organization)
    return schedules


def _uuid(text: str) -> UUID:
    uuid = parse_uuid(text)
    if uuid is None:
        raise ArgumentTypeError(f"{text!r} is not a UUID")
    return uuid


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ArgumentTypeError(f"{text!r} is not an instant with its offset, like 2026-03-08T07:00:00Z")
