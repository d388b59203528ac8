"""`/v1/platform/event-subscription/` and `/v1/platform/events/`."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.response import Response

from auth_tokens.api import ApiRequest, PlatformView
from auth_tokens.errors import MissingTokenError
from auth_tokens.scopes import Scope
from commands_platform.lib.http.error_responses import raises
from commands_platform.lib.http.inputs import read_body
from events import openapi, services
from events.serializers import EventInput, EventOutput, EventSubscriptionInput, EventSubscriptionOutput
from organizations.quotas import QuotaExceededError


class EventSubscription(PlatformView):
    required_scope = Scope.EVENT_SUBSCRIPTION
    error_shape = "details"

    @extend_schema(
        operation_id="subscribe",
        request=EventSubscriptionInput,
        responses={200: EventSubscriptionOutput},
        examples=openapi.SUBSCRIPTION_EXAMPLES,
    )
    @raises(MissingTokenError, QuotaExceededError)
    def post(self, request: ApiRequest) -> Response:
        """Subscribes the token's command and user. A second request replaces the lists and keeps the number."""
        token = request.context.required_token()
        hook = services.register_hook(token=token, **read_body(EventSubscriptionInput, request))
        return Response(EventSubscriptionOutput.render(hook))

    @extend_schema(operation_id="unsubscribe", responses={200: None})
    @raises(MissingTokenError)
    def delete(self, request: ApiRequest) -> Response:
        """Unsubscribes, and cancels unsent callbacks. It succeeds even if there was no subscription."""
        services.remove_hook(token=request.context.required_token())
        return Response()


class EventList(PlatformView):
    required_scope = Scope.EVENTS_PUBLISH

    @extend_schema(
        operation_id="publish_event",
        request=EventInput,
        responses={202: EventOutput},
        examples=openapi.EVENT_EXAMPLES,
    )
    def post(self, request: ApiRequest) -> Response:
        """Publishes an event of the API key's organization.

        The answer is 202, because the callbacks are sent later. `deliveries` is the number of hooks that want it.
        """
        values = read_body(EventInput, request)
        event, deliveries = services.publish_event(
            context=request.context, name=values["event"], body=values["body"], object_id=values["object"]
        )
        return Response(EventOutput.of(uuid=event.uuid, deliveries=deliveries), status=status.HTTP_202_ACCEPTED)
