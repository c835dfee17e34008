"""The table of Django's database cache (settings.CACHES), as `createcachetable` makes it: here nobody forgets to."""

from django.db import migrations

CREATE = """
CREATE TABLE console_cache (cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamptz NOT NULL);
CREATE INDEX console_cache_expires ON console_cache (expires);
"""


class Migration(migrations.Migration):
    """Creates the table."""

    dependencies = [("tenancy", "0010_team_permissions")]

    operations = [migrations.RunSQL(CREATE, "DROP TABLE console_cache")]
