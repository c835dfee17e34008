"""Web processes answer for calls, too: while they are queued."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("jobs", "0002_call_forms")]
    operations = [
        migrations.RenameModel("CallWorker", "CallProcess"),
        migrations.RenameField("call", "worker_id", "process_id"),
    ]
