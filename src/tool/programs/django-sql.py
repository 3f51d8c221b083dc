# showmigrations --plan, the SQL of the pending migrations, and other commands.
import contextlib
import json
import os
import sys
import traceback

from django.core.management import ManagementUtility, call_command
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor

call_command('showmigrations', '--plan', skip_checks=False)

mark = '{mark}'.replace('-', '')
output = sys.stdout
# The migrations that every tenant has applied.
applied_by_tenants = {applied}
also = {also}
CODE = 'Python code'


class Unknown(Exception):
    pass


class Printer:
    # Bytes of SQL.
    room = 4 << 20
    count = 0

    def print_record(self, record):
        text = json.dumps(record)
        for start in range(0, len(text), 8000):
            print(mark, text[start:start + 8000], file=output)
        print(mark, file=output, flush=True)

    def print_script(self, **record):
        if len(record.get('sql', '')) > self.room:
            record.update(sql='', everything='its SQL is too long to be shown')
        self.room -= len(record.get('sql', ''))
        self.count += 1
        self.print_record(record)

    def print_end(self):
        self.print_record({'scripts': self.count})


def has_code(operation):
    inner = getattr(operation, 'database_operations', None) or ()
    return not operation.reduces_to_sql or any(map(has_code, inner))


def in_stable_order(texts):
    # Django takes them from sets, which Python orders anew in each start.
    return sorted(texts, key=lambda text: (' ADD CONSTRAINT ' in text or text.startswith('CREATE '), text))


class Plan:
    # The texts that come before the current operation, and whether some of them are unknown.
    def __init__(self):
        self.texts = []
        self.has_gaps = False

    # Django asks the database for the names of the constraints that it drops. Where an earlier pending migration creates
    # them, it finds none, and leaves the statement out.
    def watch_names(self, editor):
        find_names = editor._constraint_names

        def find_known_names(model, *words, **options):
            names = find_names(model, *words, **options)
            table = '"%s"' % model._meta.db_table
            if not names and (self.has_gaps or any(table in text for text in self.texts)):
                raise Unknown('it drops constraints whose names are known only after the migrations before it')
            return names

        editor._constraint_names = find_known_names

    def collect(self, migration, state):
        has_hidden_code = False
        with connection.schema_editor(collect_sql=True, atomic=migration.atomic) as editor:
            is_whole = bool(editor.atomic_migration)
            if is_whole:
                with connection.cursor() as cursor:
                    cursor.execute('SET TRANSACTION READ ONLY')
            self.watch_names(editor)
            lines = editor.collected_sql
            for operation in migration.operations:
                lines.append('-- ' + ' '.join(operation.describe().split()))
                if has_code(operation):
                    has_hidden_code = True
                    lines.append('-- runs %s, which is not shown' % CODE)
                    operation.state_forwards(migration.app_label, state)
                    continue
                start = len(lines)
                before = state.clone()
                operation.state_forwards(migration.app_label, state)
                work = (migration.app_label, editor, before, state)
                if not is_whole and operation.atomic:
                    lines.append('BEGIN;')
                    with transaction.atomic(connection.alias):
                        operation.database_forwards(*work)
                    lines.append('COMMIT;')
                else:
                    operation.database_forwards(*work)
                if type(operation).__name__ in ('AlterUniqueTogether', 'AlterIndexTogether'):
                    lines[start:] = in_stable_order(lines[start:])
                self.texts += lines[start:]
            start = len(lines)
        # At its end the editor adds the deferred statements.
        lines[start:] = in_stable_order(lines[start:])
        self.texts += lines[start:]
        return {'sql': '\n'.join(lines) + '\n', 'whole': is_whole, 'code': [CODE] * has_hidden_code}

    def print_all(self, printer, schema, applied):
        executor = MigrationExecutor(connection)
        graph = executor.loader.graph
        plan = [migration for migration, _ in executor.migration_plan(graph.leaf_nodes(), clean_start=True)]
        names = {migration: '%s.%s' % (migration.app_label, migration.name) for migration in plan}
        if applied is None:
            applied = {'%s.%s' % key for key in executor.loader.applied_migrations}
        left = [migration for migration in plan if names[migration] not in applied]
        state = executor._create_project_state()
        for migration in plan:
            if not left:
                break
            if migration not in left:
                migration.mutate_state(state, preserve=False)
                continue
            left.remove(migration)
            state.apps
            before = state.clone()
            try:
                script = self.collect(migration, state)
            except Exception as error:
                self.has_gaps = True
                state = migration.mutate_state(before, preserve=False)
                reason = str(error) if isinstance(error, Unknown) else '%s: %s' % (type(error).__name__, error)
                script = {'everything': ' '.join(reason.split())[:500]}
            printer.print_script(name=names[migration], schema=schema, **script)


def print_scripts():
    printer = Printer()
    if hasattr(connection, 'set_schema_to_public'):
        from django_tenants.utils import get_public_schema_name, has_multi_type_tenants

        if has_multi_type_tenants():
            printer.print_record({'everything': 'the tenants have several types, whose SQL differs'})
            return
        connection.set_schema_to_public()
        Plan().print_all(printer, get_public_schema_name(), None)
        # One stands for all: they differ in nothing but their names.
        connection.set_schema(tenant_schema())
        Plan().print_all(printer, None, set(applied_by_tenants))
        connection.set_schema_to_public()
    else:
        Plan().print_all(printer, None, None)
    printer.print_end()


def tenant_schema():
    from django_tenants.utils import get_public_schema_name, get_tenant_model

    others = get_tenant_model().objects.exclude(schema_name=get_public_schema_name())
    try:
        with transaction.atomic():
            first = others.order_by('schema_name').values_list('schema_name', flat=True).first()
    except Exception:
        # The table of tenants may be pending itself.
        first = None
    return first or 'bastion_migrate_tenant'


def run(words):
    argv = [sys.argv[0], *words]
    try:
        ManagementUtility(argv).fetch_command(words[0]).run_from_argv(argv)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if '{scripts}' == 'yes':
    try:
        # Lines of the app's own code could be read as lines of the list.
        with open(os.devnull, 'w') as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            print_scripts()
    except (Exception, SystemExit) as error:
        Printer().print_record({'everything': ' '.join(('%s: %s' % (type(error).__name__, error)).split())[:500]})
for number, words in enumerate(also):
    code = run(words)
    sys.stdout.flush()
    Printer().print_record({'command': number, 'code': code})
