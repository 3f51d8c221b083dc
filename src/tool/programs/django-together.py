# The list, and then the commands of the migration, each of them once it is confirmed.
import builtins, os, runpy, select, sys

manage = {manage}
commands = {commands}
# The app itself sees end of input at once, as it would without us.
answers = os.fdopen(os.dup(0))
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
importing = builtins.__import__


def importing_django(*names, **more):
    sys.argv[0] = manage[1] if len(manage) == 2 else sys.argv[0]
    module = importing(*names, **more)
    base = sys.modules.get('django.core.management.base')
    if hasattr(base, 'BaseCommand') and builtins.__import__ is not importing:
        builtins.__import__ = importing
        list_before(base.BaseCommand)
    return module


def let_write():
    # Up to here every session was read-only; those that are opened from now on are not.
    if 'PGOPTIONS' in os.environ:
        only = ' -c default_transaction_read_only=on'
        os.environ['PGOPTIONS'] = (' ' + os.environ['PGOPTIONS']).replace(only, '').strip()
    from django.db import connections
    for connection in connections.all():
        if connection.vendor != 'postgresql':
            continue
        if getattr(connection, 'pool', None):
            connection.close()
            connection.close_pool()
        elif connection.connection is not None:
            with connection.cursor() as cursor:
                cursor.execute('SET default_transaction_read_only = off')


def confirm():
    print('bastion-migrate: go on?', flush=True)
    if not select.select([answers], [], [], 300)[0]:
        os.write(2, b'the migration was not confirmed in time\n')
        os._exit(1)
    if answers.readline() != 'yes\n':
        os._exit(0)


def list_before(command):
    execute = command.execute

    def executing(*words, **options):
        command.execute = execute
        try:
            exec({listing}, {})
            if select.select([answers], [], [], 0)[0]:
                sys.exit('standard input has ended before the migration was confirmed')
        except BaseException:
            command.execute = executing
            raise
        confirm()
        let_write()
        return execute(*words, **options)

    command.execute = executing


builtins.__import__ = importing_django
# Python's first search path is the directory of its program, which is ours, or empty.
ours = os.path.dirname(os.path.realpath(__file__)) if '__file__' in globals() else ''
place = os.path.dirname(os.path.realpath(manage[1])) if len(manage) == 2 else os.getcwd()
sys.path = [place if path in ('', ours) else path for path in sys.path]
sys.argv = [manage[1], *commands[0]]
if len(manage) == 2:
    runpy.run_path(os.path.abspath(manage[1]), run_name='__main__')
else:
    runpy.run_module(manage[2], run_name='__main__', alter_sys=True)
for words in commands[1:]:
    from django.core.management import ManagementUtility
    confirm()
    sys.argv = [sys.argv[0], *words]
    ManagementUtility(sys.argv).fetch_command(words[0]).run_from_argv(sys.argv)
