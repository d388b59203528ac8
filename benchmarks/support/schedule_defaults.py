"""Prints the columns of a schedule that have defaults, with these values, as JSON."""

from __future__ import annotations

import json

import django

django.setup()

from django.db import connection  # noqa: E402

from scheduling.models import ScheduledExecution  # noqa: E402


def main() -> None:
    schedule = ScheduledExecution()
    columns = {}
    for field in ScheduledExecution._meta.concrete_fields:
        if not field.primary_key and field.has_default():
            value = field.get_db_prep_save(field.pre_save(schedule, add=True), connection)
            columns[field.column] = value if value is None or isinstance(value, list) else str(value)
    print(json.dumps(columns))


if __name__ == "__main__":
    main()
