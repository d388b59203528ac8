"""`/v1/platform/scheduling/`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from django.db.models import Q
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.response import Response

from auth_tokens.api import ApiRequest, PlatformView
from auth_tokens.errors import MissingTokenError
from auth_tokens.scopes import Scope
from commands_platform.lib.errors import InvalidInputError, PreconditionFailedError, UnknownParameterError
from commands_platform.lib.http.cursors import Column, Order
from commands_platform.lib.http.error_responses import raises
from commands_platform.lib.http.filters import narrow
from commands_platform.lib.http.inputs import QueryValues, read_body, read_query
from commands_platform.lib.http.outputs import page_of
from commands_platform.lib.http.pagination import paginate, read_from_cursor
from commands_platform.lib.http.preconditions import ETAG, ETAG_HEADER, IF_MATCH, etag_of, read_if_match
from commands_platform.lib.http.unknown_fields import note_ignored
from deliveries.models import DeliveryQuerySet, Kind
from organizations.quotas import QuotaExceededError
from scheduling import openapi, run_services, services
from scheduling.errors import InvalidCommandError, MissingTokenOrCommandError, NotRedeliverableError
from scheduling.models import ScheduledExecution
from scheduling.reach import find_own_schedule, find_schedule, find_slot, refuse_foreign, visible_schedules
from scheduling.rule_views import RuleView
from scheduling.serializers import (
    ExpandQuery,
    RedeliveryInput,
    RedeliveryOutput,
    ScheduledExecutionChanges,
    ScheduledExecutionCreatedOutput,
    ScheduledExecutionInput,
    ScheduledExecutionOutput,
    ScheduledExecutionQuery,
    SlotDetailOutput,
    SlotPageOutput,
    SlotQuery,
)

# The columns of a listed schedule that can be large.
_LARGE_COLUMNS = ("payload", "callback_url", "description")


class ScheduledExecutionList(RuleView):
    required_scope = Scope.SCHEDULING

    @extend_schema(
        operation_id="list_schedules",
        parameters=[ScheduledExecutionQuery],
        responses=page_of(ScheduledExecutionOutput),
    )
    @raises(UnknownParameterError)
    def get(self, request: ApiRequest) -> Response:
        """Lists the schedules that the caller may see, newest first. Without a token, only those that no user owns."""
        query = read_query(ScheduledExecutionQuery, request)
        render = partial(ScheduledExecutionOutput.render_many, expand=query["expand"])
        schedules = visible_schedules(request.context)
        return Response(paginate(request, schedules, query, render=render, weigh=_LARGE_COLUMNS))

    @extend_schema(
        operation_id="create_schedule",
        request=ScheduledExecutionInput,
        responses={200: ScheduledExecutionCreatedOutput},
        examples=openapi.CREATE_EXAMPLES,
        callbacks=[openapi.RUN_CALLBACK],
    )
    @raises(MissingTokenOrCommandError, InvalidCommandError, MissingTokenError, QuotaExceededError)
    def post(self, request: ApiRequest) -> Response:
        """Schedules a call. It needs an exchange token or `command_uuid`."""
        values = read_body(ScheduledExecutionInput, request)
        schedule = services.create_scheduled_execution(
            context=request.context,
            command_uuid=values.pop("command_uuid", None),
            is_owned_by_user=values.pop("is_owned_by_user"),
            values=values,
        )
        return Response(ScheduledExecutionCreatedOutput.render(schedule))


class ScheduledExecutionDetail(RuleView):
    required_scope = Scope.SCHEDULING

    @extend_schema(operation_id="get_schedule", parameters=[ExpandQuery, ETAG], responses=ScheduledExecutionOutput)
    @raises(MissingTokenError)
    def get(self, request: ApiRequest, uuid: str) -> Response:
        """Returns one schedule."""
        expand = read_query(ExpandQuery, request, ignore_unknown=True)["expand"]
        schedule = find_schedule(request.context, uuid)
        return _answer(schedule, expand=expand)

    @extend_schema(
        operation_id="update_schedule",
        parameters=[IF_MATCH, ETAG],
        request=ScheduledExecutionChanges,
        responses=ScheduledExecutionOutput,
        examples=openapi.SCHEDULE_CHANGE_EXAMPLES,
    )
    @raises(MissingTokenError, PreconditionFailedError, QuotaExceededError)
    def put(self, request: ApiRequest, uuid: str) -> Response:
        """Changes the given fields. Unsent runs of the old version are cancelled."""
        schedule = find_schedule(request.context, uuid)
        changes = read_body(ScheduledExecutionChanges, request)
        if changes != {"is_active": False}:
            refuse_foreign(request.context, schedule)
        had_headers = bool(schedule.headers)
        schedule = services.update_scheduled_execution(schedule=schedule, changes=changes, check=_if_match(request))
        if had_headers and not schedule.headers and "headers" not in changes:
            # The URL has moved to another origin, which must not see headers that were given for the old one.
            note_ignored(request, ["headers"])
        return _answer(schedule)

    @extend_schema(
        operation_id="patch_schedule",
        parameters=[IF_MATCH, ETAG],
        request=ScheduledExecutionChanges,
        responses=ScheduledExecutionOutput,
        examples=openapi.SCHEDULE_CHANGE_EXAMPLES,
    )
    @raises(MissingTokenError, PreconditionFailedError, QuotaExceededError)
    def patch(self, request: ApiRequest, uuid: str) -> Response:
        """Changes the given fields, as PUT does."""
        return self.put(request, uuid)

    @extend_schema(operation_id="delete_schedule", parameters=[IF_MATCH], responses={204: None})
    @raises(MissingTokenError, PreconditionFailedError)
    def delete(self, request: ApiRequest, uuid: str) -> Response:
        """Deletes the schedule and cancels its unsent deliveries."""
        schedule = find_schedule(request.context, uuid)
        services.delete_scheduled_execution(schedule=schedule, check=_if_match(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class ScheduledExecutionByExternalId(RuleView):
    required_scope = Scope.SCHEDULING

    @extend_schema(
        operation_id="put_schedule",
        parameters=[ETAG],
        request=ScheduledExecutionInput,
        responses={200: ScheduledExecutionOutput, 201: ScheduledExecutionOutput},
        examples=openapi.CREATE_EXAMPLES[:1],
        callbacks=[openapi.RUN_CALLBACK],
    )
    @raises(MissingTokenOrCommandError, InvalidCommandError, MissingTokenError, QuotaExceededError)
    def put(self, request: ApiRequest, external_id: str) -> Response:
        """Creates the command's schedule with this `external_id`, or changes the given fields if there is one."""
        values = read_body(ScheduledExecutionInput, request)
        if values.get("external_id", external_id) != external_id:
            raise InvalidInputError(errors={"external_id": ["It must be that of the path, or be left out."]})
        schedule, is_new = services.put_by_external_id(
            context=request.context,
            external_id=external_id,
            command_uuid=values.pop("command_uuid", None),
            is_owned_by_user=values.pop("is_owned_by_user"),
            values=values,
        )
        return _answer(schedule, status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK)


