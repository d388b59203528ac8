from __future__ import annotations

from commands_platform.lib.http.routes import both
from scheduling.action_views import Bulk, ManualRun, Pause, Resume
from scheduling.calendar_views import CalendarDetail, CalendarList
from scheduling.rule_views import NextSlots, Preview
from scheduling.views import (
    Redelivery,
    ScheduledExecutionByExternalId,
    ScheduledExecutionDetail,
    ScheduledExecutionList,
    SlotDetail,
    SlotList,
    SlotRedelivery,
)

urlpatterns = [
    *both("scheduling/", ScheduledExecutionList.as_view(), "scheduling-list"),
    *both("scheduling/bulk/", Bulk.as_view(), "scheduling-bulk"),
    *both("scheduling/calendars/", CalendarList.as_view(), "scheduling-calendars"),
    *both("scheduling/calendars/<str:name>/", CalendarDetail.as_view(), "scheduling-calendar"),
    *both(
        "scheduling/by-external-id/<str:external_id>/",
        ScheduledExecutionByExternalId.as_view(),
        "scheduling-by-external-id",
    ),
    *both("scheduling/preview/", Preview.as_view(), "scheduling-preview"),
    *both("scheduling/<str:uuid>/", ScheduledExecutionDetail.as_view(), "scheduling-detail"),
    *both("scheduling/<str:uuid>/next/", NextSlots.as_view(), "scheduling-next"),
    *both("scheduling/<str:uuid>/pause/", Pause.as_view(), "scheduling-pause"),
    *both("scheduling/<str:uuid>/resume/", Resume.as_view(), "scheduling-resume"),
    *both("scheduling/<str:uuid>/run/", ManualRun.as_view(), "scheduling-run"),
    *both("scheduling/<str:uuid>/redeliver/", Redelivery.as_view(), "scheduling-redeliver"),
    *both("scheduling/<str:uuid>/slots/", SlotList.as_view(), "scheduling-slots"),
    *both("scheduling/<str:uuid>/slots/<str:delivery_uuid>/", SlotDetail.as_view(), "scheduling-slot"),
    *both(
        "scheduling/<str:uuid>/slots/<str:delivery_uuid>/redeliver/",
        SlotRedelivery.as_view(),
        "scheduling-slot-redeliver",
    ),
]
