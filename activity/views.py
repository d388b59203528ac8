"""`/v1/platform/activity/`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.response import Response

from activity import openapi, services
from activity.models import ActivityRecord
from activity.serializers import ActivityInput, ActivityOutput, ActivityQuery
from auth_tokens.api import ApiRequest, PlatformView
from auth_tokens.errors import MissingTokenError
from auth_tokens.models import TokenSubject
from auth_tokens.scopes import Scope
from commands_platform.lib.http.error_responses import raises
from commands_platform.lib.http.inputs import read_body, read_query
from commands_platform.lib.http.pagination import paginate


class ActivityList(PlatformView):
    required_scope = Scope.ACTIVITY

    @extend_schema(
        operation_id="list_activity",
        parameters=[
            ActivityQuery,
            OpenApiParameter(
                "X-Total-Count",
                int,
                OpenApiParameter.HEADER,
                response=[200],
                description="The number of records, unless there are too many to count.",
            ),
            OpenApiParameter(
                "Link",
                str,
                OpenApiParameter.HEADER,
                response=[200],
                description="The URLs of the next and the previous page.",
            ),
        ],
        responses=ActivityOutput(many=True),
    )
    @raises(MissingTokenError)
    def get(self, request: ApiRequest) -> Response:
        """Lists the records of the token's command and organization, newest first.

        `X-Total-Count` is their number, and `Link` (RFC 8288) has the URLs of the next and the previous page.
        """
        token = request.context.required_token()
        query = read_query(ActivityQuery, request, ignore_unknown=True)
        records = ActivityRecord.objects.visible_to(token).select_related("user")
        page = paginate(request, records, query, render=partial(_render, token))
        links = [
            f'<{page[where]}>; rel="{rel}"' for where, rel in (("next", "next"), ("previous", "prev")) if page[where]
        ]
        headers = {"Link": ", ".join(links)} if links else {}
        if page.get("count") is not None:
            headers["X-Total-Count"] = str(page["count"])
        return Response(page["results"], headers=headers)

    @extend_schema(
        operation_id="record_activity",
        request=ActivityInput,
        responses={201: ActivityOutput},
        examples=openapi.RECORD_EXAMPLES,
    )
    @raises(MissingTokenError)
    def post(self, request: ApiRequest) -> Response:
        """Records an action of the token's user, or of another user of the same organization."""
        token = request.context.required_token()
        record = services.record_activity(token=token, **read_body(ActivityInput, request))
        return Response(ActivityOutput.render(record), status=status.HTTP_201_CREATED)


def _render(token: TokenSubject, records: Sequence[ActivityRecord]) -> list[dict[str, object]]:
    for record in records:
        # They are the same for all of these records, so they need not be read again.
        record.command, record.organization = token.command, token.organization
    return ActivityOutput.render_many(records)
