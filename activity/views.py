"""`/v1/platform/activity/`."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.response import Response

from activity import services
from activity.models import ActivityRecord
from activity.serializers import ActivityFilters, ActivityInput, ActivityOutput, activity_output
from auth_tokens.api import ApiRequest, PlatformView
from auth_tokens.scopes import Scope
from commands_platform.lib.http.inputs import read_input
from commands_platform.lib.http.pagination import paginate

_LOOKUPS = {
    "category": "category",
    "action": "action",
    "user_uuid": "user__uuid",
    "since": "created_at__gte",
    "until": "created_at__lt",
}


class ActivityList(PlatformView):
    required_scope = Scope.ACTIVITY

    @extend_schema(
        operation_id="activity_list",
        parameters=[ActivityFilters, OpenApiParameter("limit", int), OpenApiParameter("offset", int)],
        responses=ActivityOutput(many=True),
    )
    def get(self, request: ApiRequest) -> Response:
        """The records of the token's command and organization, newest first.

        `X-Total-Count` tells how many there are, and `Link` (RFC 8288) where the next and the previous page is.
        """
        token = request.context.required_token()
        filters = read_input(ActivityFilters, request.query_params)
        chosen = {_LOOKUPS[name]: value for name, value in filters.items()}
        records = ActivityRecord.objects.visible_to(token).filter(**chosen).select_related("user")
        page = paginate(request, records, serialize=lambda record: activity_output(record, token))
        links = [
            f'<{page[where]}>; rel="{rel}"' for where, rel in (("next", "next"), ("previous", "prev")) if page[where]
        ]
        headers = {"X-Total-Count": str(page["count"])} | ({"Link": ", ".join(links)} if links else {})
        return Response(page["results"], headers=headers)

    @extend_schema(request=ActivityInput, responses={201: ActivityOutput})
    def post(self, request: ApiRequest) -> Response:
        """Records something that was done, by the token's user or by another of the same organization."""
        token = request.context.required_token()
        record = services.record_activity(token=token, **read_input(ActivityInput, request.data))
        return Response(activity_output(record, token), status=status.HTTP_201_CREATED)
