from __future__ import annotations

from commands_platform.lib.http.routes import both
from events.views import EventList, EventSubscription

urlpatterns = [
    *both("event-subscription/", EventSubscription.as_view(), "event-subscription"),
    *both("events/", EventList.as_view(), "event-list"),
]
