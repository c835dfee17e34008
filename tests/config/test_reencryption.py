"""After `reencrypt_secrets`, the newest key alone reads everything."""

import io
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from billing.models import ProxyTeam
from config.foundation import encryption
from config.reencryption import encrypted_columns
from modelgroups.models import GroupModel, ProviderCredential
from modelgroups.services.credentials import create_credential
from modelgroups.services.groups import ModelSpec
from tenancy.models import VirtualKey
from tests.support.api import make_group, make_tenant

NEW, OTHER = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
def secrets(db: None, settings: Any) -> None:
    settings.LITELLM_PROXY_URL = "http://127.0.0.1:1"
    make_group("G", [ModelSpec("gpt-4o", 0, {"api_key": "sk-provider"})])
    make_tenant("a", groups=["G"])
    create_credential(
        name="main", provider="openai", api_base="", secret="sk-named", organization_pk=None, actor="test"
    )
    ProxyTeam.objects.update(platform_key_encrypted=encryption.encrypt(b"sk-platform"))
    data = {"secret": encryption.encrypt(b"totp").decode(), "used": 1}
    Authenticator.objects.create(user=User.objects.create_user("ann"), type="totp", data=data)


def read_all() -> list[bytes]:
    rows = [
        GroupModel.objects.get().api_key_encrypted,
        VirtualKey.objects.get().secret_encrypted,
        ProxyTeam.objects.get().platform_key_encrypted,
        ProviderCredential.objects.get().secret_encrypted,
    ]
    second_factor = Authenticator.objects.get().data
    assert second_factor["used"] == 1
    rows.append(second_factor["secret"].encode())
    return [encryption.decrypt(bytes(value or b"")) for value in rows]


def test_the_old_key_can_be_dropped_afterwards(secrets: None, settings: Any) -> None:
    before = read_all()
    settings.FIELD_ENCRYPTION_KEYS = [NEW, *settings.FIELD_ENCRYPTION_KEYS]
    call_command("reencrypt_secrets", stdout=io.StringIO())
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    assert read_all() == before
    assert before[0] == b"sk-provider"
    assert before[2:] == [b"sk-platform", b"sk-named", b"totp"]


def test_what_nobody_can_read_is_said_and_left_alone(secrets: None, settings: Any) -> None:
    before = read_all()
    old = settings.FIELD_ENCRYPTION_KEYS
    settings.FIELD_ENCRYPTION_KEYS = [OTHER]
    with pytest.raises(CommandError):
        call_command("reencrypt_secrets", stdout=io.StringIO())
    settings.FIELD_ENCRYPTION_KEYS = old
    assert read_all() == before


def test_every_encrypted_column_is_known() -> None:
    """A new binary column is re-encrypted, unless somebody says that it is a hash."""
    assert set(encrypted_columns()) == {
        "tenancy.VirtualKey.secret_encrypted",
        "tenancy.IdempotencyRecord.reply",
        "tenancy.WebhookEndpoint.secret_encrypted",
        "tenancy.WebhookEndpoint.previous_secret_encrypted",
        "modelgroups.GroupModel.api_key_encrypted",
        "modelgroups.ProviderCredential.secret_encrypted",
        "billing.ProxyTeam.platform_key_encrypted",
        "jobs.CallContent.request",
        "jobs.CallContent.answer",
    }
