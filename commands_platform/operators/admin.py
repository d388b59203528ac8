"""Pages of the admin's logins, their groups, and the log of their actions. The platform's own users cannot log in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import UsernameField
from django.contrib.auth.models import Group, Permission, User
from django.core.paginator import InvalidPage
from django.db.models import ManyToManyField, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.sites import UnfoldAdminSite
from unfold.widgets import UnfoldAdminSelect2MultipleWidget

from commands_platform.operators import html, logins
from commands_platform.operators.filters import FlagFilter
from commands_platform.operators.large_tables import LargeTableAdmin
from commands_platform.operators.model_admin import PlatformAdmin, ReadOnlyAdmin, UndeletableAdmin
from commands_platform.operators.permissions import may_view

if TYPE_CHECKING:
    from django.contrib.auth.forms import AdminUserCreationForm

    _DjangoUserAdmin = DjangoUserAdmin[User]
    _UserCreationForm = AdminUserCreationForm[User]
else:
    _DjangoUserAdmin = DjangoUserAdmin
    _UserCreationForm = UserCreationForm

_ACTION_BADGES: dict[int, tuple[str, html.Tone]] = {
    ADDITION: ("added", "success"),
    CHANGE: ("changed", "info"),
    DELETION: ("deleted", "danger"),
}

admin.site.unregister(User)
admin.site.unregister(Group)


class _SuperusersOnlyAdmin(PlatformAdmin):
    """Only superusers may open these pages, because a login that changes logins could give itself any permission."""

    uuid_fields = ()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return _is_superuser(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return _is_superuser(request)

    def formfield_for_manytomany(self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.related_model is Permission:
            # The name of a permission includes its content type. Without the join, each one would need a query.
            kwargs["queryset"] = Permission.objects.select_related("content_type")
        field: Any = super().formfield_for_manytomany(db_field, request, **kwargs)
        # unfold would remove the CSS class that makes the widget searchable.
        field.widget, field.help_text = UnfoldAdminSelect2MultipleWidget(choices=field.choices), ""
        return field


class LoginCreationForm(_UserCreationForm):
    """Creates a login. Each login has a password, which `AUTH_PASSWORD_VALIDATORS` check."""

    # Django offers logins without a password for sites where another system checks them. Here there is no such system.
    usable_password = None  # type: ignore[assignment]

    class Meta:
        model = User
        field_classes = {"username": UsernameField}
        fields = ("username", "email", "is_staff", "is_superuser", "groups")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["is_staff"].initial = True
        self.fields["password1"].required = self.fields["password2"].required = True


@admin.register(User)
class LoginAdmin(UndeletableAdmin, _SuperusersOnlyAdmin, _DjangoUserAdmin):
    """Pages of logins. They are never deleted, so that the log of their actions stays complete."""

    form = UserChangeForm
    add_form = LoginCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "access", "state", "last_login_at")
    list_filter = (("is_active", FlagFilter), ("is_superuser", FlagFilter))
    search_fields = ("username", "email", "first_name", "last_name")
    search_help_text = "Username, name or email"
    actions = ("activate", "deactivate")
    filter_horizontal = ()
    labels = {
        "is_active": "Active",
        "is_staff": "May log in to the admin",
        "is_superuser": "Superuser",
        "email": "Email",
        "user_permissions": "Permissions",
    }
    readonly_fields = ("password_link", "last_login_at", "joined_at")
    add_fieldsets = (
        (None, {"fields": ("username", "email", "password1", "password2")}),
        ("Permissions", {"fields": ("is_staff", "is_superuser", "groups")}),
    )
    fieldsets = (
        (None, {"fields": ("username", "password_link", "first_name", "last_name", "email")}),
        ("Permissions", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Dates", {"fields": ("last_login_at", "joined_at")}),
    )

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        # Groups and permissions are not columns, so they cannot be in update_fields. Django saves them afterwards.
        columns = {field.name for field in self.opts.concrete_fields}
        if change and columns.intersection(form.changed_data):
            obj.save(update_fields=columns.intersection(form.changed_data))
        elif not change:
            obj.save()

    @admin.display(description="Access", ordering="is_superuser")
    def access(self, user: User) -> SafeString:
        if user.is_superuser:
            return html.badge("superuser", "info")
        return html.badge("by permission") if user.is_staff else html.badge("no access", "warning")

    @admin.display(description="State", ordering="is_active")
    def state(self, user: User) -> SafeString:
        return html.badge("active", "success") if user.is_active else html.badge("inactive")

    @admin.display(description="Last login (UTC)", ordering="last_login")
    def last_login_at(self, user: User) -> SafeString:
        return html.instant_and_distance(user.last_login)

    @admin.display(description="Created (UTC)", ordering="date_joined")
    def joined_at(self, user: User) -> SafeString:
        return html.instant_and_distance(user.date_joined)

    @admin.display(description="Password")
    def password_link(self, user: User) -> SafeString:
        return html.link_to("auth_user_password_change", user.pk, text="Change the password")


@admin.register(Group)
class GroupAdmin(_SuperusersOnlyAdmin):
    search_fields = ("name",)
    filter_horizontal = ()

    def save_model(self, request: HttpRequest, obj: Group, form: Any, change: bool) -> None:
        obj.save()


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin, LargeTableAdmin):
    """Shows what operators did in the admin. No entry contains a secret."""

    list_display = ("time", "login_name", "action_badge", "changed_object", "details")
    search_help_text = "The exact username of a login"
    uuid_fields = ()
    related = ("user", "content_type")
    fields = ("time", "login_name", "action_badge", "changed_object", "details")
    readonly_fields = fields

    def search_exactly(self, rows: QuerySet[Any], text: str) -> QuerySet[Any]:
        return rows.filter(user__username=text)

    @admin.display(description="Time (UTC)")
    def time(self, entry: LogEntry) -> SafeString:
        return html.instant_and_distance(entry.action_time)

    @admin.display(description="Login")
    def login_name(self, entry: LogEntry) -> str:
        return entry.user.get_username()

    @admin.display(description="Action")
    def action_badge(self, entry: LogEntry) -> SafeString:
        return html.badge(*_ACTION_BADGES.get(entry.action_flag, ("?", "neutral")))

    @admin.display(description="Object")
    def changed_object(self, entry: LogEntry) -> SafeString:
        kind = entry.content_type.name if entry.content_type else ""
        type_ = entry.content_type
        may_open = type_ is not None and not entry.is_deletion() and may_view(f"{type_.app_label}_{type_.model}")
        url = entry.get_admin_url() if may_open else None
        return html.two_lines(html.link(url, entry.object_repr) if url else entry.object_repr, kind)

    @admin.display(description="Details")
    def details(self, entry: LogEntry) -> str:
        return entry.get_change_message()


def _is_superuser(request: HttpRequest) -> bool:
    user: Any = request.user
    return bool(user.is_active and user.is_superuser)


def _search(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """Serves unfold's search. Answers 404 for a page number that is invalid or too large, where unfold would fail."""
    try:
        response: HttpResponse = UnfoldAdminSite.search(admin.site, request, extra_context)
    except (ValueError, InvalidPage) as error:
        raise Http404 from error
    return response


admin.site.search = _search  # type: ignore[attr-defined]
admin.site.login = logins.login  # type: ignore[method-assign, assignment]
admin.site.login_form = logins.LoginForm
