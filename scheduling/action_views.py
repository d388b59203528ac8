"""The views that run, pause and resume schedules."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.response import Response

from auth_tokens.api import ApiRequest, PlatformView
from auth_tokens.errors import MissingTokenError
from auth_tokens.scopes import Scope
from commands_platform.lib.errors import PermissionDeniedError
from commands_platform.lib.http.error_responses import raises
from commands_platform.lib.http.inputs import read_body, read_part
from organizations.quotas import QuotaExceededError
from scheduling import bulk_services, openapi, run_services, services
from scheduling.action_serializers import BulkInput, BulkOutput, PauseInput, RunInput, RunStartedOutput
from scheduling.errors import NotActiveError
from scheduling.reach import find_own_schedule, find_schedule
from scheduling.serializers import ScheduledExecutionInput, ScheduledExecutionOutput


class Bulk(PlatformView):
    required_scope = Scope.SCHEDULING

    @extend_schema(
        operation_id="create_schedules",
        request=BulkInput,
        responses={200: BulkOutput},
        examples=openapi.BULK_EXAMPLES,
        callbacks=[openapi.RUN_CALLBACK],
    )
    @raises(MissingTokenError, QuotaExceededError)
    def post(self, request: ApiRequest) -> Response:
        """Creates all of these schedules, or none of them. Each is a body as for the creation of one schedule."""
        several: list[dict[str, Any]] = []
        errors: dict[str, Any] = {}
        for index, body in enumerate(read_body(BulkInput, request)["schedules"]):
            try:
                several.append(read_part(ScheduledExecutionInput, body, request, within=f"schedules.{index}"))
            except serializers.ValidationError as error:
                if isinstance(error.detail, dict):
                    errors |= {f"{index}.{field}": messages for field, messages in error.detail.items()}
        if errors:
            raise serializers.ValidationError(errors)
        schedules = bulk_services.create_scheduled_executions(context=request.context, several=several)
        return Response(BulkOutput.of(results=schedules))


class ManualRun(PlatformView):
    required_scope = Scope.SCHEDULING

    @extend_schema(
        operation_id="run_schedule",
        request=RunInput,
        responses={202: RunStartedOutput},
        examples=openapi.RUN_EXAMPLES,
        callbacks=[openapi.RUN_CALLBACK],
    )
    @raises(MissingTokenError, PermissionDeniedError)
    def post(self, request: ApiRequest, uuid: str) -> Response:
        """Runs the schedule once now. Its next run and its repeats stay as they are."""
        schedule = find_own_schedule(request.context, uuid)
        payload = read_body(RunInput, request).get("payload")
        delivery_uuid = run_services.run_now(schedule=schedule, payload=payload)
        return Response(RunStartedOutput.of(delivery_uuid=delivery_uuid), status=status.HTTP_202_ACCEPTED)


class Pause(PlatformView):
    required_scope = Scope.SCHEDULING

    @extend_schema(
        operation_id="pause_schedule",
        request=PauseInput,
        responses={200: ScheduledExecutionOutput},
        examples=openapi.PAUSE_EXAMPLES,
    )
    @raises(MissingTokenError, NotActiveError)
    def post(self, request: ApiRequest, uuid: str) -> Response:
        """Pauses the schedule until it is resumed, or until an instant. Unsent deliveries are cancelled."""
        schedule = find_schedule(request.context, uuid)
        values = read_body(PauseInput, request)
        schedule = services.pause(schedule=schedule, reason=values.get("reason", ""), until=values.get("until"))
        return Response(ScheduledExecutionOutput.render(schedule))


class Resume(PlatformView):
    required_scope = Scope.SCHEDULING

    @extend_schema(operation_id="resume_schedule", request=None, responses={200: ScheduledExecutionOutput})
    @raises(MissingTokenError, PermissionDeniedError)
    def post(self, request: ApiRequest, uuid: str) -> Response:
        """Resumes the schedule in its old phase. Slots of the pause are recorded as skipped."""
        schedule = services.resume(schedule=find_own_schedule(request.context, uuid))
        return Response(ScheduledExecutionOutput.render(schedule))
