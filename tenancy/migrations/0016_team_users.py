"""The users of teams, and what they may use."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0015_limits_and_restrictions_hold")]

    operations = [
        migrations.CreateModel(
            name="TeamUser",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("user_id", models.CharField(max_length=128)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("active", "Active"),
                            ("blocked", "Blocked"),
                            ("erasing", "Erasing"),
                            ("erased", "Erased"),
                        ],
                        default="active",
                        max_length=16,
                    ),
                ),
                ("first_seen_at", models.DateTimeField()),
                ("last_seen_at", models.DateTimeField()),
                ("erasure_requested_at", models.DateTimeField(blank=True, null=True)),
                ("erasure_xid", models.BigIntegerField(editable=False, null=True)),
                ("erasure_run", models.JSONField(editable=False, null=True)),
                ("next_erasure_at", models.DateTimeField(editable=False, null=True)),
                ("erased_at", models.DateTimeField(blank=True, null=True)),
                (
                    "team",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="users",
                        to="tenancy.team",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "permissions": [("erase_teamuser", "Can erase team user")],
                "indexes": [
                    models.Index(fields=["team", "-id"], name="users_of_team"),
                    models.Index(fields=["user_id"], name="users_by_name"),
                    models.Index(condition=models.Q(("status", "erasing")), fields=["id"], name="users_to_erase"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("team", "user_id"), name="user_id_is_unique_in_its_team"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("erased_at", None),
                                ("erasure_requested_at", None),
                                ("status__in", ["active", "blocked"]),
                            ),
                            models.Q(
                                ("erased_at", None),
                                ("erasure_requested_at__isnull", False),
                                ("status", "erasing"),
                            ),
                            models.Q(
                                ("erased_at__isnull", False),
                                ("erasure_requested_at__isnull", False),
                                ("status", "erased"),
                            ),
                            _connector="OR",
                        ),
                        name="team_user_is_erased_or_not",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="UserLimit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(choices=[("credits", "Credits"), ("direct_cost", "Direct Cost")], max_length=16),
                ),
                ("amount", models.DecimalField(decimal_places=12, max_digits=24)),
                ("month", models.DateField(blank=True, null=True)),
                ("taken", models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=24)),
                ("reserved", models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=24)),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="limits",
                        to="tenancy.teamuser",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(fields=("user", "kind"), name="one_user_limit_per_kind"),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["credits", "direct_cost"])), name="user_limit_kind_is_known"
                    ),
                    models.CheckConstraint(condition=models.Q(("amount__gte", 0)), name="user_limit_is_not_negative"),
                ],
            },
        ),
    ]
