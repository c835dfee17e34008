"""Limits per minute of teams and keys, and what a key may be restricted to."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

ARE_NETWORKS = """
    CREATE FUNCTION tenancy_are_networks(networks varchar[]) RETURNS boolean LANGUAGE plpgsql IMMUTABLE STRICT AS $$
    BEGIN
        PERFORM networks::cidr[];
        RETURN cardinality(networks) BETWEEN 1 AND 64 AND array_position(networks, NULL) IS NULL;
    EXCEPTION WHEN invalid_text_representation THEN
        RETURN false;
    END
    $$
"""


def _limit(help_text: str = "") -> models.PositiveIntegerField:
    return models.PositiveIntegerField(blank=True, null=True, help_text=help_text)


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0013_direct_calls_as_jobs")]

    operations = [
        migrations.RunSQL(ARE_NETWORKS, "DROP FUNCTION tenancy_are_networks(varchar[])"),
        migrations.AddField(
            "team", "requests_per_minute", _limit("LLM calls that may begin within any minute; empty for the default.")
        ),
        migrations.AddField(
            "team",
            "tokens_per_minute",
            _limit("Tokens that LLM calls may take within any minute; empty for the default."),
        ),
        migrations.AddField("virtualkey", "requests_per_minute", _limit()),
        migrations.AddField("virtualkey", "tokens_per_minute", _limit()),
        migrations.AddField("virtualkey", "max_calls_in_flight", _limit()),
        migrations.AddField(
            "virtualkey", "scopes", ArrayField(models.CharField(max_length=16), blank=True, null=True, size=None)
        ),
        migrations.AddField(
            "virtualkey",
            "allowed_models",
            ArrayField(models.CharField(max_length=255), blank=True, null=True, size=None),
        ),
        migrations.AddField(
            "virtualkey", "allowed_ips", ArrayField(models.CharField(max_length=43), blank=True, null=True, size=None)
        ),
    ]
