"""Pages of organizations, users and commands; the last are registered where it is known which URLs may be called."""

from __future__ import annotations

import zoneinfo
from functools import cache
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Field, Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, BooleanRadioFilter, ChoicesDropdownFilter
from unfold.widgets import UnfoldAdminSelect2Widget, UnfoldAdminTextInputWidget

from commands_platform.lib.errors import PlatformError
from commands_platform.operators import html
from commands_platform.operators.model_admin import (
    ShowsOnceAdmin,
    UndeletableAdmin,
    WholeConstraintsForm,
    object_action,
)
from commands_platform.operators.shown_once import ShownOnce
from organizations import services
from organizations.models import Command, Organization, User, validate_zone


@cache
def _zone_names() -> tuple[str, ...]:
    """Every name that the models' validator takes."""
    names = []
    for name in sorted(zoneinfo.available_timezones()):
        try:
            validate_zone(name)
        except ValidationError:
            continue
        names.append(name)
    return tuple(names)


def _zone_widget(*, empty: str | None = None) -> Any:
    choices = [(name, name) for name in _zone_names()]
    return UnfoldAdminSelect2Widget(choices=choices if empty is None else [("", empty), *choices])


def _activity_badge(is_active: bool) -> SafeString:
    return html.badge("active", "success") if is_active else html.badge("inactive")


def _links_to_lists(field: str, obj: Model, lists: tuple[tuple[str, str], ...]) -> SafeString:
    """Links to lists of what belongs to the object."""
    query = f"?{field}__id__exact={obj.pk}"
    links = ((html.link_to(f"{model}_changelist", text=text, query=query),) for text, model in lists)
    return format_html_join(" · ", "{}", links)


@admin.register(Organization)
class OrganizationAdmin(UndeletableAdmin):
    list_display = ("name", "zone", "state", "created")
    list_filter = (("is_active", BooleanRadioFilter),)
    search_fields = ("name",)
    search_help_text = "Name, or UUID"
    labels = {"timezone": "Time zone", "is_active": "Active"}
    actions = ("activate", "deactivate")
    readonly_fields = ("identifier", "created", "belongings")
    fieldsets = (
        (None, {"fields": ("name", "timezone", "is_active")}),
        ("About", {"fields": ("identifier", "created", "belongings")}),
    )

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "timezone":
            kwargs["widget"] = _zone_widget()
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Organization | None = None) -> Any:
        return super().get_fieldsets(request, obj) if obj else self.fieldsets[:1]

    @admin.display(description="Time zone", ordering="timezone")
    def zone(self, organization: Organization) -> str:
        return organization.timezone

    @admin.display(description="State", ordering="is_active")
    def state(self, organization: Organization) -> SafeString:
        return _activity_badge(organization.is_active)

    @admin.display(description="Created (UTC)", ordering="created_at")
    def created(self, organization: Organization) -> SafeString:
        return html.instant(organization.created_at)

    @admin.display(description="Related")
    def belongings(self, organization: Organization) -> SafeString:
        lists = (
            ("users", "organizations_user"),
            ("commands", "organizations_command"),
            ("API keys", "auth_tokens_apikey"),
            ("scheduled executions", "scheduling_scheduledexecution"),
            ("deliveries", "deliveries_delivery"),
            ("hooks", "events_hook"),
            ("items", "storage_item"),
            ("activity", "activity_activityrecord"),
        )
        return _links_to_lists("organization", organization, lists)


class UserForm(WholeConstraintsForm):
    """Says of an address that is taken which field is wrong; the constraint alone could not."""

    shown_fields = frozenset({"organization"})

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        email = self.cleaned_data.get("email")
        organization_id = getattr(self.cleaned_data.get("organization"), "pk", None) or self.instance.organization_id
        if email and organization_id:
            others = User.objects.filter(organization=organization_id, email__iexact=email).exclude(pk=self.instance.pk)
            if others.exists():
                self.add_error("email", "Another user of the organization has this address.")
        return cleaned


