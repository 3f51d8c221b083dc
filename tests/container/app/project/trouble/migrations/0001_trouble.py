"""A migration with the fault that APP_TROUBLE names. APP_SECONDS is the duration of the slow one."""

import os

from django.db import IntegrityError, migrations

TROUBLE = os.environ["APP_TROUBLE"]


def break_an_index(apps, schema_editor):
    """Swallows an error that it should not swallow: the index stays and is invalid."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("insert into carriers_carrier (name) values ('Cold Chain 2')")
        try:
            cursor.execute("create unique index concurrently trouble_index on carriers_carrier (left(name, 4))")
        except IntegrityError:
            print("never mind", flush=True)


def exhaust_memory(apps, schema_editor):
    blocks = []
    while True:
        blocks.append(bytearray(16 << 20))


OPERATIONS = {
    # Never applied: see management/commands/migrate.py.
    "lie": migrations.RunSQL("create table trouble_lie ()"),
    # Applied before everything else: see management/commands/migrate.py.
    "hasty": migrations.RunSQL("create table trouble_hasty ()"),
    "missing-table": migrations.RunSQL("create table trouble_half (); select * from trouble_nowhere"),
    "duplicate": migrations.RunSQL("insert into carriers_carrier (name) values ('Cold Chain')"),
    "slow": migrations.RunSQL(f"create table trouble_slow (); select pg_sleep({os.environ.get('APP_SECONDS', '60')})"),
    "lock": migrations.RunSQL("alter table carriers_carrier add column fax varchar(40)"),
    "index": migrations.RunPython(break_an_index),
    "memory": migrations.RunPython(exhaust_memory),
}


class Migration(migrations.Migration):
    atomic = TROUBLE != "index"

    dependencies = [("customers", "0003_first_customer")]

    operations = [OPERATIONS[TROUBLE]]
