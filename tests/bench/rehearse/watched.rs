//! The cost of watching a tool: the time of its process and of its migrations alone in the round that is watched, beside the last
//! round of the same rehearsal, which applies them once more through the same listener and is not watched.

use crate::{
    lab::{
        postgres::{Database, Login, Options, Postgres, Tls},
        project::Project,
        server::{BACKEND, Server},
        venv::DJANGO_5_2,
    },
    program,
    sample::{Sample, Target},
    table::{Table, heading},
    world::World,
};
use std::{fs, process::Stdio};

const RUNS: usize = 5;

/// The most that a watched round may take of the same round unwatched.
const OVERHEAD: f64 = 1.2;

/// Statements of the loop, one by one.
const LOOP: u32 = 6_000;

/// Migrations of the plain app.
const MIGRATIONS: u32 = 20;

/// Notes the time between two moments of the migrations, and that since the start of the process (field 22 of `stat`, proc(5)),
/// in the home of the server's user.
const CLOCK: &str = "import atexit, os, time\n\
    began = 0\n\
    def note(time):\n\
    \x20   with open(os.path.expanduser('~/times'), 'a') as times:\n\
    \x20       times.write('%f\\n' % time)\n\
    def note_whole():\n\
    \x20   started = int(open('/proc/self/stat').read().rsplit(')')[-1].split()[19]) / os.sysconf('SC_CLK_TCK')\n\
    \x20   note(time.clock_gettime(time.CLOCK_BOOTTIME) - started)\n\
    def begin(apps, editor):\n\
    \x20   global began\n\
    \x20   began = time.monotonic()\n\
    def end(apps, editor):\n\
    \x20   note(time.monotonic() - began)\n\
    \x20   atexit.register(note_whole)\n";

/// An app and what its migrations are.
#[derive(Debug, Clone, Copy)]
enum App {
    /// One with a loop of single statements in one transaction.
    Loop,
    /// The same, outside of a transaction.
    LoopInAutocommit,
    /// Many with a table, a column and an index each.
    Plain,
}

/// Prints the table.
pub(super) fn run() {
    heading(
        "Watching a tool",
        "`command: rehearse` of Django 5.2 on a server. *Watched* is the time of the round that is watched, *unwatched* that of the last round, which \
         applies the migrations once more over the same way. Both rounds are in one run. *The process* is all of `manage.py migrate`, *its migrations* the \
         time from their first statement to their last one.",
    );
    let mut table = Table::new(["migrations", "time of", "runs", "watched, s", "unwatched, s", "watched / unwatched"]);
    let world = World::durable();
    let copies = Postgres::start(&Options { tls: Tls::Off, login: Login::Trust, settings: &["fsync = on"] });
    for app in [App::Loop, App::LoopInAutocommit, App::Plain] {
        let database = world.lab.database.server().database();
        let server = with_app(Server::start().project(Project::Plain, &database, DJANGO_5_2), app);
        let own = "for app in carriers suppliers customers; do python manage.py migrate $app --noinput; done";
        let url = database.url();
        let script = format!("set -eu\ncd ~/{BACKEND}\n. ../venv/bin/activate\nexport DATABASE_URL='{url}'\n{own}\n");
        server.shell(&script).expect("its own apps migrate");
        // The first run warms everything up.
        let runs = (0..=RUNS).map(|_| rehearse(&world, &copies, (&database, &server))).skip(1);
        let runs: Vec<[RoundTimes; 2]> = runs.collect();
        for kind in [TimeOf::Process, TimeOf::Migrations] {
            let watched = Sample::of(runs.iter().map(|[watched, _]| kind.of(watched)).collect());
            let unwatched = Sample::of(runs.iter().map(|[_, unwatched]| kind.of(unwatched)).collect());
            let ratio = Target::AtMost(OVERHEAD).judge(watched.over(&unwatched));
            let [watched, unwatched] = [watched, unwatched].map(|sample| sample.to_string());
            table.row([app.name(), kind.name().to_owned(), RUNS.to_string(), watched, unwatched, ratio]);
        }
    }
    table.print();
}

impl App {
    fn name(self) -> String {
        match self {
            Self::Loop => format!("a loop of {LOOP} statements in a transaction"),
            Self::LoopInAutocommit => format!("a loop of {LOOP} statements outside of one"),
            Self::Plain => format!("{MIGRATIONS} migrations with a table, a column and an index each"),
        }
    }

