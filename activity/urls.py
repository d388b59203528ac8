from __future__ import annotations

from activity.views import ActivityList
from commands_platform.lib.http.routes import both

urlpatterns = [*both("activity/", ActivityList.as_view(), "activity-list")]
