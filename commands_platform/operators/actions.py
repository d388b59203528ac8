"""Declares the actions of operators. One declaration serves both the object's page and the list.

On an object's page an action opens a dialog. When the operator confirms it, the browser sends a POST with a CSRF token.
In the list an action runs on each ticked row in turn.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.decorators import action as unfold_action
from unfold.enums import ActionVariant

from commands_platform.lib.errors import PlatformError
from commands_platform.operators.shown_once import ShownOnce

Work = TypeVar("Work", bound=Callable[[Any, Any], "ShownOnce | None"])

_SHOWN = " The page showed the secrets once."
_DELETED = "It has been deleted."


def operator_action(
    *,
    label: str,
    question: str,
    icon: str,
    note: str,
    done: str,
    applies_to: Callable[[Any], bool] = lambda _row: True,
    is_offered_for: Callable[[Any], bool] | None = None,
    is_dangerous: bool = False,
) -> Callable[[Work], Work]:
    """Turns a method that takes one object into an action.

    Name the method in `actions_detail`, in `actions`, or in both. The action needs the permission to change the
    object. `note` goes into the object's history; `done` is what the operator reads ("Paused."). An object that
    `applies_to` rejects is left alone, and its page does not offer the action. If the method itself explains why it
    refuses an object, pass `is_offered_for` instead: it only decides whether the page offers the action.

    The method may return a ShownOnce, which the object's page shows and the list drops. It may raise a PlatformError,
    whose message the operator reads.
    """

    def decorate(work: Work) -> Work:
        @functools.wraps(work)
        def confirmed(pages: Any, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:  # noqa: ARG001
            return _act_on_object(pages, request, unquote(object_id))

        def _act_on_object(pages: Any, request: HttpRequest, key: str) -> HttpResponse:
            obj = pages.get_object(request, key)
            if obj is None:
                raise Http404
            response = _go_to(request, pages.change_url(obj))
            if not applies_to(obj):
                pages.message_user(request, "Nothing has changed.", messages.INFO)
                return response
            try:
                outcome = work(pages, obj)
            except PlatformError as error:
                pages.message_user(request, error.message, messages.ERROR)
                return response
            if outcome is None:
                pages.note(request, obj, note)
                pages.message_user(request, done, messages.SUCCESS)
            else:
                pages.note(request, obj, note + _SHOWN)
                pages.show_once(request, response, obj, outcome)
            return response

        def act_on_rows(pages: Any, request: HttpRequest, rows: Iterable[Any]) -> None:
            count, unchanged = 0, 0
            refused: dict[str, list[str]] = defaultdict(list)
            for row in rows:
                if not applies_to(row):
                    unchanged += 1
                    continue
                try:
                    work(pages, row)
                except PlatformError as error:
                    refused[error.message].append(str(row))
                except pages.model.DoesNotExist:
                    refused[_DELETED].append(str(row))
                else:
                    pages.note(request, row, note)
                    count += 1
            if count:
                pages.message_user(request, f"{done.removesuffix('.')}: {count}.", messages.SUCCESS)
            if unchanged:
                pages.message_user(request, f"Unchanged: {unchanged}.", messages.INFO)
            for message, names in refused.items():
                pages.message_user(request, f"{_listed(names)}: {message}", messages.ERROR)

        dialog = unfold_action(
            confirmed,
            description=label,
            permissions=["operate"],
            icon=icon,
            variant=ActionVariant.DANGER if is_dangerous else ActionVariant.DEFAULT,
            dialog={"title": label, "description": question, "form_class": None, "form_submit_text": label},
        )

        @functools.wraps(dialog)
        def act(
            pages: Any, request: HttpRequest, rows: Iterable[Any] | None = None, *, object_id: str = ""
        ) -> HttpResponse | None:
            # Django calls a list's action with the rows; unfold calls an object's with its key.
            if rows is None:
                # A dialog is only a part of a page. In a tab of its own it would have no style and no way back.
                if request.method == "GET" and not request.headers.get("HX-Request"):
                    return HttpResponseRedirect(pages.change_url_of(object_id))
                return dialog(pages, request, object_id=object_id)  # type: ignore[no-any-return]
            act_on_rows(pages, request, rows)
            return None

        act.is_offered_for = is_offered_for or applies_to  # type: ignore[attr-defined]
        return cast("Work", act)

    return decorate


def _listed(names: list[str], most: int = 3) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _go_to(request: HttpRequest, url: str) -> HttpResponse:
    """Sends the browser to a page. For a dialog this takes a header, because htmx would follow a redirect itself."""
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)
