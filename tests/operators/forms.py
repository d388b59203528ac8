"""Fills in any form of the admin with valid values, found by the class of each field."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from itertools import count
from typing import Any

from django import forms
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import Model
from django.test import Client

from commands_platform.lib import clock
from commands_platform.lib.json.column import JsonTextFormField

_numbers = count(1)
PASSWORD = "correct horse battery staple"


def form_of(client: Client, path: str) -> forms.ModelForm[Any]:
    """Returns the form of a page, with only the fields that the page shows."""
    response = client.get(path)
    assert response.status_code == 200, path
    shown = flatten_fieldsets(response.context["adminform"].fieldsets)
    form: forms.ModelForm[Any] = response.context["adminform"].form
    html = response.content.decode()
    for name in [name for name in form.fields if name not in shown]:
        del form.fields[name]
    for name in form.fields:
        assert re.search(rf'name="{form[name].html_name}(_0)?"', html), (path, name)
    return form


def valid_data(form: forms.BaseForm, rows: Iterable[Model]) -> dict[str, Any]:
    """Returns what a browser would send for the form, with related objects from `rows`."""
    data: dict[str, Any] = {}
    for name, field in form.fields.items():
        value = _valid_value(name, field, list(rows))
        if isinstance(field, forms.SplitDateTimeField):
            data |= {f"{name}_0": f"{value:%Y-%m-%d}", f"{name}_1": f"{value:%H:%M:%S}"}
        else:
            data[name] = value
    return data


def present_data(form: forms.ModelForm[Any]) -> dict[str, Any]:
    """Returns what a browser would send for the form if nothing were changed."""
    data: dict[str, Any] = {}
    for name, field in form.fields.items():
        value = form[name].value()
        if isinstance(field, forms.SplitDateTimeField):
            value = field.widget.decompress(value)
            data |= {f"{name}_0": value[0] or "", f"{name}_1": value[1] or ""}
        elif isinstance(field, forms.BooleanField):
            data |= {name: "on"} if value else {}
        elif isinstance(value, list | tuple):
            data[name] = [getattr(each, "pk", each) for each in value]
        else:
            data[name] = "" if value is None else value
    return data


def _valid_value(name: str, field: forms.Field, rows: list[Model]) -> Any:
    value: Any = f"text{next(_numbers)}"
    match field:
        case forms.ModelMultipleChoiceField():
            value = []
        case forms.ModelChoiceField():
            value = _related(field, rows)
        case forms.MultipleChoiceField():
            value = _choices(field)[:1]
        case forms.BooleanField():
            value = "on"
        case forms.DateTimeField() | forms.SplitDateTimeField():
            value = clock.now() + timedelta(days=1)
        case JsonTextFormField():
            value = "{}"
        case forms.IntegerField():
            value = field.min_value or 1
        case forms.EmailField():
            value = f"somebody{next(_numbers)}@example.com"
        case _ if choices := _choices(field):
            value = choices[0]
        case _ if "password" in name:
            value = PASSWORD
        case _ if not field.required:
            value = ""
        case _ if "url" in name:
            value = f"https://example.com/{next(_numbers)}"
    return value


def _related(field: Any, rows: list[Model]) -> Any:
    offered = set(field.queryset.values_list("pk", flat=True))
    return next(row.pk for row in rows if isinstance(row, field.queryset.model) and row.pk in offered)


def _choices(field: forms.Field) -> list[Any]:
    return [value for value, _label in getattr(field.widget, "choices", ()) if value]
