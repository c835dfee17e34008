"""Fixtures that every folder of tests may use."""

import pytest

from tests.support.api import ApiClient, Tenant, make_operator, make_tenant


@pytest.fixture
def operator(db: None) -> ApiClient:
    """A client with an operator key of every scope."""
    return make_operator()


@pytest.fixture
def tenant(db: None) -> Tenant:
    """A team with ten credits and one group."""
    return make_tenant()