class SlotList(PlatformView):
    required_scope = Scope.SCHEDULING

    @extend_schema(
        operation_id="list_slots",
        parameters=[SlotQuery],
        responses=SlotPageOutput,
    )
    @raises(MissingTokenError, UnknownParameterError)
    def get(self, request: ApiRequest, uuid: str) -> Response:
        """Lists a schedule's slots, oldest first. This includes a row of skipped slots that reaches into the span."""
        schedule = find_schedule(request.context, uuid)
        query = read_query(SlotQuery, request)
        slots = _slots(schedule, query)
        order = Order.of(slots, [Column("due_at", is_descending=query.get("order") == "desc")])
        page = read_from_cursor(request, slots, query, order=order, weigh=["url"])
        return Response(SlotPageOutput.of(next=page.next, previous=page.previous, results=page.rows))


class SlotDetail(PlatformView):
    required_scope = Scope.SCHEDULING

    @extend_schema(operation_id="get_slot", responses=SlotDetailOutput)
    @raises(MissingTokenError)
    def get(self, request: ApiRequest, uuid: str, delivery_uuid: str) -> Response:
        """Returns one slot, with each attempt and the body that was sent."""
        return Response(SlotDetailOutput.render(find_slot(find_schedule(request.context, uuid), delivery_uuid)))


