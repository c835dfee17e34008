"""Whatever happens to an account, in whatever order: it agrees with a model that is too simple to be wrong.

500 runs of 50 steps. LEDGER_RUNS and LEDGER_STEPS make it more, as before a release: 10,000 of 100 take three quarters
of an hour on two cores (`make test ARGS="-n 2 tests/billing/test_ledger_machine.py"`).
"""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from billing.queries.books import LEDGER_RULES, breaches
from tests.billing.machine import LedgerMachine

RUNS = int(os.environ.get("LEDGER_RUNS", "500"))
STEPS = int(os.environ.get("LEDGER_STEPS", "50"))
#: Each test is one transaction, and the longer that is, the slower is each step: its dead rows cannot be pruned.
RUNS_OF_A_TEST = 100


@pytest.mark.django_db
@pytest.mark.parametrize("part", range(-(-RUNS // RUNS_OF_A_TEST)))
def test_the_ledger_agrees_with_the_model_after_every_step(part: int) -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=min(RUNS, RUNS_OF_A_TEST),
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert breaches(LEDGER_RULES) == []
