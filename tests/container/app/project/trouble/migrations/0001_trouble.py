"""The trouble that APP_TROUBLE names; APP_SECONDS is how long the slow one takes."""

import os

from django.db import IntegrityError, migrations

TROUBLE = os.environ["APP_TROUBLE"]


def break_an_index(apps, schema_editor):
    """As a migration that swallows what it should not: the index stays, and is not valid."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("insert into carriers_carrier (name) values ('Cold Chain 2')")
        try:
            cursor.execute("create unique index concurrently trouble_index on carriers_carrier (left(name, 4))")
        except IntegrityError:
            print("never mind", flush=True)


def eat(apps, schema_editor):
    eaten = []
    while True:
        eaten.append(bytearray(16 << 20))


OPERATIONS = {
    # The real migrate command does nothing with it: see management/commands/migrate.py.
    "lie": migrations.RunSQL("create table trouble_lie ()"),
    # It asks nobody: likewise.
    "hasty": migrations.RunSQL("create table trouble_hasty ()"),
    "missing-table": migrations.RunSQL("create table trouble_half (); select * from trouble_nowhere"),
    "duplicate": migrations.RunSQL("insert into carriers_carrier (name) values ('Cold Chain')"),
    "slow": migrations.RunSQL(f"create table trouble_slow (); select pg_sleep({os.environ.get('APP_SECONDS', '60')})"),
    "lock": migrations.RunSQL("alter table carriers_carrier add column fax varchar(40)"),
    "index": migrations.RunPython(break_an_index),
    "memory": migrations.RunPython(eat),
}


class Migration(migrations.Migration):
    atomic = TROUBLE != "index"

    dependencies = [("customers", "0003_first_customer")]

    operations = [OPERATIONS[TROUBLE]]
