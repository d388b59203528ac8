"""The pages of commands."""

from __future__ import annotations

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.widgets import UnfoldAdminTextInputWidget

from commands_platform.lib.errors import PlatformError
from commands_platform.operators import html
from commands_platform.operators.actions import operator_action
from commands_platform.operators.filters import FlagFilter
from commands_platform.operators.forms import AllConstraintsForm
from commands_platform.operators.model_admin import ShowsOnceAdmin
from commands_platform.operators.shown_once import ShownOnce
from organizations import services
from organizations.admin.columns import DirectoryAdmin, links_to_lists
from organizations.models import Command
from outbound.guard import address_guard


class CommandForm(AllConstraintsForm):
    """Checks the callback URL with the address guard, and saves it in the spelling that the guard returns."""

    shown_fields = frozenset({"organization"})

    class Meta:
        widgets = {"callback_url": UnfoldAdminTextInputWidget(attrs={"class": "max-w-2xl"})}
        help_texts = {
            "callback_url": "If you change the origin, schedules that use this URL stop sending their custom headers."
        }

    def clean_callback_url(self) -> str:
        url: str = self.cleaned_data["callback_url"].strip()
        if not url:
            return ""
        try:
            return address_guard().check_url(url)
        except PlatformError as error:
            raise ValidationError(error.message) from error


@admin.register(Command)
class CommandAdmin(ShowsOnceAdmin, DirectoryAdmin):
    form = CommandForm
    list_display = ("name", "organization", "callback_origin", "visibility", "state", "created")
    list_filter = (
        ("organization", AutocompleteSelectFilter),
        ("is_public", FlagFilter),
        ("is_active", FlagFilter),
    )
    search_fields = ("name", "organization__name")
    search_help_text = "Name, organization or UUID"
    related = ("organization",)
    autocomplete_fields = ("organization",)
    actions = ("activate", "deactivate", "rotate_secret", "rotate_signature", "revoke_tokens")
    actions_detail = (
        {
            "title": "Secrets",
            "icon": "key",
            "items": ("show_secrets", "rotate_secret", "rotate_signature", "revoke_tokens"),
        },
    )
    labels = {"callback_url": "Callback URL", "is_public": "Public", "is_active": "Active"}
    # A command cannot change its organization, because its schedules, hooks, items and keys belong to that one.
    readonly_fields = ("organization_link", "identifier", "created_in_full", "secrets", "related_lists", "changes")
    add_fieldsets = ((None, {"fields": ("organization", "name", "callback_url", "is_public", "is_active")}),)
    fieldsets = (
        (None, {"fields": ("organization_link", "name", "callback_url", "is_public", "is_active")}),
        ("About", {"fields": ("identifier", "secrets", "created_in_full", "related_lists", "changes")}),
    )

    @admin.display(description="Receiver")
    def callback_origin(self, command: Command) -> SafeString:
        return html.clipped(html.origin(command.callback_url))

    @admin.display(description="Visibility", ordering="is_public")
    def visibility(self, command: Command) -> SafeString:
        return html.badge("public", "info") if command.is_public else html.badge("private")

    @admin.display(description="Signing secret")
    def secrets(self, command: Command) -> SafeString | str:
        until = command.previous_secret_expires_at
        if until is None or until <= timezone.now():
            return "Set"
        return format_html("Set. The previous secret also signs until {} UTC.", html.instant(until))

    @admin.display(description="Related")
    def related_lists(self, command: Command) -> SafeString:
        lists = (
            ("API keys", "auth_tokens_apikey"),
            ("installations", "organizations_installation"),
            ("scheduled executions", "scheduling_scheduledexecution"),
            ("deliveries", "deliveries_delivery"),
            ("hooks", "events_hook"),
            ("items", "storage_item"),
            ("activity", "activity_activityrecord"),
        )
        return links_to_lists(f"?command__id__exact={command.pk}", lists)

    @operator_action(
        label="Show secrets",
        question="The next page shows the signing secret and the static signature once. Give them to the author of the"
        " receiver. The command's history records that you saw them.",
        icon="visibility",
        note="Looked at the secrets.",
        done="Secrets shown.",
    )
    def show_secrets(self, command: Command) -> ShownOnce:
        services.note_secrets_shown(command=command)
        return ShownOnce("A receiver checks this command's callbacks with these secrets.", _secrets_of(command))

    @operator_action(
        label="Rotate secret",
        question="Callbacks are signed with a new secret from now on, and with the present one too for 24 hours."
        " The next page shows the new secret once.",
        icon="autorenew",
        note="Rotated the signing secret.",
        done="Signing secrets rotated.",
    )
    def rotate_secret(self, command: Command) -> ShownOnce:
        rotated = services.rotate_signing_secret(command=command)
        note = "This is the new signing secret. The previous one stays valid for 24 hours."
        return ShownOnce(note, _secrets_of(rotated))

    @operator_action(
        label="Rotate static signature",
        question="Callbacks carry the present X-DailyBot-Signature for 24 more hours, with the new one beside it as"
        " X-DailyBot-Signature-Next. The next page shows the new one once. If the present one has leaked, rotate twice:"
        " then it is not sent any more.",
        icon="autorenew",
        note="Rotated the static signature.",
        done="Static signatures rotated.",
    )
    def rotate_signature(self, command: Command) -> ShownOnce:
        rotated = services.rotate_static_signature(command=command)
        return ShownOnce(
            "This is the new static signature. It replaces the present one in 24 hours.", _secrets_of(rotated)
        )

    @operator_action(
        label="Revoke tokens",
        question="All exchange tokens of this command stop working. It can fetch new ones.",
        icon="block",
        note="Revoked the exchange tokens.",
        done="Exchange tokens revoked.",
    )
    def revoke_tokens(self, command: Command) -> None:
        services.revoke_tokens_of_command(command=command)


def _secrets_of(command: Command) -> dict[str, str]:
    return {"Signing secret": command.signing_secret, "X-DailyBot-Signature": command.signature}
