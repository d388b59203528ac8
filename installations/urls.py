from __future__ import annotations

from commands_platform.lib.http.routes import both
from installations.views import InstallationDetail, InstallationList, InstalledHookList

urlpatterns = [
    *both("installations/", InstallationList.as_view(), "installation-list"),
    *both("installations/<str:uuid>/", InstallationDetail.as_view(), "installation-detail"),
    *both("installations/<str:uuid>/hooks/", InstalledHookList.as_view(), "installation-hooks"),
]
