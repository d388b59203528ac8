"""`/v1/webhook-subscription/`."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.response import Response

from auth_tokens.api import ApiRequest, PlatformView
from auth_tokens.scopes import Scope
from commands_platform.lib import clock
from commands_platform.lib.errors import InvalidInputError, NotFoundError, UnknownParameterError
from commands_platform.lib.http.error_responses import raises
from commands_platform.lib.http.inputs import read_body, read_query
from commands_platform.lib.http.outputs import page_of
from commands_platform.lib.http.pagination import ListQuery, paginate
from commands_platform.lib.http.routes import first_or_not_found
from events import openapi, services
from events.announcements import HOOK_TEST
from events.catalogue import sample_of
from events.matching import is_event_name
from events.models import Hook
from events.serializers import (
    EventSampleInput,
    EventSampleOutput,
    WebhookChoice,
    WebhookInput,
    WebhookOutput,
)
from organizations.quotas import QuotaExceededError


class WebhookList(PlatformView):
    required_scope = Scope.EVENT_SUBSCRIPTION

    @extend_schema(operation_id="list_webhooks", parameters=[ListQuery], responses=page_of(WebhookOutput))
    @raises(UnknownParameterError)
    def get(self, request: ApiRequest) -> Response:
        """Lists the organization's hooks that have a URL of their own."""
        query = read_query(ListQuery, request)
        return Response(
            paginate(request, Hook.objects.webhooks_of(request.context), query, render=WebhookOutput.render_many)
        )

    @extend_schema(
        operation_id="create_webhook",
        request=WebhookInput,
        responses={201: WebhookOutput},
        examples=openapi.WEBHOOK_EXAMPLES,
    )
    @raises(QuotaExceededError)
    def post(self, request: ApiRequest) -> Response:
        """Sends events of the key's organization to a URL. The same URL again replaces the subscription."""
        values = read_body(WebhookInput, request)
        wants_sample = values.pop("immediate_sample_event")
        hook = services.register_webhook(context=request.context, **values)
        if wants_sample:
            services.send_sample(hook=hook, name=next(filter(is_event_name, hook.subscriptions), None))
        return Response(WebhookOutput.render(hook), status=status.HTTP_201_CREATED)

    @extend_schema(operation_id="delete_webhook", parameters=openapi.WEBHOOK_CHOICE, responses={204: None})
    @raises(NotFoundError, UnknownParameterError)
    def delete(self, request: ApiRequest) -> Response:
        """Removes a subscription by its `id` or its `hook_url`, and cancels its unsent callbacks.

        Both can also be fields of a body.
        """
        values: dict[str, Any] = dict(read_query(WebhookChoice, request))
        if request.data:
            values |= read_body(WebhookChoice, request)
        if not values:
            raise InvalidInputError(errors={"id": ["Give the id or the hook_url of the subscription."]})
        fields = {"pk": values.get("id"), "callback_url": values.get("hook_url")}
        chosen = {field: value for field, value in fields.items() if value is not None}
        services.remove_hook(hook=first_or_not_found(Hook.objects.webhooks_of(request.context).filter(**chosen)))
        return Response(status=status.HTTP_204_NO_CONTENT)


class WebhookSample(PlatformView):
    required_scope = Scope.EVENT_SUBSCRIPTION

    @extend_schema(
        operation_id="get_event_sample",
        request=EventSampleInput,
        responses={200: EventSampleOutput},
        examples=openapi.SAMPLE_EXAMPLES,
    )
    def post(self, request: ApiRequest) -> Response:
        """Shows a sample of an event, in the form of the documented callback."""
        name = read_body(EventSampleInput, request).get("event", HOOK_TEST)
        body = EventSampleOutput.of(
            event=name,
            event_timestamp=clock.now().timestamp(),
            hook={"id": 1, "name": "sample"},
            body=sample_of(name),
        )
        return Response(body)
