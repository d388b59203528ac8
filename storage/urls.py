from __future__ import annotations

from commands_platform.lib.http.routes import both
from storage.views import Storage

urlpatterns = [
    *both("storage/", Storage.as_view(), "storage"),
]
