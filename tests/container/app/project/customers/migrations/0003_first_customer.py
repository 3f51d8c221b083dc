from django.db import migrations


def add(apps, schema_editor):
    carrier = apps.get_model("carriers", "Carrier").objects.create(name="Cold Chain")
    supplier = apps.get_model("suppliers", "Supplier").objects.create(name="North Farm", carrier=carrier)
    apps.get_model("customers", "Customer").objects.create(name="Corner Deli", supplier=supplier, region="north")


def remove(apps, schema_editor):
    apps.get_model("customers", "Customer").objects.all().delete()
    apps.get_model("suppliers", "Supplier").objects.all().delete()
    apps.get_model("carriers", "Carrier").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("customers", "0002_region")]

    operations = [migrations.RunPython(add, remove)]
