"""`/v1/platform/event-subscription/` and `/v1/platform/events/`."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.response import Response

from auth_tokens.api import ApiRequest, PlatformView
from auth_tokens.errors import MissingTokenError
from auth_tokens.scopes import Scope
from commands_platform.lib.errors import NotFoundError, UnknownParameterError
from commands_platform.lib.http.error_responses import raises
from commands_platform.lib.http.inputs import read_body, read_query
from commands_platform.lib.http.outputs import page_of
from commands_platform.lib.http.pagination import ListQuery, paginate
from commands_platform.lib.http.routes import first_or_not_found, uuid_or_not_found
from deliveries.models import Delivery, Kind
from events import openapi, services
from events.catalogue import event_types
from events.models import Hook
from events.serializers import (
    EventDeliveryOutput,
    EventDetailOutput,
    EventInput,
    EventOutput,
    EventSubscriptionInput,
    EventSubscriptionOutput,
    EventTypeOutput,
    HookDetailOutput,
    SampleInput,
    SampleOutput,
)
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

    @extend_schema(operation_id="get_subscription", responses=HookDetailOutput)
    @raises(MissingTokenError, NotFoundError)
    def get(self, request: ApiRequest) -> Response:
        """Shows the hook of the token's command and user."""
        return Response(HookDetailOutput.render(_hook(request)))

    @extend_schema(operation_id="unsubscribe", responses={200: None})
    @raises(MissingTokenError)
    def delete(self, request: ApiRequest) -> Response:
        """Unsubscribes, and cancels unsent callbacks. It succeeds even if there was no subscription."""
        hook = Hook.objects.of(request.context.required_token()).first()
        if hook is not None:
            services.remove_hook(hook=hook)
        return Response()


class EventSubscriptionTest(PlatformView):
    required_scope = Scope.EVENT_SUBSCRIPTION
    error_shape = "details"

    @extend_schema(
        operation_id="test_subscription",
        request=SampleInput,
        responses={202: SampleOutput},
        examples=openapi.SAMPLE_EXAMPLES,
    )
    @raises(MissingTokenError, NotFoundError)
    def post(self, request: ApiRequest) -> Response:
        """Sends an event to the hook of the token's command and user, whatever it subscribes to."""
        values = read_body(SampleInput, request)
        event = services.send_sample(hook=_hook(request), name=values.get("event"), body=values.get("body"))
        return Response(SampleOutput.render(event), status=status.HTTP_202_ACCEPTED)


class EventTypeList(PlatformView):
    required_scope = Scope.EVENT_SUBSCRIPTION

    @extend_schema(operation_id="list_event_types", responses=page_of(EventTypeOutput))
    def get(self, request: ApiRequest) -> Response:
        """Lists the types of events that the platform publishes itself, with a sample of each body."""
        types = EventTypeOutput.render_many(event_types())
        return Response({"count": len(types), "next": None, "previous": None, "results": types})


class EventDetail(PlatformView):
    required_scope = Scope.EVENTS_PUBLISH

    @extend_schema(operation_id="get_event", parameters=[ListQuery], responses=EventDetailOutput)
    @raises(MissingTokenError, UnknownParameterError)
    def get(self, request: ApiRequest, uuid: str) -> Response:
        """Shows an event, and its deliveries. A bound key sees only those to its own command."""
        token = request.context.optional_token()
        organization = request.context.organization if token is None else token.organization
        query = read_query(ListQuery, request)
        event_uuid = uuid_or_not_found(uuid)
        rows = Delivery.objects.of_source(event_uuid).filter(organization=organization, kind=Kind.EVENT)
        command_id = request.context.api_key.command_id
        visible = rows if command_id is None else rows.filter(command=command_id)
        # Another organization does not show how many other hooks it has.
        is_own = organization == request.context.organization
        found = services.find_event(organization=organization, uuid=event_uuid, rows=rows if is_own else visible)
        visible = visible.defer("attempts", "body", "headers").order_by("pk")
        body = EventDetailOutput.of(
            uuid=found.uuid,
            event=found.name,
            happened_at=found.happened_at,
            is_fanned_out=found.is_fanned_out,
            counts=found.counts,
            deliveries=paginate(request, visible, query, render=EventDeliveryOutput.render_many),
        )
        return Response(body)


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


def _hook(request: ApiRequest) -> Hook:
    """Returns the hook of the token's command and user. Raises MissingTokenError or NotFoundError."""
    return first_or_not_found(Hook.objects.of(request.context.required_token()))
