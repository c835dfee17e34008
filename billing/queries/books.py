"""The rules that the books have to keep, each as a query for what breaks it.

The database enforces all of them as it writes. They are asked again for the day on which somebody has written past
its triggers, a restore has gone wrong, or a migration has a mistake. Every rule is one statement, so it sees one
moment, and one pass over the tables, so a million entries are a matter of seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

#: How many of the things that break a rule are named; all are counted.
EXAMPLES = 5


@dataclass(frozen=True)
class Rule:
    """`sql` selects one text per thing that breaks the rule, such as "entry <id>"."""

    name: str
    sql: str


@dataclass(frozen=True)
class Breach:
    """A rule that does not hold: how often, and where for example."""

    rule: str
    count: int
    examples: Sequence[str]

    def __str__(self) -> str:
        more = ", …" if self.count > len(self.examples) else ""
        return f"{self.rule}: broken {self.count} times ({', '.join(self.examples)}{more})"


LEDGER_RULES = (
    Rule(
        "no entry was edited, left out or put in: each has the digest of itself and of the one before",
        """
        SELECT 'entry ' || (e).id FROM (
            SELECT e, LAG((e).digest) OVER (PARTITION BY (e).account_id ORDER BY (e).sequence) AS previous
            FROM billing_ledgerentry e
        ) chain
        WHERE (e).digest IS DISTINCT FROM billing_entry_digest(COALESCE(previous, ''), e)
        """,
    ),
    Rule(
        "sequences have no gap, and a balance_after is the sum of the entries up to it",
        """
        SELECT 'entry ' || id FROM (
            SELECT id, sequence, balance_after,
                   SUM(amount) OVER (PARTITION BY account_id ORDER BY sequence) AS sum,
                   ROW_NUMBER() OVER (PARTITION BY account_id ORDER BY sequence) AS number
            FROM billing_ledgerentry
        ) running
        WHERE sequence <> number OR balance_after <> sum
        """,
    ),
    Rule(
        "a balance is the sum of its entries, and used what was deducted",
        """
        SELECT 'account ' || a.team_id
        FROM billing_creditaccount a
        FULL JOIN (
            SELECT account_id, SUM(amount) AS sum, COUNT(*) AS entries,
                   -SUM(amount) FILTER (WHERE kind = 'deduction') AS deducted
            FROM billing_ledgerentry GROUP BY account_id
        ) e ON e.account_id = a.team_id
        WHERE a.team_id IS NULL OR a.allocated - a.used <> COALESCE(e.sum, 0) OR a.used <> COALESCE(e.deducted, 0)
            OR a.last_sequence <> COALESCE(e.entries, 0)
        """,
    ),
    Rule(
        "what is held is the sum of the open holds, and no more than the balance",
        """
        SELECT 'account ' || a.team_id
        FROM billing_creditaccount a
        LEFT JOIN (
            SELECT account_id, SUM(amount) AS sum FROM billing_credithold WHERE state = 'held' GROUP BY account_id
        ) h ON h.account_id = a.team_id
        WHERE a.held <> COALESCE(h.sum, 0) OR a.held > a.allocated - a.used
        """,
    ),
    Rule(
        "a deduction is a captured hold, and the reverse",
        """
        SELECT COALESCE('hold ' || h.id, 'entry ' || e.id)
        FROM (SELECT * FROM billing_credithold WHERE state = 'captured') h
        FULL JOIN (SELECT * FROM billing_ledgerentry WHERE kind = 'deduction') e ON e.hold_id = h.id
        WHERE h.id IS NULL OR e.id IS NULL
            OR (h.account_id, h.job_id, h.amount, h.ended_at, h.balance_after)
               IS DISTINCT FROM (e.account_id, e.job_id, -e.amount, e.created_at, e.balance_after)
        """,
    ),
    Rule(
        "a grant is what its entry gave, and the reverse",
        """
        SELECT COALESCE('grant ' || g.id, 'entry ' || e.id)
        FROM billing_creditgrant g
        FULL JOIN (SELECT * FROM billing_ledgerentry WHERE amount > 0) e ON e.id = g.entry_id
        WHERE g.id IS NULL OR e.id IS NULL
            OR (g.account_id, g.sequence, g.kind, g.amount, g.priority, g.expires_at, g.created_at)
               IS DISTINCT FROM
               (e.account_id, e.sequence, e.grant_kind, e.amount, e.grant_priority, e.grant_expires_at, e.created_at)
        """,
    ),
    Rule(
        "a grant covers its draws: what remains is its amount without them",
        """
        SELECT 'grant ' || COALESCE(g.id, d.grant_id)
        FROM billing_creditgrant g
        FULL JOIN (SELECT grant_id, SUM(amount) AS sum FROM billing_grantdraw GROUP BY grant_id) d ON d.grant_id = g.id
        WHERE g.id IS NULL OR g.remaining < 0 OR g.remaining <> g.amount - COALESCE(d.sum, 0)
            OR g.is_spent <> (g.remaining = 0)
        """,
    ),
    Rule(
        "a refill is what its entry gave, and an account shows whether it has a policy",
        """
        SELECT 'refill ' || r.id
        FROM billing_refill r LEFT JOIN billing_ledgerentry e ON e.id = r.entry_id
        WHERE (r.account_id, r.amount) IS DISTINCT FROM
              (COALESCE(e.account_id, r.account_id), COALESCE(e.amount, 0))
        UNION ALL
        SELECT 'account ' || a.team_id
        FROM billing_creditaccount a LEFT JOIN billing_refillpolicy p ON p.account_id = a.team_id
        WHERE a.auto_refill <> COALESCE(p.is_enabled, false)
        """,
    ),
    Rule(
        "what an entry took, it drew on grants of its account that were there before it",
        """
        SELECT 'entry ' || COALESCE(e.id, d.entry_id)
        FROM (SELECT * FROM billing_ledgerentry WHERE amount < 0) e
        FULL JOIN (
            SELECT d.entry_id, SUM(d.amount) AS sum, MIN(g.account_id) AS least, MAX(g.account_id) AS most,
                   MAX(g.sequence) AS newest, COUNT(*) AS grants,
                   COUNT(*) FILTER (WHERE x.id IS NOT NULL) AS named
            FROM billing_grantdraw d
            JOIN billing_creditgrant g ON g.id = d.grant_id
            LEFT JOIN billing_ledgerentry x ON x.id = d.entry_id AND x.expired_grant_id = d.grant_id
            GROUP BY d.entry_id
        ) d ON d.entry_id = e.id
        WHERE e.id IS NULL OR d.entry_id IS NULL OR d.sum <> -e.amount
            OR d.least <> e.account_id OR d.most <> e.account_id OR d.newest >= e.sequence
            OR (e.kind = 'expiry' AND d.named <> d.grants)
        """,
    ),
)


def breaches(rules: Sequence[Rule]) -> list[Breach]:
    """The rules that do not hold just now."""
    return [breach for rule in rules if (breach := _breach(rule)) is not None]


def _breach(rule: Rule) -> Breach | None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH broken (subject) AS MATERIALIZED ({rule.sql})
            SELECT COUNT(*), ARRAY(SELECT subject FROM broken ORDER BY subject LIMIT {EXAMPLES}) FROM broken
            """  # noqa: S608 (constants of ours, no input)
        )
        count, examples = cursor.fetchone()
    return Breach(rule.name, count, examples) if count else None


def count_entries() -> int:
    """How many ledger entries there are."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM billing_ledgerentry")
        return int(cursor.fetchone()[0])
