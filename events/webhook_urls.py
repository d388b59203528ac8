from __future__ import annotations

from commands_platform.lib.http.routes import both
from events.webhook_views import WebhookList, WebhookSample

urlpatterns = [
    *both("webhook-subscription/", WebhookList.as_view(), "webhook-list"),
    *both("webhook-subscription/sample/", WebhookSample.as_view(), "webhook-sample"),
]