@admin.register(User)
class UserAdmin(UndeletableAdmin):
    """The platform's people, who log in to nothing."""

    form = UserForm
    list_display = ("full_name", "email", "organization", "role_badge", "zone", "state")
    list_filter = (
        ("organization", AutocompleteSelectFilter),
        ("role", ChoicesDropdownFilter),
        ("is_active", BooleanRadioFilter),
    )
    search_fields = ("full_name", "email", "organization__name")
    search_help_text = "Name, e-mail, organization, or UUID"
    labels = {"timezone": "Time zone", "is_active": "Active"}
    related = ("organization",)
    autocomplete_fields = ("organization",)
    actions = ("activate", "deactivate", "revoke_tokens_of_selected")
    actions_detail = ("revoke_tokens",)
    readonly_fields = ("identifier", "created", "belongings")
    fieldsets = (
        (None, {"fields": ("organization", "full_name", "email", "role", "timezone", "is_active")}),
        ("About", {"fields": ("identifier", "created", "belongings")}),
    )

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "timezone":
            kwargs["widget"] = _zone_widget(empty="The organization's")
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        # Schedules, hooks and items were made for the user in the organization of the time.
        fields = super().get_readonly_fields(request, obj)
        return (*fields, "organization") if obj else fields

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        return super().get_fieldsets(request, obj) if obj else self.fieldsets[:1]

    @admin.display(description="Role", ordering="role")
    def role_badge(self, user: User) -> SafeString:
        return html.badge(user.get_role_display(), "info" if user.role == User.Role.ADMIN else "neutral")

    @admin.display(description="Time zone")
    def zone(self, user: User) -> SafeString | str:
        return user.timezone or html.subtle(user.organization.timezone)

    @admin.display(description="State", ordering="is_active")
    def state(self, user: User) -> SafeString:
        return _activity_badge(user.is_active)

    @admin.display(description="Created")
    def created(self, user: User) -> SafeString:
        return html.instant_in_full(user.created_at)

    @admin.display(description="Related")
    def belongings(self, user: User) -> SafeString:
        lists = (
            ("scheduled executions", "scheduling_scheduledexecution"),
            ("hooks", "events_hook"),
            ("items", "storage_item"),
            ("activity", "activity_activityrecord"),
        )
        query = f"?q={user.uuid}"
        return format_html_join(
            " · ", "{}", ((html.link_to(f"{model}_changelist", text=text, query=query),) for text, model in lists)
        )

    @object_action(
        label="Revoke tokens",
        question="Every exchange token that acts as this user is void from now on. Commands can fetch new ones.",
        button="Revoke them",
        icon="block",
    )
    def revoke_tokens(self, request: HttpRequest, user: User) -> str:
        services.revoke_tokens_of_user(user=user)
        self.note(request, user, "Revoked the exchange tokens.")
        return "The user's exchange tokens are revoked."

    @admin.action(description="Revoke exchange tokens", permissions=["operate"])
    def revoke_tokens_of_selected(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self.for_each(
            request,
            queryset,
            lambda user: services.revoke_tokens_of_user(user=user),
            done="users' exchange tokens were revoked.",
            note="Revoked the exchange tokens.",
        )


class CommandForm(WholeConstraintsForm):
    """A command with its callback URL as `check_url` writes it."""

    shown_fields = frozenset({"organization"})

    class Meta:
        widgets = {"callback_url": UnfoldAdminTextInputWidget(attrs={"class": "max-w-2xl"})}

    @staticmethod
    def check_url(url: str) -> str:
        """The URL in its one spelling; raises a PlatformError for one that callbacks may not be made to."""
        raise NotImplementedError

    def clean_callback_url(self) -> str:
        url: str = self.cleaned_data["callback_url"].strip()
        if not url:
            return ""
        try:
            return self.check_url(url)
        except PlatformError as error:
            raise ValidationError(error.message) from error


class CommandAdmin(ShowsOnceAdmin, UndeletableAdmin):
    """To be registered with a form that can check the callback URL."""

    form: type[forms.ModelForm[Any]] = CommandForm
    list_display = ("name", "organization", "callback_origin", "reach", "state", "created")
    list_filter = (
        ("organization", AutocompleteSelectFilter),
        ("is_public", BooleanRadioFilter),
        ("is_active", BooleanRadioFilter),
    )
    search_fields = ("name", "organization__name")
    search_help_text = "Name, organization, or UUID"
    related = ("organization",)
    autocomplete_fields = ("organization",)
    actions = ("activate", "deactivate", "rotate_secrets_of_selected", "revoke_tokens_of_selected")
    actions_detail = ({"title": "Secrets", "icon": "key", "items": ("show_secrets", "rotate_secret", "revoke_tokens")},)
    labels = {"callback_url": "Callback URL", "is_public": "Public", "is_active": "Active"}
    readonly_fields = ("identifier", "created_in_full", "secrets", "belongings")
    fieldsets = (
        (None, {"fields": ("organization", "name", "callback_url", "is_public", "is_active")}),
        ("About", {"fields": ("identifier", "secrets", "created_in_full", "belongings")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Command | None = None) -> Any:
        # Its keys, schedules and tokens are those of the organization it was made for.
        fields = super().get_readonly_fields(request, obj)
        return (*fields, "organization") if obj else fields

    def get_fieldsets(self, request: HttpRequest, obj: Command | None = None) -> Any:
        return super().get_fieldsets(request, obj) if obj else self.fieldsets[:1]

    @admin.display(description="Callbacks go to")
    def callback_origin(self, command: Command) -> SafeString:
        return html.clipped(html.origin(command.callback_url))

    @admin.display(description="Reach", ordering="is_public")
    def reach(self, command: Command) -> SafeString:
        return html.badge("public", "info") if command.is_public else html.badge("own organization")

    @admin.display(description="State", ordering="is_active")
    def state(self, command: Command) -> SafeString:
        return _activity_badge(command.is_active)

    @admin.display(description="Created (UTC)", ordering="created_at")
    def created(self, command: Command) -> SafeString:
        return html.instant(command.created_at)

    @admin.display(description="Created")
    def created_in_full(self, command: Command) -> SafeString:
        return html.instant_in_full(command.created_at)

    @admin.display(description="Signing secret")
    def secrets(self, command: Command) -> SafeString | str:
        until = command.previous_secret_expires_at
        if until is None or until <= timezone.now():
            return "Set."
        return format_html("Set; the one before signs beside it until {} UTC.", html.instant(until))

    @admin.display(description="Related")
    def belongings(self, command: Command) -> SafeString:
        lists = (
            ("API keys", "auth_tokens_apikey"),
            ("scheduled executions", "scheduling_scheduledexecution"),
            ("deliveries", "deliveries_delivery"),
            ("hooks", "events_hook"),
            ("items", "storage_item"),
            ("activity", "activity_activityrecord"),
        )
        return _links_to_lists("command", command, lists)

    @object_action(
        label="Show secrets",
        question="The signing secret and the static signature are shown once, for the author of the receiver."
        " That you saw them is noted in the command's history.",
        button="Show them",
        icon="visibility",
    )
    def show_secrets(self, request: HttpRequest, command: Command) -> ShownOnce:
        self.note(request, command, "Was shown the signing secret and the static signature.")
        return ShownOnce("What a receiver checks this command's callbacks with:", _secrets_of(command))

    @object_action(
        label="Rotate secret",
        question="Callbacks are signed with a new secret from now on, and for 24 hours with the present one too."
        " The new one is shown once.",
        button="Rotate it",
        icon="autorenew",
    )
    def rotate_secret(self, request: HttpRequest, command: Command) -> ShownOnce:
        command = services.rotate_signing_secret(command=command)
        self.note(request, command, "Rotated the signing secret, and was shown the new one.")
        return ShownOnce("The new signing secret. The one before it is good for 24 more hours.", _secrets_of(command))

    @object_action(
        label="Revoke tokens",
        question="Every exchange token that this command was given is void from now on. It can fetch new ones.",
        button="Revoke them",
        icon="block",
    )
    def revoke_tokens(self, request: HttpRequest, command: Command) -> str:
        services.revoke_tokens_of_command(command=command)
        self.note(request, command, "Revoked the exchange tokens.")
        return "The command's exchange tokens are revoked."

    @admin.action(description="Rotate signing secrets", permissions=["operate"])
    def rotate_secrets_of_selected(self, request: HttpRequest, queryset: QuerySet[Command]) -> None:
        self.for_each(
            request,
            queryset,
            lambda command: services.rotate_signing_secret(command=command),
            done="commands have a new signing secret; the ones before sign beside them for 24 hours.",
            note="Rotated the signing secret.",
        )

    @admin.action(description="Revoke exchange tokens", permissions=["operate"])
    def revoke_tokens_of_selected(self, request: HttpRequest, queryset: QuerySet[Command]) -> None:
        self.for_each(
            request,
            queryset,
            lambda command: services.revoke_tokens_of_command(command=command),
            done="commands' exchange tokens were revoked.",
            note="Revoked the exchange tokens.",
        )


def _secrets_of(command: Command) -> dict[str, str]:
    return {"Signing secret": command.signing_secret, "X-DailyBot-Signature": command.signature}
