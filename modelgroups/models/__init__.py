"""One model per file."""

from modelgroups.models.group_assignment import GroupAssignment
from modelgroups.models.group_model import GroupModel
from modelgroups.models.model_group import ModelGroup
from modelgroups.models.provider_credential import ProviderCredential

__all__ = ["GroupAssignment", "GroupModel", "ModelGroup", "ProviderCredential"]
