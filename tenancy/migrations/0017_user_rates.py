"""Requests and tokens per minute of each of a team's users."""

from django.db import migrations, models


def _limit(what: str) -> models.PositiveIntegerField:
    text = f"{what} within any minute; empty: no limit."
    return models.PositiveIntegerField(blank=True, null=True, help_text=text)


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0016_team_users")]

    operations = [
        migrations.AddField("team", "user_requests_per_minute", _limit("LLM calls of one user that may begin")),
        migrations.AddField("team", "user_tokens_per_minute", _limit("Tokens that one user's LLM calls may take")),
        migrations.AddConstraint(
            "team",
            models.CheckConstraint(
                name="team_user_rates_are_positive",
                condition=models.Q(("user_requests_per_minute__gt", 0), ("user_tokens_per_minute__gt", 0)),
            ),
        ),
    ]
