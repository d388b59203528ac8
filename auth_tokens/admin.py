"""The pages of API keys. A new key is shown once. The only possible changes are to rotate and to revoke it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, DropdownFilter
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from auth_tokens import services
from auth_tokens.models import ApiKey
from auth_tokens.networks import check_networks
from auth_tokens.scopes import Scope
from commands_platform.lib import clock
from commands_platform.lib.errors import InvalidInputError
from commands_platform.operators import html
from commands_platform.operators.actions import operator_action
from commands_platform.operators.columns import OwnerColumns
from commands_platform.operators.model_admin import ShowsOnceAdmin
from commands_platform.operators.shown_once import ShownOnce
from organizations.services import ROTATION_OVERLAP

if TYPE_CHECKING:
    _DropdownFilter = admin.SimpleListFilter
    _ModelForm = forms.ModelForm[ApiKey]
else:
    _DropdownFilter = DropdownFilter
    _ModelForm = forms.ModelForm


_SCOPE_MEANINGS = {
    Scope.AUTH_FETCH_EXCHANGE_TOKEN: "fetch tokens that act as a user",
    Scope.SCHEDULING: "create, read, change and delete schedules",
    Scope.STORAGE: "read and write items",
    Scope.EVENT_SUBSCRIPTION: "subscribe to events",
    Scope.EVENTS_PUBLISH: "publish events",
    Scope.ACTIVITY: "record and read activity",
    Scope.DIRECTORY: "read the organization and its users",
    Scope.MANAGE: "reach everything of the organization, and manage its users, commands and keys",
}


class StateFilter(_DropdownFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("valid", "Valid"), ("expired", "Expired"), ("revoked", "Revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        unexpired = Q(expires_at=None) | Q(expires_at__gt=clock.now())
        conditions = {
            "valid": Q(revoked_at=None, organization__is_active=True) & ~Q(command__is_active=False) & unexpired,
            "expired": Q(revoked_at=None) & ~unexpired,
            "revoked": Q(revoked_at__isnull=False),
        }
        return queryset.filter(conditions.get(self.value() or "", Q()))


class ApiKeyForm(_ModelForm):
    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, f"{scope.value}: {meaning}") for scope, meaning in _SCOPE_MEANINGS.items()],
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
    )

    allowed_networks = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Where it may be used from, separated by commas: 203.0.113.0/24, 2001:db8::/32. Empty: everywhere.",
    )

    def clean_allowed_networks(self) -> list[str]:
        texts = [text.strip() for text in self.cleaned_data["allowed_networks"].split(",") if text.strip()]
        try:
            return check_networks(texts)
        except InvalidInputError as error:
            raise ValidationError(error.message) from error

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= clock.now():
            raise ValidationError("Choose a time in the future.")
        return expires_at

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        organization, command = self.cleaned_data.get("organization"), self.cleaned_data.get("command")
        if organization and command and command.organization_id != organization.pk:
            self.add_error("command", "The command belongs to another organization.")
        owner = self.cleaned_data.get("owner")
        if organization and owner and owner.organization_id != organization.pk:
            self.add_error("owner", "The owner belongs to another organization.")
        if command and Scope.MANAGE in self.cleaned_data.get("scopes", ()):
            self.add_error("scopes", "A key that is bound to a command cannot have the scope MANAGE.")
        return cleaned


_OWNER_FIELDS = ("organization_link", "command_link", "owner_link")


@admin.register(ApiKey)
class ApiKeyAdmin(OwnerColumns, ShowsOnceAdmin):
    form = ApiKeyForm
    list_display = ("label", "belongs_to", "scope_badges", "state", "expires", "last_used", "created")
    list_filter = (("organization", AutocompleteSelectFilter), ("command", AutocompleteSelectFilter), StateFilter)
    search_fields = ("name", "prefix", "organization__name", "command__name")
    search_help_text = "Name, prefix, organization, command or UUID"
    ordering = ("-pk",)
    related = ("organization", "command", "owner")
    autocomplete_fields = ("organization", "command", "owner")
    labels = {"expires_at": "Expires at (UTC)"}
    actions = ("revoke",)
    actions_detail = ("rotate", "revoke")
    add_fieldsets = (
        (None, {"fields": ("name", "organization", "command", "owner", "scopes")}),
        ("Limits", {"fields": ("allowed_networks", "rate_limit", "expires_at")}),
    )
    fieldsets = (
        (None, {"fields": ("name", "prefix", "state", *_OWNER_FIELDS)}),
        ("Limits", {"fields": ("scope_badges", "network_badges", "shown_rate_limit")}),
        ("Dates", {"fields": ("created", "expires", "last_used", "revoked", "identifier", "changes")}),
    )
    readonly_fields = (
        *(
            "identifier",
            "prefix",
            "state",
            *_OWNER_FIELDS,
            "scope_badges",
            "shown_rate_limit",
            "network_badges",
            "created",
            "expires",
            "last_used",
            "revoked",
            "changes",
        ),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Returns whether the operator may also view keys, because a new key is shown on its own page."""
        return super().has_add_permission(request) and self.has_view_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return super().get_readonly_fields(request, obj) if obj else ()

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # The next page must be that of the key, because it shows the key.
        context = {**(extra_context or {}), "show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, context)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        values = form.cleaned_data
        made, key = services.create_api_key(
            organization=values["organization"],
            command=values["command"],
            owner=values["owner"],
            name=values["name"],
            scopes=values["scopes"],
            rate_limit=values["rate_limit"],
            allowed_networks=values["allowed_networks"],
            expires_at=values["expires_at"],
        )
        obj.pk = made.pk
        obj.refresh_from_db()
        request.made_key = key  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        response = HttpResponseRedirect(self.change_url(obj))
        key: str = request.made_key  # type: ignore[attr-defined]
        self.show_once(request, response, obj, ShownOnce("The new API key. Only its hash is kept.", {"X-API-KEY": key}))
        return response

    @admin.display(description="API key", ordering="prefix")
    def label(self, key: ApiKey) -> SafeString:
        return html.two_lines(key.name or "API key", html.mono(f"cmdp_{key.prefix}…"))

    @admin.display(description="Belongs to")
    def belongs_to(self, key: ApiKey) -> SafeString:
        return html.two_lines(key.organization, key.command or "no command")

    @admin.display(description="Scopes")
    def scope_badges(self, key: ApiKey) -> SafeString:
        return html.badges(key.scopes)

    @admin.display(description="Rate limit")
    def shown_rate_limit(self, key: ApiKey) -> str:
        if key.rate_limit is None:
            return "the server's default"
        return f"{key.rate_limit} requests a minute" if key.rate_limit else "none"

    @admin.display(description="Networks")
    def network_badges(self, key: ApiKey) -> SafeString | str:
        return html.badges(key.allowed_networks) if key.allowed_networks else html.subtle("everywhere")

    @admin.display(description="State")
    def state(self, key: ApiKey) -> SafeString:
        now = timezone.now()
        if key.revoked_at is not None:
            return html.badge("revoked", "danger")
        if key.expires_at is not None and key.expires_at <= now:
            return html.badge("expired", "warning")
        if not key.is_valid_at(now):
            return html.badge("owner inactive", "warning")
        return html.badge("valid", "success")

    @admin.display(description="Expires", ordering="expires_at")
    def expires(self, key: ApiKey) -> SafeString:
        return html.when(key.expires_at)

    @admin.display(description="Last used", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> SafeString:
        return html.when(key.last_used_at)

    @admin.display(description="Created", ordering="created_at")
    def created(self, key: ApiKey) -> SafeString:
        return html.when(key.created_at)

    @admin.display(description="Revoked")
    def revoked(self, key: ApiKey) -> SafeString:
        return html.when(key.revoked_at, never="–")

    @operator_action(
        label="Rotate",
        question="A new key with the same scopes replaces this one, which still works for 24 hours. The next page shows"
        " the new key once.",
        icon="autorenew",
        note="Rotated.",
        done="Keys rotated.",
        applies_to=lambda key: key.revoked_at is None,
    )
    def rotate(self, key: ApiKey) -> ShownOnce:
        _, made = services.rotate_api_key(api_key=key, overlap=ROTATION_OVERLAP)
        return ShownOnce("The new API key. Only its hash is kept.", {"X-API-KEY": made})

    @operator_action(
        label="Revoke",
        question="The key stops working at once. You cannot undo this.",
        icon="block",
        note="Revoked.",
        done="Keys revoked.",
        applies_to=lambda key: key.revoked_at is None,
        is_dangerous=True,
    )
    def revoke(self, key: ApiKey) -> None:
        services.revoke_api_key(api_key=key)
