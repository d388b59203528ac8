"""The chain finds every row that was changed, removed or inserted after it was sealed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from threading import Event, Thread
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction

from audit.chain import hash_of
from audit.models import Chain, Change
from audit.retention import remove_old_changes
from audit.sealing import seal_changes
from audit.verification import verify_chains
from commands_platform.lib import clock
from organizations.models import Organization
from tests.audit.changes import make_chain, make_changes, seal_all
from tests.factories import make_organization
from tests.locks import held_elsewhere

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization(db: None) -> Organization:
    return make_organization()


def problems() -> list[str]:
    return [problem for chain in verify_chains() for problem in chain.problems]


def verify() -> list[Any]:
    """Returns the lines of `verify_audit --json`."""
    output = StringIO()
    call_command("verify_audit", "--json", stdout=output)
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_sealed_changes_have_consecutive_places_in_their_own_organizations_chain(organization: Organization) -> None:
    ours, theirs = make_changes(organization, 3), make_changes(make_organization(), 2)

    assert seal_all() == 5

    for changes in (ours, theirs):
        for change in changes:
            change.refresh_from_db()
        assert [change.position for change in changes] == list(range(1, len(changes) + 1))
    assert problems() == []


def test_later_changes_continue_the_chain(organization: Organization) -> None:
    first = make_chain(organization, 2)
    second = make_chain(organization, 2)

    assert [change.position for change in (*first, *second)] == [1, 2, 3, 4]
    assert seal_changes() == 0
    assert verify() == [
        {"organization": organization.name, "changes": 4, "last": 4, "hash": second[-1].hash, "problems": []}
    ]


def test_a_portion_that_is_full_is_followed_by_another(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.sealing._MAX_CHANGES_AT_ONCE", 2)
    make_changes(organization, 5)
    make_changes(make_organization(), 3)

    assert seal_all() == 8
    assert problems() == []


def _change_a_value(changes: list[Change]) -> None:
    Change.objects.filter(pk=changes[1].pk).update(new={"full_name": "Mallory"})


def _change_who_it_was(changes: list[Change]) -> None:
    Change.objects.filter(pk=changes[1].pk).update(actor_name="somebody else")


def _change_the_last(changes: list[Change]) -> None:
    Change.objects.filter(pk=changes[-1].pk).update(verb="deleted")


def _change_and_compute_its_hash(changes: list[Change]) -> None:
    changed = changes[1]
    changed.actor_name = "somebody else"
    changed.hash = hash_of(changed, position=2, previous=changes[0].hash)
    Change.objects.filter(pk=changed.pk).update(actor_name=changed.actor_name, hash=changed.hash)


def _remove_the_first(changes: list[Change]) -> None:
    changes[0].delete()


def _remove_one_between(changes: list[Change]) -> None:
    changes[1].delete()


def _remove_the_last(changes: list[Change]) -> None:
    changes[-1].delete()


def _remove_all(changes: list[Change]) -> None:
    Change.objects.all().delete()


def _insert_one_at_the_end(changes: list[Change]) -> None:
    inserted = changes[-1]
    previous, inserted.position = inserted.hash, 4
    inserted.hash = hash_of(inserted, position=4, previous=previous)
    inserted.pk = make_changes(make_organization(), 1)[0].pk
    inserted.save(force_update=True)


def _remove_the_head(changes: list[Change]) -> None:
    Chain.objects.all().delete()


def _write_another_head(changes: list[Change]) -> None:
    Chain.objects.update(head=Chain.objects.get().head[:-1])


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (_change_a_value, "Change 2 "),
        (_change_who_it_was, "Change 2 "),
        (_change_the_last, "Change 3 "),
        (_change_and_compute_its_hash, "Change 3 "),
        (_remove_the_first, "Change 1 has been removed."),
        (_remove_one_between, "Change 2 has been removed."),
        (_remove_the_last, "Change 3 has been removed."),
        (_remove_all, "Changes 1 to 3 have been removed."),
        (_insert_one_at_the_end, "Change 4 has been inserted."),
        (_remove_the_head, "The end of the chain has been removed."),
        (_write_another_head, "The end of the chain was not written by this server"),
    ],
)
def test_a_chain_that_was_tampered_with_is_found(
    organization: Organization, tamper: Callable[[list[Change]], None], problem: str
) -> None:
    changes = make_chain(organization, 3)
    assert problems() == []

    tamper(changes)

    assert any(found.startswith(problem) for found in problems()), problems()
    with pytest.raises(CommandError, match="not intact"):
        verify()


def test_one_organization_can_be_verified_by_its_name(organization: Organization) -> None:
    other = make_organization()
    for each in (organization, other):
        make_chain(each, 1)
    Chain.objects.filter(pk=other.pk).delete()
    output = StringIO()

    call_command("verify_audit", "--organization", organization.name, stdout=output)

    assert output.getvalue().startswith(f"{organization.name}: 1 changes, last 1, hash ")
    with pytest.raises(CommandError, match="There is no chain"):
        call_command("verify_audit", "--organization", "nobody", stdout=output)
    with pytest.raises(CommandError, match="not intact"):
        call_command("verify_audit", stdout=output)
    assert "  The end of the chain has been removed." in output.getvalue()


def test_another_organizations_head_does_not_fit(organization: Organization) -> None:
    make_chain(organization, 1)
    other = make_organization()
    make_chain(other, 1)

    Chain.objects.filter(pk=organization.pk).update(head=Chain.objects.get(pk=other.pk).head)

    assert len(problems()) == 1


def test_a_chain_whose_head_is_lost_is_not_begun_anew(organization: Organization) -> None:
    make_chain(organization, 1)
    Chain.objects.all().delete()
    others = make_changes(make_organization(), 1)
    make_changes(organization, 1)

    assert seal_changes() == len(others)
    assert problems() == ["The end of the chain has been removed."]


def test_a_change_that_is_rolled_back_leaves_no_gap(organization: Organization) -> None:
    make_chain(organization, 1)
    with transaction.atomic():
        make_changes(organization, 2)
        transaction.set_rollback(True)
    make_chain(organization, 1)

    assert [change.position for change in Change.objects.order_by("pk")] == [1, 2]
    assert problems() == []


@pytest.mark.django_db(transaction=True)
def test_a_change_that_is_committed_late_takes_a_later_place() -> None:
    organization = make_organization()
    is_written, may_commit = Event(), Event()

    def change_slowly() -> None:
        with transaction.atomic():
            make_changes(organization, 1)
            is_written.set()
            may_commit.wait(30)
        connection.close()

    slow = Thread(target=change_slowly)
    slow.start()
    assert is_written.wait(30)
    quick = make_chain(organization, 1)[0]
    may_commit.set()
    slow.join()
    seal_all()

    late = Change.objects.get(position=2)
    assert late.pk < quick.pk
    assert quick.position == 1
    assert problems() == []


@pytest.mark.django_db(transaction=True)
def test_sealing_skips_a_chain_that_somebody_else_has_in_hand() -> None:
    held, free = make_organization(), make_organization()
    make_chain(held, 1)
    make_changes(held, 1)

    with held_elsewhere(Chain.objects.filter(pk=held.pk)):
        make_changes(free, 1)
        sealed = [seal_changes(), seal_changes()]

    assert sum(sealed) == 1
    assert seal_changes() + seal_changes() == 1
    assert problems() == []


def test_old_changes_are_removed_from_the_beginning(organization: Organization, settings: Any) -> None:
    settings.AUDIT_KEEP = timedelta(days=400)
    past = clock.now() - timedelta(days=500)
    with clock.replaced_by(lambda: past):
        old = make_chain(organization, 3)
    recent = make_chain(organization, 2)

    assert age(old) == 3
    assert remove_old_changes() == 3

    assert list(Change.objects.order_by("position").values_list("position", flat=True)) == [4, 5]
    assert problems() == []
    make_chain(organization, 1)
    assert problems() == []
    recent[0].delete()
    assert problems() == ["Change 4 has been removed."]


def test_changes_are_kept_for_ever_if_the_setting_is_0(organization: Organization, settings: Any) -> None:
    settings.AUDIT_KEEP = timedelta()
    past = clock.now() - timedelta(days=5000)
    with clock.replaced_by(lambda: past):
        age(make_chain(organization, 1))

    assert remove_old_changes() == 0


def age(changes: list[Change]) -> int:
    """Gives the changes the keys that they would have if they had been made at their time."""
    from commands_platform.lib.database.identifiers import first_ledger_id_at

    for change in changes:
        first = first_ledger_id_at(change.recorded_at)
        Change.objects.filter(pk=change.pk).update(id=type(first)(int=first.int + (change.position or 0)))
    return len(changes)
