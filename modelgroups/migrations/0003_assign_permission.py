"""The permission to assign model groups to teams."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("modelgroups", "0002_provider_credentials"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="modelgroup",
            options={
                "ordering": ["-created_at", "-id"],
                "permissions": [
                    ("test_modelgroup", "Can send a test call to a model"),
                    ("assign_modelgroup", "Can assign model groups to teams"),
                ],
            },
        ),
    ]