    /// Returns the names and the texts of its migrations.
    fn migrations(self) -> Vec<(String, String)> {
        let migration = |attributes: &str, operations: &str| {
            format!(
                "from django.db import migrations, models\nfrom big.clock import begin, end\n\
                 def fill(apps, editor):\n\
                 \x20   with editor.connection.cursor() as cursor:\n\
                 \x20       for number in range({LOOP}):\n\
                 \x20           cursor.execute('insert into looped (n, note) values (%s, %s)', [number, 'note'])\n\
                 class Migration(migrations.Migration):\n    {attributes}\n    operations = [{operations}]\n"
            )
        };
        let code = |name: &str| format!("migrations.RunPython({name}, migrations.RunPython.noop)");
        let looped = [code("begin"), code("fill"), code("end")].join(", ");
        let created = "migrations.RunSQL('create table looped (n int, note text)', 'drop table looped')";
        match self {
            Self::Loop => vec![("0001_loop".to_owned(), migration("initial = True", &format!("{created}, {looped}")))],
            Self::LoopInAutocommit => {
                vec![("0001_loop".to_owned(), migration("atomic = False", &format!("{created}, {looped}")))]
            }
            Self::Plain => (1..=MIGRATIONS)
                .map(|number| {
                    let last = format!("dependencies = [('big', '{:04}_plain')]", number - 1);
                    let fields = "fields=[('id', models.BigAutoField(primary_key=True)), ('note', models.CharField(max_length=40))]";
                    let changes = format!(
                        "migrations.CreateModel(name='Thing{number}', {fields}), \
                         migrations.AddField('Thing{number}', 'total', models.IntegerField(default=0)), \
                         migrations.AddIndex('Thing{number}', models.Index(fields=['note'], name='thing_{number}'))"
                    );
                    let operations = match number {
                        1 => format!("{}, {changes}", code("begin")),
                        MIGRATIONS => format!("{changes}, {}", code("end")),
                        _ => changes,
                    };
                    let attributes = if number == 1 { "initial = True" } else { last.as_str() };
                    (format!("{number:04}_plain"), migration(attributes, &operations))
                })
                .collect(),
        }
    }
}

fn with_app(server: Server, app: App) -> Server {
    let settings = format!("{BACKEND}/backend/settings/production.py");
    let text = fs::read_to_string(server.path(&settings)).expect("it is there");
    let server = server.file(&settings, format!("{text}\nINSTALLED_APPS = [*INSTALLED_APPS, 'big']\n"));
    let server = server.file(&format!("{BACKEND}/big/__init__.py"), "").file(&format!("{BACKEND}/big/clock.py"), CLOCK);
    let server = server.file(&format!("{BACKEND}/big/migrations/__init__.py"), "");
    app.migrations()
        .into_iter()
        .fold(server, |server, (name, text)| server.file(&format!("{BACKEND}/big/migrations/{name}.py"), text))
}

/// The times of a round, in seconds.
#[derive(Debug, Clone, Copy)]
struct RoundTimes {
    migrations: f64,
    process: f64,
}

/// A time of a round.
#[derive(Debug, Clone, Copy)]
enum TimeOf {
    Process,
    Migrations,
}

impl TimeOf {
    const fn name(self) -> &'static str {
        match self {
            Self::Process => "the process",
            Self::Migrations => "its migrations",
        }
    }

    const fn of(self, times: &RoundTimes) -> f64 {
        match self {
            Self::Process => times.process,
            Self::Migrations => times.migrations,
        }
    }
}

/// Rehearses the app. Returns the times of the round that is watched, and of the last one.
fn rehearse(world: &World, copies: &Postgres, (database, server): (&Database, &Server)) -> [RoundTimes; 2] {
    let noted = server.path("times");
    fs::write(&noted, "").expect("there is room");
    server.login().own(&noted);
    let mut step = program::django_step(world, database, "rehearse", server);
    let copy = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", copies.port());
    step.env("INPUT_LINT", "off").env("INPUT_REHEARSE", copy).stdout(Stdio::piped());
    let output = step.output().expect("the program starts");
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = fs::read_to_string(&noted).expect("the migrations note their time");
    let times: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let (rounds, rest) = times.as_chunks();
    match (rounds, rest) {
        ([watched, unwatched], []) => {
            [watched, unwatched].map(|[migrations, process]| RoundTimes { migrations: *migrations, process: *process })
        }
        _ => panic!("there are two rounds forward, and not {times:?}: {log}"),
    }
}
