# The list, and then the commands of the migration, each of them once it is confirmed.
import gc
import os
import select
import sys

from alembic.config import CommandLine
from sqlalchemy.engine import Engine

commands = {commands}
# The app itself sees end of input at once, as it would without us.
answers = os.fdopen(os.dup(0))
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def confirm():
    print('bastion-migrate: go on?', flush=True)
    if not select.select([answers], [], [], 300)[0]:
        sys.exit('the migration was not confirmed in time')
    if answers.readline() != 'yes\n':
        os._exit(0)


def let_write():
    # Up to here every session was read-only; those that are opened from now on are not.
    if 'PGOPTIONS' in os.environ:
        only = ' -c default_transaction_read_only=on'
        os.environ['PGOPTIONS'] = (' ' + os.environ['PGOPTIONS']).replace(only, '').strip()
    for engine in [thing for thing in gc.get_objects() if isinstance(thing, Engine)]:
        engine.dispose()


# Python's first search path is the directory of its program, which is ours, or empty.
if '__file__' in globals():
    sys.path.pop(0)
sys.argv = ['alembic', *{applied}]
exec({listing}, {})
if select.select([answers], [], [], 0)[0]:
    sys.exit('standard input has ended before the migration was confirmed')
for words in commands:
    confirm()
    let_write()
    sys.argv = ['alembic', *words]
    CommandLine(prog='alembic').main(words)
