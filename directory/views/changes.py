"""`/v1/platform/audit/`."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.response import Response

from audit.models import Change
from auth_tokens.api import ApiRequest, PlatformView
from auth_tokens.scopes import Scope
from commands_platform.lib.errors import UnknownParameterError
from commands_platform.lib.http.error_responses import raises
from commands_platform.lib.http.inputs import read_query
from commands_platform.lib.http.outputs import page_of
from commands_platform.lib.http.pagination import paginate
from directory.serializers.changes import ChangeOutput, ChangeQuery


class ChangeList(PlatformView):
    required_scope = Scope.MANAGE

    @extend_schema(operation_id="list_changes", parameters=[ChangeQuery], responses=page_of(ChangeOutput))
    @raises(UnknownParameterError)
    def get(self, request: ApiRequest) -> Response:
        """Lists the changes in the key's organization and who made them, newest first."""
        changes = Change.objects.filter(organization=request.context.organization)
        query = read_query(ChangeQuery, request)
        return Response(paginate(request, changes, query, render=ChangeOutput.render_many, weigh=["old", "new"]))
