"""Forms and widgets that several pages of the admin share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError
from django.db import models

from commands_platform.lib.text import refusal_of

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Any]
else:
    _ModelForm = forms.ModelForm


class AllConstraintsForm(_ModelForm):
    """Checks every constraint of the model, including those on read-only fields.

    Django skips a constraint if one of its fields is not in the form. List such fields in `shown_fields`.
    """

    shown_fields: ClassVar[frozenset[str]] = frozenset()

    def _get_validation_exclusions(self) -> set[str]:
        return set(super()._get_validation_exclusions()) - self.shown_fields  # type: ignore[misc]


def refuse_misleading_characters(text: str) -> None:
    """Refuses the characters that the API refuses in names. Raises Django's ValidationError."""
    refusal = refusal_of(text)
    if refusal is not None:
        raise ValidationError(refusal)


class PlatformAutocompleteSelect(AutocompleteSelect):
    """Ignores choices that cannot be primary keys. Django's own widget fails when a form is shown again with one."""

    def optgroups(self, name: str, value: Sequence[str], attrs: Any = None) -> Any:
        model = self.field.remote_field.model
        return super().optgroups(name, [key for key in value if not key or is_key_of(model, key)], attrs)


def is_key_of(model: type[models.Model], text: str) -> bool:
    """Returns whether the text can be a primary key of the model."""
    try:
        model._meta.pk.to_python(text)
    except ValidationError:
        return False
    return True
