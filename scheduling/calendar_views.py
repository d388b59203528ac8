"""`/v1/platform/scheduling/calendars/`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from auth_tokens.api import ApiRequest, PlatformView
from auth_tokens.errors import MissingTokenError
from auth_tokens.models import CallerContext
from auth_tokens.scopes import Scope
from commands_platform.lib.errors import (
    InvalidInputError,
    PermissionDeniedError,
    UnknownParameterError,
)
from commands_platform.lib.http.error_responses import raises
from commands_platform.lib.http.inputs import read_body, read_query
from commands_platform.lib.http.negotiation import JSONOnlyNegotiation
from commands_platform.lib.http.outputs import page_of
from commands_platform.lib.http.pagination import ListQuery, paginate
from commands_platform.lib.http.parsers import StrictJSONParser, TextParser
from commands_platform.lib.http.routes import first_or_not_found
from organizations.models import Organization
from scheduling import calendar_services, openapi
from scheduling.calendar_serializers import CalendarChanges, CalendarInput, CalendarOutput, CalendarQuery
from scheduling.calendars import MAX_DATES, Calendar
from scheduling.errors import CalendarExistsError, CalendarInUseError
from scheduling.ics import read_ics


class CalendarFileParser(TextParser):
    media_type = "text/calendar"


class _Negotiation(JSONOnlyNegotiation):
    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        """Returns the parser for an iCalendar file if the body says that it is one, or else the one for JSON."""
        if request.content_type.partition(";")[0].strip().lower() == CalendarFileParser.media_type:
            return CalendarFileParser()
        return super().select_parser(request, parsers)


class CalendarView(PlatformView):
    required_scope = Scope.SCHEDULING
    content_negotiation_class = _Negotiation
    parser_classes = [StrictJSONParser, CalendarFileParser]
    error_statuses = {
        CalendarExistsError: status.HTTP_409_CONFLICT,
        CalendarInUseError: status.HTTP_409_CONFLICT,
    }


class CalendarList(CalendarView):
    @extend_schema(operation_id="list_calendars", parameters=[ListQuery], responses=page_of(CalendarOutput))
    @raises(MissingTokenError, UnknownParameterError)
    def get(self, request: ApiRequest) -> Response:
        """Lists the calendars of the organization by name."""
        query = read_query(ListQuery, request)
        calendars = Calendar.objects.filter(organization=_organization(request.context))
        return Response(paginate(request, calendars, query, render=CalendarOutput.render_many, weigh=("dates",)))

    @extend_schema(
        operation_id="create_calendar",
        parameters=[CalendarQuery],
        request={"application/json": CalendarInput, "text/calendar": OpenApiTypes.BINARY},
        responses={201: CalendarOutput},
        examples=openapi.CALENDAR_EXAMPLES,
    )
    @raises(MissingTokenError, CalendarExistsError, PermissionDeniedError)
    def post(self, request: ApiRequest) -> Response:
        """Creates a calendar from a list of dates, or from an iCalendar file, which may name the calendar itself."""
        organization = _own_organization(request.context)
        if isinstance(request.data, str):
            own_name, dates = read_ics(request.data, most=MAX_DATES)
            name = read_query(CalendarQuery, request).get("name") or own_name
            if name is None:
                raise InvalidInputError(
                    errors={"name": ["The file does not name its calendar: add ?name= to the path."]}
                )
            values: Mapping[str, Any] = {"name": name, "dates": dates}
        else:
            values = read_body(CalendarInput, request)
        calendar = calendar_services.create_calendar(organization=organization, **values)
        return Response(CalendarOutput.render(calendar), status=status.HTTP_201_CREATED)


class CalendarDetail(CalendarView):
    @extend_schema(operation_id="get_calendar", responses=CalendarOutput)
    @raises(MissingTokenError)
    def get(self, request: ApiRequest, name: str) -> Response:
        """Shows one calendar."""
        return Response(CalendarOutput.render(_find(_organization(request.context), name)))

    @extend_schema(
        operation_id="put_calendar",
        request={"application/json": CalendarChanges, "text/calendar": OpenApiTypes.BINARY},
        responses={200: CalendarOutput, 201: CalendarOutput},
        examples=openapi.CALENDAR_CHANGE_EXAMPLES,
    )
    @raises(MissingTokenError, PermissionDeniedError)
    def put(self, request: ApiRequest, name: str) -> Response:
        """Replaces the days of a calendar, or creates it. Schedules that name it follow at once."""
        organization = _own_organization(request.context)
        if isinstance(request.data, str):
            _, dates = read_ics(request.data, most=MAX_DATES)
        else:
            dates = read_body(CalendarChanges, request)["dates"]
        calendar, is_new = calendar_services.put_calendar(organization=organization, name=name, dates=dates)
        return Response(
            CalendarOutput.render(calendar), status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        )

    @extend_schema(operation_id="delete_calendar", responses={204: None})
    @raises(MissingTokenError, PermissionDeniedError, CalendarInUseError)
    def delete(self, request: ApiRequest, name: str) -> Response:
        """Deletes a calendar that no schedule names."""
        calendar_services.delete_calendar(calendar=_find(_own_organization(request.context), name))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _organization(context: CallerContext) -> Organization:
    """Returns the organization whose calendars the caller's schedules name. Raises MissingTokenError."""
    token = context.optional_token()
    return context.organization if token is None else token.organization


def _own_organization(context: CallerContext) -> Organization:
    """Returns the organization whose calendars the caller may change.

    Raises PermissionDeniedError for another organization's command, because all schedules of the organization use them.
    """
    organization = _organization(context)
    if organization != context.organization:
        raise PermissionDeniedError("The calendars are another organization's: you can read them.")
    return organization


def _find(organization: Organization, name: str) -> Calendar:
    return first_or_not_found(Calendar.objects.filter(organization=organization, name=name))
