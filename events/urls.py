from __future__ import annotations

from commands_platform.lib.http.routes import both
from events.views import EventDetail, EventList, EventSubscription, EventSubscriptionTest, EventTypeList

urlpatterns = [
    *both("event-subscription/", EventSubscription.as_view(), "event-subscription"),
    *both("event-subscription/test/", EventSubscriptionTest.as_view(), "event-subscription-test"),
    *both("events/types/", EventTypeList.as_view(), "event-types"),
    *both("events/<str:uuid>/", EventDetail.as_view(), "event-detail"),
    *both("events/", EventList.as_view(), "event-list"),
]
