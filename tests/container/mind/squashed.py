"""The customers' first two migrations in one."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [("customers", "0001_initial"), ("customers", "0002_region")]
    initial = True

    dependencies = [("suppliers", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Customer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=120)),
                (
                    "supplier",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="suppliers.supplier"),
                ),
                ("region", models.CharField(default="unknown", max_length=40)),
            ],
        ),
    ]
