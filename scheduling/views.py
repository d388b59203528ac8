"""`/v1/platform/scheduling/`."""

from __future__ import annotations

from collections.abc import Callable

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.response import Response

from auth_tokens.api import ApiRequest, PlatformView, required_token
from auth_tokens.models import CallerContext
from auth_tokens.scopes import Scope
from commands_platform.lib.errors import InvalidInputError, NotFoundError
from commands_platform.lib.pagination import paginate
from commands_platform.lib.routes import uuid_or_not_found
from scheduling import services
from scheduling.models import ScheduledExecution, ScheduledExecutionQuerySet
from scheduling.serializers import (
    ScheduledExecutionChanges,
    ScheduledExecutionCreated,
    ScheduledExecutionInput,
    ScheduledExecutionOutput,
    expansion_output,
    schedule_output,
)

_EXPAND = OpenApiParameter(
    "expand", str, description="More keys, with commas between them: next_run_at, last_delivery, …"
)


class ScheduledExecutionList(PlatformView):
    required_scope = Scope.SCHEDULING

    @extend_schema(
        operation_id="scheduling_list",
        parameters=[_EXPAND, OpenApiParameter("limit", int), OpenApiParameter("offset", int)],
        responses=ScheduledExecutionOutput(many=True),
    )
    def get(self, request: ApiRequest) -> Response:
        """The token's organization's schedules of the API key's commands, newest first."""
        output = _output(request)
        return Response(paginate(request, _visible(request.context), serialize=output))

    @extend_schema(request=ScheduledExecutionInput, responses={200: ScheduledExecutionCreated})
    def post(self, request: ApiRequest) -> Response:
        """Schedules a call. It needs an exchange token, or `command_uuid`."""
        data = ScheduledExecutionInput(data=request.data)
        data.is_valid(raise_exception=True)
        values = dict(data.validated_data)
        schedule = services.create_scheduled_execution(
            context=request.context,
            command_uuid=values.pop("command_uuid", None),
            is_owned_by_user=values.pop("is_owned_by_user"),
            values=values,
        )
        return Response({"uuid": schedule.uuid})


class ScheduledExecutionDetail(PlatformView):
    required_scope = Scope.SCHEDULING

    @extend_schema(parameters=[_EXPAND], responses=ScheduledExecutionOutput)
    def get(self, request: ApiRequest, uuid: str) -> Response:
        """One schedule."""
        output = _output(request)
        return Response(output(_find(request.context, uuid)))

    @extend_schema(request=ScheduledExecutionChanges, responses=ScheduledExecutionOutput)
    def put(self, request: ApiRequest, uuid: str) -> Response:
        """Changes the fields that are given. What the old version has not sent yet is cancelled."""
        schedule = _find(request.context, uuid)
        data = ScheduledExecutionChanges(data=request.data)
        data.is_valid(raise_exception=True)
        schedule = services.update_scheduled_execution(schedule=schedule, changes=data.validated_data)
        return Response(schedule_output(schedule))

    @extend_schema(request=ScheduledExecutionChanges, responses=ScheduledExecutionOutput)
    def patch(self, request: ApiRequest, uuid: str) -> Response:
        """The same as PUT."""
        return self.put(request, uuid)

    @extend_schema(responses={204: None})
    def delete(self, request: ApiRequest, uuid: str) -> Response:
        """Removes the schedule and cancels what it has not sent."""
        services.delete_scheduled_execution(schedule=_find(request.context, uuid))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _visible(context: CallerContext) -> ScheduledExecutionQuerySet:
    token = required_token(context)
    schedules = ScheduledExecution.objects.owned_by(context, token)
    return schedules.select_related("organization", "command__organization", "owner")


def _find(context: CallerContext, uuid: str) -> ScheduledExecution:
    """The caller's own schedule. Another organization's looks just like none."""
    schedule = _visible(context).filter(uuid=uuid_or_not_found(uuid)).first()
    if schedule is None:
        raise NotFoundError
    return schedule


def _output(request: ApiRequest) -> Callable[[ScheduledExecution], dict[str, object]]:
    """The documented keys and those that `?expand=` asks for; InvalidInputError for a name that is none."""
    names = [name for name in request.query_params.get("expand", "").split(",") if name]

    def output(schedule: ScheduledExecution) -> dict[str, object]:
        try:
            return schedule_output(schedule) | {name: expansion_output(schedule, name) for name in names}
        except KeyError as error:
            raise InvalidInputError(errors={"expand": [f"{error.args[0]!r} cannot be expanded."]}) from error

    return output