class SlotRedelivery(PlatformView):
    required_scope = Scope.SCHEDULING

    @extend_schema(operation_id="redeliver_slot", request=None, responses={200: RedeliveryOutput})
    @raises(MissingTokenError, NotRedeliverableError, QuotaExceededError)
    def post(self, request: ApiRequest, uuid: str, delivery_uuid: str) -> Response:
        """Redelivers a finished slot with the same payload and `webhook-id`, and a full set of attempts."""
        run_services.redeliver_slot(delivery=find_slot(find_own_schedule(request.context, uuid), delivery_uuid))
        return Response(RedeliveryOutput.of(count=1, dry_run=False))


class Redelivery(PlatformView):
    required_scope = Scope.SCHEDULING

    @extend_schema(
        operation_id="redeliver_slots",
        request=RedeliveryInput,
        responses={200: RedeliveryOutput},
        examples=openapi.REDELIVERY_EXAMPLES,
    )
    @raises(MissingTokenError, QuotaExceededError)
    def post(self, request: ApiRequest, uuid: str) -> Response:
        """Redelivers the finished slots of a span, the oldest first. `dry_run` only counts them."""
        schedule = find_own_schedule(request.context, uuid)
        values = read_body(RedeliveryInput, request)
        count = run_services.redeliver_slots(
            schedule=schedule,
            due_from=values["from"],
            due_to=values["to"],
            states=values["states"],
            limit=values["limit"],
            dry_run=values["dry_run"],
        )
        return Response(RedeliveryOutput.of(count=count, dry_run=values["dry_run"]))


def _answer(schedule: ScheduledExecution, *, expand: Iterable[str] = (), status: int = status.HTTP_200_OK) -> Response:
    body = ScheduledExecutionOutput.render(schedule)
    headers = {ETAG_HEADER: _etag(schedule, body)}
    if expand:
        body = ScheduledExecutionOutput.render(schedule, expand=expand)
    return Response(body, status=status, headers=headers)


def _etag(schedule: ScheduledExecution, body: Mapping[str, object]) -> str:
    """Returns the tag of the schedule's version. Each change by a caller makes another, and so does a spent repeat.

    `body` is the schedule as it is shown without expanded fields.
    """
    return etag_of([body, schedule.updated_at])


def _if_match(request: ApiRequest) -> services.Check | None:
    condition = read_if_match(request)
    if condition is None:
        return None
    return lambda schedule: condition.check(_etag(schedule, ScheduledExecutionOutput.render(schedule)))


def _slots(schedule: ScheduledExecution, query: QueryValues) -> DeliveryQuerySet:
    """Returns the rows that match, without the columns that a list does not show.

    Reading them in order walks the unique index of slots.
    """
    rows = narrow(schedule.slots().defer("attempts", "body", "headers"), query)
    start = query.get("from")
    if start is None:
        return rows
    # Rows of skipped slots do not overlap, so only the latest row before the span can reach into it.
    before = schedule.slots().filter(kind=Kind.SCHEDULED, due_at__lt=start).last()
    if before is not None and before.last_due_at is not None and before.last_due_at >= start:
        # A manual run may lie between the two.
        return rows.filter(Q(pk=before.pk) | Q(due_at__gte=start), due_at__gte=before.due_at)
    return rows.filter(due_at__gte=start)
