"""The model field that stores JSON as text, and its form field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django import forms
from django.core.exceptions import FieldError, ValidationError
from django.db import models
from django.db.migrations.writer import MigrationWriter

from commands_platform.lib.json.column import JsonTextField


class Note(models.Model):
    value = JsonTextField()
    extra = JsonTextField(null=True, default=dict, blank=True)

    class Meta:
        app_label = "tests"
        managed = False

    def __str__(self) -> str:
        return "note"


if TYPE_CHECKING:
    NoteModelForm = forms.ModelForm[Note]
else:
    NoteModelForm = forms.ModelForm


class NoteForm(NoteModelForm):
    class Meta:
        model = Note
        fields = ["value", "extra"]


def column() -> JsonTextField:
    field = Note._meta.get_field("value")
    assert isinstance(field, JsonTextField)
    return field


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [1.0, 2.50, -0.0, 1e100]}, '{"b":1,"a":[1.0,2.5,-0.0,1e+100]}'),
        ("text", '"text"'),
        ("é\u2028😀", '"é\u2028😀"'),
        ("", '""'),
        (None, "null"),
        ({}, "{}"),
        ([], "[]"),
        (False, "false"),
        (0, "0"),
        (2**64 - 1, "18446744073709551615"),
        (-(2**63), "-9223372036854775808"),
    ],
)
def test_a_value_is_stored_as_exact_text_and_read_back(value: Any, text: str) -> None:
    assert column().get_prep_value(value) == text
    assert column().from_db_value(text, None, None) == value


def test_the_order_of_keys_is_kept() -> None:
    stored = column().get_prep_value({"z": 1, "a": 2})

    assert list(column().from_db_value(stored, None, None)) == ["z", "a"]


def test_in_a_nullable_column_none_is_stored_as_null() -> None:
    nullable = Note._meta.get_field("extra")
    assert isinstance(nullable, JsonTextField)

    assert nullable.get_prep_value(None) is None
    assert nullable.from_db_value(None, None, None) is None


def test_a_migration_names_the_field_by_its_path() -> None:
    text, imports = MigrationWriter.serialize(JsonTextField(null=True, default=dict))

    assert text == "commands_platform.lib.json.column.JsonTextField(default=dict, null=True)"
    assert "import commands_platform.lib.json.column" in imports


def test_filters_compare_the_whole_text() -> None:
    compiled = str(Note._default_manager.filter(value={"a": "x"}).query)

    assert '"tests_note"."value" = {"a":"x"}' in compiled
    assert "IN (1, [])" in str(Note._default_manager.filter(value__in=[1, []]).query)


@pytest.mark.parametrize(
    "lookup", ["contains", "icontains", "startswith", "regex", "gt", "range", "iexact", "a", "a__b"]
)
def test_lookups_into_the_text_do_not_exist(lookup: str) -> None:
    with pytest.raises(FieldError):
        Note._default_manager.filter(**{f"value__{lookup}": 1})


@pytest.mark.parametrize("value", [{}, [], "", None, 0, {"a": 1}])
def test_a_value_that_only_looks_empty_is_valid(value: Any) -> None:
    Note(value=value).clean_fields()


def test_a_value_without_a_json_form_is_invalid() -> None:
    with pytest.raises(ValidationError):
        Note(value=object()).clean_fields()


def test_fixtures_contain_the_value_itself() -> None:
    note = Note(value={"a": [1]})

    assert column().value_to_string(note) == {"a": [1]}
    assert column().to_python({"a": [1]}) == {"a": [1]}


def test_the_form_shows_indented_json() -> None:
    form = NoteForm(instance=Note(value={"b": "é", "a": [1]}))

    assert form["value"].value() == '{\n  "b": "é",\n  "a": [\n    1\n  ]\n}'
    assert isinstance(form.fields["value"].widget, forms.Textarea)


@pytest.mark.parametrize(
    ("text", "value"),
    [('{"b": 1, "a": 2}', {"b": 1, "a": 2}), ('"5"', "5"), ("5", 5), ("{}", {}), ("[]", []), ("false", False)],
)
def test_the_form_accepts_any_json(text: str, value: Any) -> None:
    form = NoteForm({"value": text, "extra": ""})

    assert form.is_valid(), form.errors
    assert form.cleaned_data == {"value": value, "extra": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "This field is required."),
        ("{", "Enter valid JSON. Unexpected end of data: line 1 column 2"),
        ('{"a": 1, "a": 2}', 'Enter valid JSON. The key "a" appears twice in one object'),
        ("'a'", "Enter valid JSON. Unexpected character, expected a JSON value: line 1 column 1"),
        ("\ud800", "Enter valid JSON."),
    ],
)
def test_the_form_explains_an_error_and_keeps_the_text(text: str, message: str) -> None:
    form = NoteForm({"value": text, "extra": "null"})

    assert not form.is_valid()
    assert str(form.errors["value"][0]).startswith(message)
    assert form["value"].value() == text


@pytest.mark.parametrize(
    ("text", "changed"),
    [('{"b": 1,\n "a": 1}', []), ('{"a": 1, "b": 1}', ["value"]), ('{"b": true, "a": 1}', ["value"]), ("{", ["value"])],
)
def test_the_form_detects_changes(text: str, changed: list[str]) -> None:
    form = NoteForm({"value": text, "extra": "{}", "initial-extra": "{}"}, instance=Note(value={"b": 1, "a": 1}))

    assert form.changed_data == changed
