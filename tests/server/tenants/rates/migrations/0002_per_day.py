"""Fails for the tenant that APP_BROKEN_TENANT names."""

import os

from django.db import migrations, models


def fail(apps, schema_editor):
    if schema_editor.connection.schema_name == os.environ.get("APP_BROKEN_TENANT"):
        schema_editor.execute("select * from rates_nowhere")


class Migration(migrations.Migration):
    dependencies = [("rates", "0001_initial")]

    operations = [
        migrations.AddField(model_name="rate", name="per_day", field=models.IntegerField(default=0)),
        migrations.RunPython(fail, migrations.RunPython.noop),
    ]
