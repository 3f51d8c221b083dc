# history, the SQL of the pending revisions in Alembic's offline mode, and other commands. The arguments are the revisions in
# the ledger.
import contextlib
import json
import logging
import sys
import traceback

from alembic.config import CommandLine
from alembic.ddl.impl import DefaultImpl
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

mark = '{mark}'.replace('-', '')
output = sys.stdout
also = {also}
CODE = 'Python code'
# Each failed revision costs another run of env.py.
MOST_RUNS = 20


class History(CommandLine):
    def run_cmd(self, config, options):
        self.config = config
        super().run_cmd(config, options)


# A stream that is silent for a while. Handlers of logging that env.py opens meanwhile stay bound to it.
class Switch:
    is_silent = True

    def __init__(self, stream):
        self.stream = stream

    def write(self, text):
        return len(text) if self.is_silent else self.stream.write(text)

    def __getattr__(self, name):
        return getattr(self.stream, name)


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


class Scripts:
    def __init__(self, config):
        self.config = config
        self.directory = ScriptDirectory.from_config(config)
        # By revision: the statements, and whether code has asked for the database.
        self.texts = {}
        self.has_code = {}
        self.failures = {}
        self.current = None
        self.has_title_ahead = False
        self.watch()

    def watch(self):
        self.originals = DefaultImpl.static_output, Operations.get_bind
        get_bind = Operations.get_bind

        def keep_text(impl, text):
            # The first comment has the revision's title, which is not a part of its SQL.
            is_title = self.has_title_ahead and text.startswith('-- Running upgrade ')
            if is_title:
                self.has_title_ahead = False
            elif self.current:
                self.texts[self.current].append(text)

        def note_code(operations):
            if self.current:
                self.has_code[self.current] = True
            return get_bind(operations)

        DefaultImpl.static_output = keep_text
        Operations.get_bind = note_code

    def unwatch(self):
        DefaultImpl.static_output, Operations.get_bind = self.originals

    def run(self, heads):
        done = list(heads)

        def steps(heads_before, context):
            for step in self.directory._upgrade_revs('heads', heads_before):
                # Alembic asks for the next step when it has written this one.
                script = step.revision
                self.current = script.revision
                self.has_title_ahead = True
                self.texts[self.current], self.has_code[self.current] = [], False
                yield step
                below = script._all_down_revisions
                done[:] = [head for head in done if head not in below] + [script.revision]
            self.current = None

        environment = EnvironmentContext(
            self.config, self.directory, fn=steps, as_sql=True, starting_rev=tuple(heads), destination_rev='heads'
        )
        try:
            with environment:
                self.directory.run_env()
        except (Exception, SystemExit) as error:
            if self.current is None or self.current in self.failures:
                raise
            reason = '%s: %s' % (type(error).__name__, error)
            self.failures[self.current] = ' '.join(reason.split())[:500]
            below = self.directory.get_revision(self.current)._all_down_revisions
            rest = [head for head in done if head not in below] + [self.current]
            self.current = None
            return rest

    def collect(self, heads):
        for _ in range(MOST_RUNS):
            heads = self.run(heads)
            if heads is None:
                break

    def print_all(self, printer):
        for revision, texts in self.texts.items():
            code = [CODE] * self.has_code[revision]
            if revision in self.failures:
                printer.print_script(name=revision, code=code, everything=self.failures[revision])
                continue
            if 'COMMIT;' in texts[1:-1] or 'BEGIN;' in texts[1:-1]:
                texts = ['BEGIN;'] * (texts[0] != 'BEGIN;') + texts + ['COMMIT;'] * (texts[-1] != 'COMMIT;')
                is_whole = False
            else:
                texts = [text for text in texts if text not in ('BEGIN;', 'COMMIT;')]
                is_whole = True
            printer.print_script(name=revision, sql='\n'.join(texts) + '\n', whole=is_whole, code=code)
        printer.print_end()


history = History(prog='alembic')
history.main(['history'])
sys.stdout.flush()


def print_scripts():
    scripts = Scripts(history.config)
    try:
        scripts.collect(sys.argv[1:])
    finally:
        scripts.unwatch()
    scripts.print_all(Printer())


def run(words):
    try:
        CommandLine(prog='alembic').main(words)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if '{scripts}' == 'yes':
    # Lines of env.py and of the revisions could be read as lines of the list, or as a migration that has started.
    logging.disable()
    out, err = Switch(sys.stdout), Switch(sys.stderr)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            print_scripts()
    except (Exception, SystemExit) as error:
        Printer().print_record({'everything': ' '.join(('%s: %s' % (type(error).__name__, error)).split())[:500]})
    out.is_silent = err.is_silent = False
    logging.disable(logging.NOTSET)
for number, words in enumerate(also):
    code = run(words)
    sys.stdout.flush()
    Printer().print_record({'command': number, 'code': code})
