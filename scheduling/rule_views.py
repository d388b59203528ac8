"""The views that show when schedules run."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from auth_tokens.api import ApiRequest, PlatformView
from auth_tokens.errors import MissingTokenError
from auth_tokens.scopes import Scope
from commands_platform.lib import clock
from commands_platform.lib.errors import UnknownParameterError
from commands_platform.lib.http.error_responses import raises
from commands_platform.lib.http.inputs import read_body, read_query
from scheduling import openapi, services
from scheduling.errors import InvalidCommandError, MissingTokenOrCommandError
from scheduling.languages import current_language, language_for
from scheduling.models import ScheduledExecution
from scheduling.reach import find_schedule
from scheduling.rule_serializers import NextSlotsQuery, PreviewInput, UpcomingOutput
from scheduling.upcoming import UpcomingSlot, upcoming_slots
from scheduling.words import describe

LANGUAGE_PARAMETER = OpenApiParameter(
    "Accept-Language", str, OpenApiParameter.HEADER, description="The language of the rule in words: en or es."
)


class RuleView(PlatformView):
    """A view whose answers contain rules in words, in the language that the caller prefers."""

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        super().initial(request, *args, **kwargs)
        current_language.set(language_for(request.META.get("HTTP_ACCEPT_LANGUAGE", "")))


class Preview(RuleView):
    required_scope = Scope.SCHEDULING

    @extend_schema(
        operation_id="preview_schedule",
        parameters=[LANGUAGE_PARAMETER],
        request=PreviewInput,
        responses={200: UpcomingOutput},
        examples=openapi.PREVIEW_EXAMPLES,
    )
    @raises(MissingTokenOrCommandError, InvalidCommandError, MissingTokenError)
    def post(self, request: ApiRequest) -> Response:
        """Shows when a schedule with this body would run. Nothing is stored, and the errors are those of creation."""
        values = read_body(PreviewInput, request)
        count, since = values.pop("count"), values.pop("from", None)
        schedule = services.new_scheduled_execution(
            context=request.context,
            command_uuid=values.pop("command_uuid", None),
            is_owned_by_user=values.pop("is_owned_by_user"),
            values=values,
            now=clock.now(),
        )
        slots = upcoming_slots(schedule, count=count, since=since)
        return _answer(schedule, slots)


class NextSlots(RuleView):
    required_scope = Scope.SCHEDULING

    @extend_schema(
        operation_id="get_next_slots", parameters=[NextSlotsQuery, LANGUAGE_PARAMETER], responses=UpcomingOutput
    )
    @raises(MissingTokenError, UnknownParameterError)
    def get(self, request: ApiRequest, uuid: str) -> Response:
        """Shows when a schedule will run. An inactive schedule has no slots."""
        schedule = find_schedule(request.context, uuid)
        query = read_query(NextSlotsQuery, request)
        slots: list[UpcomingSlot] = []
        if schedule.is_active:
            slots = upcoming_slots(schedule, count=query["count"], since=query.get("from"))
        return _answer(schedule, slots)


def _answer(schedule: ScheduledExecution, slots: list[UpcomingSlot]) -> Response:
    language = current_language.get()
    body = UpcomingOutput.of(text=describe(schedule.recurrence, language), timezone=schedule.zone, slots=slots)
    return Response(body, headers={"Content-Language": language.code, "Vary": "Accept-Language"})
