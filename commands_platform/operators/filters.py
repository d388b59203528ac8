"""Filters of the admin's lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from unfold.contrib.filters.admin import BooleanRadioFilter

if TYPE_CHECKING:
    _BooleanFilter = admin.BooleanFieldListFilter
else:
    _BooleanFilter = BooleanRadioFilter


class FlagFilter(_BooleanFilter):
    """Filters by a boolean field. Its title is the field's name without `is`, such as "active"."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = str(self.title).removeprefix("is ")
