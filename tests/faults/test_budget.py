"""A team's budget, while what moves it is killed: nothing stays reserved, and no more is spent than there is.

CI does it twice; BUDGET_ROUNDS=20 makes twenty rounds of it.
"""

import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.faults.rules import broken
from tests.faults.scene import HASTY
from tests.live.ledger_rules import assert_ledger_is_sound
from tests.support.fake_provider import COMPLETION_TOKENS
from tests.support.live import MESSAGES, LiveTeam, MakeStack, Tenants
from tests.support.stack import FakeProvider, Stack, eventually

ROUNDS = int(os.environ.get("BUDGET_ROUNDS", "2"))
CLIENTS = 64
COVERED = 10
OUTPUT_USD = Decimal("0.5")
CALL_USD = COMPLETION_TOKENS * OUTPUT_USD
#: What ten calls cost, in credits of ten cents. To the cent, because a rest would let one more pass (docs/adr/0061).
CREDITS = int(COVERED * CALL_USD / Decimal("0.10"))
LIMIT_USD = CREDITS * Decimal("0.10")
assert COVERED * CALL_USD == LIMIT_USD


@pytest.fixture(scope="module")
def doomed(make_stack: MakeStack) -> Iterator[Stack]:
    with make_stack("web", "worker", "maintenance", "beat", **HASTY) as running:
        yield running


def new_team(doomed: Stack, provider: FakeProvider, behaviour: str) -> LiveTeam:
    tenants = Tenants.on(doomed, provider)
    group = tenants.group(behaviour, input_cost_per_token=0, output_cost_per_token=float(OUTPUT_USD))
    return tenants.team([group], credits_allocated=CREDITS)


def chat(team: LiveTeam) -> httpx.Response:
    payload = {"model": team.group, "messages": MESSAGES, "max_tokens": COMPLETION_TOKENS}
    return team.api.post("/v1/chat/completions", json=payload, timeout=120)


def budget(stack: Stack, team: LiveTeam) -> tuple[Any, Any]:
    (row,) = stack.query(
        "SELECT b.* FROM billing_teambudget b JOIN tenancy_team t ON t.id = b.team_id WHERE t.team_id = %s",
        team.team_id,
    )
    return row["spent_usd"], row["reserved_usd"]


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_concurrent_calls_spend_no_more_than_there_is(doomed: Stack, provider: FakeProvider, round_: int) -> None:
    team = new_team(doomed, provider, "slow-0.1s")
    with ThreadPoolExecutor(CLIENTS) as clients:
        statuses = sorted(clients.map(lambda _: chat(team).status_code, range(CLIENTS)))

    spent, reserved = budget(doomed, team)
    assert statuses == [200] * COVERED + [402] * (CLIENTS - COVERED)
    assert (spent, reserved) == (COVERED * CALL_USD, 0)
    assert spent <= LIMIT_USD


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_killed_worker_s_calls_give_their_reservations_back(
    doomed: Stack, provider: FakeProvider, round_: int
) -> None:
    held = f"held/{uuid.uuid4().hex[:8]}"
    team = new_team(doomed, provider, held)
    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = [clients.submit(chat, team) for _ in range(CLIENTS)]
        provider.wait_for(held, count=COVERED)
        assert budget(doomed, team) == (0, COVERED * CALL_USD)
        doomed.kill("worker")
        doomed.start("worker")
        statuses = sorted(answer.result().status_code for answer in answers)
    provider.release(held)

    assert statuses == [402] * (CLIENTS - COVERED) + [503] * COVERED
    eventually(lambda: budget(doomed, team) == (0, 0), "nothing is reserved", within_s=30)
    # All of it can be spent now.
    with ThreadPoolExecutor(CLIENTS) as clients:
        again = sorted(clients.map(lambda _: chat(team).status_code, range(CLIENTS)))
    assert again == [200] * COVERED + [402] * (CLIENTS - COVERED)
    assert budget(doomed, team) == (COVERED * CALL_USD, 0)
    assert broken(doomed) == {}
    assert_ledger_is_sound(doomed)
