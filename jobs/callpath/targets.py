"""From a row of a group's model to what the gateway asks: with the key that it has, or that it names."""

from config.foundation import encryption
from config.foundation.async_database import Row
from modelgroups.gateway.parameters import CREDENTIAL
from modelgroups.gateway.prices import provider_of
from modelgroups.gateway.types import Target

#: The credential that model `m` names, as the organization of `t` has it: its own one, else the global one.
NAMED_CREDENTIAL = """
    LEFT JOIN LATERAL (
        SELECT c.provider, c.api_base, c.secret_encrypted FROM modelgroups_providercredential c
        WHERE c.name = m.config ->> 'credential'
            AND (c.organization_id = t.organization_id OR c.organization_id IS NULL)
        ORDER BY c.organization_id NULLS LAST LIMIT 1
    ) credential ON true
"""
#: What `target_of` reads.
TARGET_COLUMNS = """
    m.model_name, m.priority, m.config, m.api_key_encrypted, credential.provider AS credential_provider,
    credential.api_base AS credential_api_base, credential.secret_encrypted AS credential_secret
"""


def target_of(row: Row) -> Target:
    """The model, asked directly. One whose credential its caller does not have gets no key, and is not asked."""
    config, secret = row["config"], row["api_key_encrypted"]
    if CREDENTIAL in config:
        secret = row["credential_secret"]
        if row["credential_provider"] != provider_of(row["model_name"], config):
            # Never to another provider than it is for.
            secret = None
        if row["credential_api_base"]:
            config = {**config, "api_base": row["credential_api_base"]}
    return Target(
        model_name=row["model_name"],
        priority=row["priority"],
        config=config,
        api_key=None if secret is None else encryption.decrypted_text(bytes(secret)),
    )
