from __future__ import annotations

from commands_platform.lib.routes import both
from scheduling.views import ScheduledExecutionDetail, ScheduledExecutionList

urlpatterns = [
    *both("scheduling/", ScheduledExecutionList.as_view(), "scheduling-list"),
    *both("scheduling/<str:uuid>/", ScheduledExecutionDetail.as_view(), "scheduling-detail"),
]
