"""Makes the ledger's partitions of the last days, as if the platform had run on them. It runs with its settings."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime, timedelta

import django


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, required=True)
    options = parser.parse_args()
    django.setup()
    from deliveries import partitions

    today = datetime.now(UTC).date()
    print(json.dumps(partitions.make_missing(today - timedelta(days=number) for number in range(options.days + 1))))


if __name__ == "__main__":
    main()
