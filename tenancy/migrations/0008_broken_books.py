"""A rule more. Choices are no matter of the database: nothing is done there."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenancy", "0007_virtual_key_secret"),
    ]

    operations = [
        migrations.AlterField(
            model_name="alert",
            name="rule",
            field=models.CharField(
                choices=[
                    ("credits.low", "Credits Low"),
                    ("budget.used", "Budget Used"),
                    ("jobs.failing", "Jobs Failing"),
                    ("webhook.disabled", "Webhook Disabled"),
                    ("model.failing", "Model Failing"),
                    ("margin.negative", "Margin Negative"),
                    ("books.broken", "Books Broken"),
                ],
                max_length=32,
            ),
        ),
    ]
