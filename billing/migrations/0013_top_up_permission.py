"""The permission to top up and correct credits."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("billing", "0012_indexes_for_the_console")]

    operations = [
        migrations.AlterModelOptions(
            name="creditaccount",
            options={"permissions": [("top_up_creditaccount", "Can top up and correct credits")]},
        ),
    ]
