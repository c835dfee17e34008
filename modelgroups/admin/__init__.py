"""The admin of model groups, and of the keys that their models name."""

from modelgroups.admin.credentials import ProviderCredentialAdmin
from modelgroups.admin.groups import GroupTeamInline, ModelGroupAdmin
from modelgroups.admin.models import GroupModelAdmin

__all__ = ["GroupModelAdmin", "GroupTeamInline", "ModelGroupAdmin", "ProviderCredentialAdmin"]
