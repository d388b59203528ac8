"""Outputs render exactly the fields that they declare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from rest_framework import serializers

from commands_platform.lib.http.outputs import NullIfEmptyField, Output, page_of


@dataclass
class Author:
    name: str


@dataclass
class Book:
    title: str
    subtitle: str = ""
    author: Author | None = None
    loans: int | None = None


class AuthorOutput(Output[Author]):
    name = serializers.CharField()


def count_loans(books: Sequence[Book]) -> None:
    for book in books:
        book.loans = len(books)


class BookOutput(Output[Book]):
    prefetches = {"loans": count_loans}

    heading = serializers.CharField(source="title")
    subtitle = NullIfEmptyField()
    author = AuthorOutput(allow_null=True)
    author_name = serializers.CharField(source="author.name", allow_null=True)
    shouted = serializers.CharField()
    loans = serializers.IntegerField(required=False)

    @staticmethod
    def get_shouted(book: Book) -> str:
        return book.title.upper()


ADA = Author("Ada")


def test_an_output_renders_the_fields_that_it_declares_in_their_order() -> None:
    rendered = BookOutput.render(Book("Notes", author=ADA))

    assert list(rendered.items()) == [
        ("heading", "Notes"),
        ("subtitle", None),
        ("author", {"name": "Ada"}),
        ("author_name", "Ada"),
        ("shouted", "NOTES"),
    ]


def test_fields_of_a_missing_object_are_null() -> None:
    rendered = BookOutput.render(Book("Notes", "On an engine"))

    assert (rendered["subtitle"], rendered["author"], rendered["author_name"]) == ("On an engine", None, None)


def test_an_optional_field_is_rendered_on_request_and_prefetched_for_all_rows() -> None:
    rendered = BookOutput.render_many([Book("a"), Book("b")], expand=["loans", "loans"])

    assert [row["loans"] for row in rendered] == [2, 2]
    assert "loans" not in BookOutput.render(Book("a"))
    assert BookOutput.expandable() == ["loans"]


def test_an_envelope_renders_its_rows_or_accepts_rendered_ones() -> None:
    envelope = page_of(AuthorOutput)
    page: dict[str, Any] = {"count": 1, "next": None, "previous": None, "results": [{"name": "Ada"}]}

    assert envelope.of(**page) == page
    assert envelope.of(**page | {"results": [ADA]}) == page


@pytest.mark.parametrize("values", [{}, {"name": "Ada", "age": 1}])
def test_a_body_with_other_fields_than_declared_is_a_bug(values: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="AuthorOutput"):
        AuthorOutput.of(**values)
