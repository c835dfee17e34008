"""How a group's models are shown: with their price, and without what is secret."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from modelgroups.gateway.parameters import CREDENTIAL
from modelgroups.gateway.prices import usd_per_million
from modelgroups.models import GroupModel
from modelgroups.services.groups import without_secrets
from tenancy.admin import ReadOnlyAdmin, ReadOnlyInline, in_a_row, link

#: Of the page that tests a model, in the app above.
TEST_PERMISSION = "modelgroups.test_modelgroup"


class ShownModel:
    """Columns of a model."""

    @admin.display(description="Config")
    def shown_config(self, model: GroupModel) -> str:
        """The values of headers are hidden: they often carry a key."""
        return json.dumps(without_secrets(model.config), ensure_ascii=False)

    @admin.display(description="Provider key")
    def shown_api_key(self, model: GroupModel) -> str:
        """Its last four characters, or the credential that it names."""
        if CREDENTIAL in model.config:
            return str(model.config[CREDENTIAL])
        return f"****{model.api_key_last_four}" if model.api_key_last_four else "-"

    @admin.display(description="USD per 1M tokens, in / out")
    def price(self, model: GroupModel) -> str:
        """The operator's price, or LiteLLM's."""
        prices = usd_per_million(model.model_name, model.config) if model.pk else None
        return " / ".join(_plain(price) for price in prices) if prices else "-"

    @admin.display(description="See also")
    def tools(self, model: GroupModel) -> SafeString | str:
        """What the app above knows of it."""
        if not model.pk:
            return "-"
        return in_a_row(
            link("jobs_attempt_health", "Health", group=model.group_id),
            link("jobs_attempt_changelist", "Attempts", q=model.model_name),
        )

    @admin.display(description="Test")
    def test(self, model: GroupModel) -> SafeString | str:
        """For who may."""
        return link("jobs_modelcheck_new", "Test", pk=model.pk) if model.pk else "-"


def for_this_user(request: HttpRequest, columns: Sequence[str]) -> tuple[str, ...]:
    """Without the link to a page that would be refused."""
    may_test = request.user.has_perm(TEST_PERMISSION)
    return tuple(column for column in columns if column != "test" or may_test)


class ShownModelsInline(ShownModel, ReadOnlyInline):
    """A group's models in the order in which they are tried, for who may not change them."""

    model = GroupModel
    verbose_name_plural = "models"
    fields = (
        "model_name",
        "priority",
        "position",
        "is_enabled",
        "price",
        "shown_api_key",
        "shown_config",
        "test",
        "tools",
    )
    readonly_fields = fields

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """What the user may do with them."""
        return for_this_user(request, self.fields)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Without the keys."""
        return super().get_queryset(request).defer("api_key_encrypted")


@admin.register(GroupModel)
class GroupModelAdmin(ShownModel, ReadOnlyAdmin):
    """Models over all groups: which groups use this one?"""

    list_display = (
        "model_name",
        "group",
        "is_enabled",
        "priority",
        "position",
        "price",
        "shown_api_key",
        "test",
        "tools",
    )
    list_filter = ("is_enabled",)
    list_select_related = ("group",)
    search_fields = ("model_name", "group__group_name", "api_key_last_four__exact")
    secret_fields = ("api_key_encrypted",)
    fields = (
        "group",
        "model_name",
        "is_enabled",
        "priority",
        "position",
        "price",
        "shown_api_key",
        "shown_config",
        "test",
        "tools",
    )
    readonly_fields = fields

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """What the user may do with them."""
        return for_this_user(request, self.list_display)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The same."""
        return for_this_user(request, self.fields)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Nothing by config either, in which headers may be secret."""
        return not lookup.startswith("config") and super().lookup_allowed(lookup, value, request)


def _plain(price: Decimal) -> str:
    """Without an exponent, and without zeros at its end."""
    return f"{price.normalize():f}"
