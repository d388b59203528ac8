"""The pages of installations: which public commands an organization lets act in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from auth_tokens.scopes import INSTALLABLE_SCOPES
from commands_platform.operators import html
from commands_platform.operators.actions import operator_action
from commands_platform.operators.model_admin import PlatformAdmin
from events.matching import is_pattern
from installations import services
from organizations.models import Installation

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Installation]
else:
    _ModelForm = forms.ModelForm


class InstallationForm(_ModelForm):
    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in INSTALLABLE_SCOPES],
        initial=INSTALLABLE_SCOPES,
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
    )
    events = forms.CharField(
        initial="*",
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Events that it may subscribe to, separated by commas: forms.response.created, kudos.* or *.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["events"] = ", ".join(self.instance.events)

    def clean_events(self) -> list[str]:
        patterns = [text.strip() for text in self.cleaned_data["events"].split(",") if text.strip()]
        for pattern in patterns:
            if not is_pattern(pattern):
                raise ValidationError(f"{pattern!r} is not the name of an event.")
        return patterns

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        organization, command = self.cleaned_data.get("organization"), self.cleaned_data.get("command")
        if organization and command:
            if command.organization_id == organization.pk or not command.is_public:
                self.add_error("command", "Choose a public command of another organization.")
            elif not command.is_active or not command.organization.is_active:
                self.add_error("command", "The command is not active.")
            elif Installation.objects.current().filter(organization=organization, command=command).exists():
                self.add_error("command", "The organization has installed this command already.")
        return cleaned


@admin.register(Installation)
class InstallationAdmin(PlatformAdmin):
    form = InstallationForm
    list_display = ("command_of", "organization", "scope_badges", "event_badges", "state", "installed")
    list_filter = (("organization", AutocompleteSelectFilter), ("command", AutocompleteSelectFilter))
    search_fields = ("command__name", "organization__name")
    search_help_text = "Command, organization, or UUID"
    ordering = ("-pk",)
    related = ("organization", "command__organization")
    autocomplete_fields = ("organization", "command")
    actions = ("remove",)
    actions_detail = ("remove",)
    readonly_fields = ("identifier", "state", "installed", "removed", "changes")
    fieldsets = (
        (None, {"fields": ("organization", "command", "scopes", "events")}),
        ("About", {"fields": ("identifier", "state", "installed", "removed", "changes")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Installation | None = None) -> Any:
        return super().get_fieldsets(request, obj) if obj else self.fieldsets[:1]

    def get_readonly_fields(self, request: HttpRequest, obj: Installation | None = None) -> Any:
        return (*self.readonly_fields, "organization", "command") if obj else self.readonly_fields

    def has_change_permission(self, request: HttpRequest, obj: Installation | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.removed_at is None)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Installation, form: Any, change: bool) -> None:
        allowed = {name: form.cleaned_data[name] for name in ("scopes", "events")}
        if change:
            services.change_installation(installation=obj, **allowed)
        else:
            made = services.install_command(organization=obj.organization, command_uuid=obj.command.uuid, **allowed)
            obj.pk = made.pk
            obj.refresh_from_db()

    @admin.display(description="Command")
    def command_of(self, installation: Installation) -> SafeString:
        return html.two_lines(installation.command, installation.command.organization)

    @admin.display(description="Scopes")
    def scope_badges(self, installation: Installation) -> SafeString:
        return html.badges(installation.scopes)

    @admin.display(description="Events")
    def event_badges(self, installation: Installation) -> SafeString:
        return html.badges(installation.events, most=2)

    @admin.display(description="State", ordering="removed_at")
    def state(self, installation: Installation) -> SafeString:
        if installation.removed_at is None:
            return html.badge("installed", "success")
        return html.badge("removed") if installation.ended_at else html.badge("being removed", "warning")

    @admin.display(description="Installed", ordering="installed_at")
    def installed(self, installation: Installation) -> SafeString:
        return html.when(installation.installed_at)

    @admin.display(description="Removed")
    def removed(self, installation: Installation) -> SafeString:
        return html.when(installation.removed_at, never="–")

    @operator_action(
        label="Remove",
        question="The command stops acting in the organization. Its exchange tokens there become void, its"
        " schedules are deactivated, its hooks removed and its unsent callbacks cancelled. Installing it again does not"
        " restore any of this.",
        icon="block",
        note="Removed the command.",
        done="Removed.",
        applies_to=lambda installation: installation.removed_at is None,
        is_dangerous=True,
    )
    def remove(self, installation: Installation) -> None:
        services.remove_installation(installation=installation)
