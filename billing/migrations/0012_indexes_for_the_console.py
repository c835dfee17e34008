"""Indexes for the console's lists over millions of rows (docs/adr/0053).

Made without keeping writers out, which takes a transaction for each of them. Stopped half-way, an index may be left
that is invalid: drop it, and migrate again.
"""

import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("billing", "0011_proxy_marks"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="credithold",
            index=models.Index(fields=["account", "created_at"], name="holds_of_account"),
        ),
        AddIndexConcurrently(
            model_name="credithold",
            index=models.Index(fields=["created_at", "id"], name="holds_in_order"),
        ),
        AddIndexConcurrently(
            model_name="credithold",
            index=models.Index(
                condition=models.Q(("state", "expired")), fields=["created_at", "id"], name="expired_holds"
            ),
        ),
        AddIndexConcurrently(
            model_name="ledgerentry",
            index=models.Index(fields=["account", "created_at"], name="entries_of_account"),
        ),
        AddIndexConcurrently(
            model_name="ledgerentry",
            index=models.Index(fields=["created_at", "sequence"], name="entries_in_order"),
        ),
        AddIndexConcurrently(
            model_name="ledgerentry",
            index=models.Index(
                condition=models.Q(("kind", "deduction"), _negated=True),
                fields=["kind", "created_at", "sequence"],
                name="entries_but_deductions",
            ),
        ),
        AddIndexConcurrently(
            model_name="creditgrant",
            index=models.Index(fields=["created_at", "sequence"], name="grants_in_order"),
        ),
        AddIndexConcurrently(
            model_name="creditgrant",
            index=models.Index(fields=["kind", "created_at"], name="grants_of_kind"),
        ),
        migrations.AlterField(
            model_name="credithold",
            name="account",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="holds",
                to="billing.creditaccount",
            ),
        ),
        migrations.AlterField(
            model_name="ledgerentry",
            name="account",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="entries",
                to="billing.creditaccount",
            ),
        ),
    ]
