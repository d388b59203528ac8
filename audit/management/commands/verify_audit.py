"""`manage.py verify_audit`: checks that no recorded change was altered, removed or inserted."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.verification import VerifiedChain, verify_chains


class Command(BaseCommand):
    """It only reads. It ends with status 1 if there is a problem."""

    help = (
        "Verifies the chain of changes of each organization. Changes of the last second or so may not be part of it "
        "yet. Keep the last hash of each chain on another machine if somebody might restore an old database."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organization", metavar="NAME", help="the chain of one organization")
        parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object for each organization")

    def handle(self, *args: Any, **options: Any) -> None:
        is_intact, count = True, 0
        for chain in verify_chains(options["organization"]):
            count += 1
            is_intact = is_intact and not chain.problems
            self._tell(chain, as_json=options["as_json"])
        if not count and options["organization"]:
            raise CommandError(f"There is no chain of an organization named {options['organization']!r}.")
        if not is_intact:
            raise CommandError("The audit is not intact.")

    def _tell(self, chain: VerifiedChain, *, as_json: bool) -> None:
        last, last_hash = (chain.head.position, chain.head.hash) if chain.head is not None else (None, None)
        facts = {"organization": chain.organization, "changes": chain.count, "last": last, "hash": last_hash}
        if as_json:
            self.stdout.write(json.dumps({**facts, "problems": chain.problems}))
            return
        self.stdout.write(f"{chain.organization}: {chain.count} changes, last {last}, hash {last_hash}")
        for problem in chain.problems:
            self.stdout.write(f"  {problem}")
