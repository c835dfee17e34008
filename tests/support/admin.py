"""The admin as somebody with certain permissions sees it."""

from typing import Any

from django.contrib.auth.models import Permission, User
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse


class AdminClient:
    """A browser that is logged in. `permissions` None: a superuser."""

    def __init__(
        self, permissions: list[str] | None = None, *, name: str = "somebody", password: str | None = None
    ) -> None:
        user = User.objects.create_user(name, password=password, is_staff=True, is_superuser=permissions is None)
        for permission in permissions or []:
            app, _, codename = permission.partition(".")
            user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
        self._client = Client()
        self._client.force_login(user)

    def get(self, page: str, *arguments: object, **query: Any) -> Any:
        return self._client.get(_url(page, arguments), query or None)

    def post(self, page: str, *arguments: object, **data: Any) -> Any:
        return self._client.post(_url(page, arguments), data)

    def html(self, page: str, *arguments: object, **query: Any) -> str:
        response = self.get(page, *arguments, **query)
        assert response.status_code == 200, (page, response.status_code)
        return response.content.decode()

    def queries(self, page: str, *arguments: object, **query: Any) -> int:
        """How many queries the page takes, once Django knows its content types."""
        self.html(page, *arguments, **query)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            self.html(page, *arguments, **query)
        return len(captured)

    def action(self, page: str, name: str, *pks: object) -> Any:
        """Run an action of a list on these rows."""
        return self.post(page, action=name, _selected_action=[str(pk) for pk in pks])


def _url(page: str, arguments: tuple[object, ...]) -> str:
    """Of a page of the admin by its name there, or of one beside it, whose name begins with "console_"."""
    return reverse(page if page.startswith("console_") else f"admin:{page}", args=arguments)


def page_of(model: type[models.Model], page: str) -> str:
    """The name of a model's page: "changelist", "add", "change", "delete", "history"."""
    return f"{model._meta.app_label}_{model._meta.model_name}_{page}"


def row(instance: models.Model) -> dict[str, Any]:
    """All that the database has of it."""
    return type(instance)._default_manager.filter(pk=instance.pk).values().get()


def form_of(client: AdminClient, page: str, pk: object) -> dict[str, Any]:
    """What a browser would send for a change page as it stands."""
    context = client.get(page, pk).context
    forms = [context["adminform"].form]
    for inline in context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    data = {}
    for form in forms:
        for field in form:
            value = field.value()
            data[field.html_name] = "" if value is None else value
            if field.field.show_hidden_initial:
                data[field.html_initial_name] = data[field.html_name]
    return data


def sent(client: AdminClient, page: str, *arguments: object, **data: Any) -> Any:
    """What is answered to a form of the console, filled in like this; its token and initial values are sent along."""
    form = client.get(page, *arguments).context["form"]
    filled = {name: form[name].value() for name in form.fields}
    filled |= {
        form[name].html_initial_name: filled[name] for name, field in form.fields.items() if field.show_hidden_initial
    }
    filled |= data
    return client.post(
        page, *arguments, **{name: value for name, value in filled.items() if value not in (None, False)}
    )


def problems(response: Any) -> str:
    """What a form of the console complains of."""
    assert response.status_code == 200
    return str(response.context["form"].errors)
