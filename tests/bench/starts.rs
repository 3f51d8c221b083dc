//! The cost of a run beside the work of an app that takes seconds to start, and the time until the action knows of the
//! end of a command.

use crate::{
    lab::{
        postgres::Database,
        project::Project,
        server::{BACKEND, Server},
        venv::DJANGO_5_2,
    },
    program,
    sample::{Target, in_turns, milliseconds},
    table::{Table, heading},
    world::World,
};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

/// The time that the app takes to start.
const START: &str = "3";

/// The target: seconds beside the app's own time.
const OVERHEAD: f64 = 0.3;

/// The target: milliseconds from the end of a command until the action knows of it.
const END: f64 = 20.0;

const RUNS: usize = 3;

/// Runs of the measurement of an end.
const ENDS: usize = 11;

/// The commands, in an order in which each has something to do, and what the app runs for them on the spot.
const COMMANDS: [(&str, &str); 5] = [
    ("plan", "showmigrations --plan"),
    ("migrate", "migrate --noinput"),
    ("status", "showmigrations --plan"),
    ("verify", "migrate --check"),
    ("rollback", "migrate customers 0001 --noinput"),
];

/// Who runs a command.
#[derive(Debug, Clone, Copy)]
enum Party {
    Action,
    Alone,
}

/// Prints the tables.
pub(crate) fn run() {
    let world = World::new();
    let database = &world.lab.database;
    let server = Server::start().project(Project::Plain, database, DJANGO_5_2);
    let app = App { world: &world, database, server };
    app.slow_down();
    compare_commands(&app);
    measure_ends(&app);
}

fn compare_commands(app: &App<'_>) {
    heading(
        "Starts of an app",
        "Seconds for each command with a Django project on a server whose start takes three seconds. *On the spot* is the one command of Django \
         that does the same in a shell there, with the same three seconds. The action connects, lists, takes the lock, reads the ledger before \
         and after, and reports, all in one start. No distance.",
    );
    // Its own apps and the first half of the migrations.
    app.run_alone("migrate --noinput");
    app.run_alone("migrate customers 0001 --noinput");
    let mut table = Table::new(["command", "runs", "the action, s", "on the spot, s", "more, s", "target"]);
    let [ours, theirs] = in_turns(RUNS, [Party::Action, Party::Alone], |party| {
        COMMANDS.map(|(command, line)| {
            let began = Instant::now();
            match party {
                Party::Action => app.run_action(command),
                Party::Alone => app.run_alone(line),
            }
            began.elapsed().as_secs_f64()
        })
    });
    for (((command, _), ours), theirs) in COMMANDS.into_iter().zip(&ours).zip(&theirs) {
        let more = ours.median() - theirs.median();
        table.row([
            command.to_owned(),
            RUNS.to_string(),
            ours.to_string(),
            theirs.to_string(),
            format!("{more:.2}"),
            format!("{} of {OVERHEAD} s", Target::AtMost(1.0).judge(more / OVERHEAD)),
        ]);
    }
    table.print();
}

fn measure_ends(app: &App<'_>) {
    heading(
        "The end of a command",
        "Milliseconds from the last act of a command on the server, which notes its time, until the action's log shows that it has ended. No distance.",
    );
    let [[end]] = in_turns(ENDS, [()], |()| {
        let mut step = app.step("migrate");
        // GNU date has nanoseconds.
        step.env("INPUT_TOOL", "custom").env("INPUT_RUN", "sleep 0.7; date +%s%N >~/ended").stdout(Stdio::piped());
        [app.milliseconds_to_know(step)]
    });
    let mut table = Table::new(["runs", "time, ms", "target"]);
    let verdict = Target::AtMost(1.0).judge(end.median() / END);
    table.row([ENDS.to_string(), end.to_string(), format!("{verdict} of {END} ms")]);
    table.print();
}

/// The app on its server.
struct App<'w> {
    world: &'w World,
    database: &'w Database,
    server: Server,
}

impl App<'_> {
    /// Makes each start of it take its time.
    fn slow_down(&self) {
        let path = self.server.path(&format!("{BACKEND}/backend/settings/production.py"));
        let text = fs::read_to_string(&path).expect("it is there");
        fs::write(&path, format!("import time\ntime.sleep({START})\n{text}")).expect("there is room");
    }

    /// Runs a command of the app in a shell on the server.
    fn run_alone(&self, line: &str) {
        let url = self.database.url();
        let script =
            format!("set -eu\ncd ~/{BACKEND}\n. ../venv/bin/activate\nDATABASE_URL='{url}' python manage.py {line}\n");
        self.server.shell(&script).expect("the app runs");
    }

    fn run_action(&self, command: &str) {
        let status = self.step(command).status().expect("the program is built");
        // A plan with something to do ends with 0 as well.
        assert!(status.success(), "{command}: {status}");
    }

    fn step(&self, command: &str) -> Command {
        let mut step = program::django_step(self.world, self.database, command, &self.server);
        step.stdout(Stdio::null());
        if command == "rollback" {
            step.env("INPUT_TARGET", "customers 0001");
        }
        step
    }

    /// Returns the time from the end of the command in a step, which it has written into `~/ended`, to the next line of the log.
    fn milliseconds_to_know(&self, mut step: Command) -> f64 {
        let mut child = step.spawn().expect("the program is built");
        let lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines().map_while(Result::ok);
        let arrivals: Vec<Duration> = lines.map(|_| since_the_epoch()).collect();
        assert!(child.wait().expect("it ends").success(), "the command succeeds");
        let noted = fs::read_to_string(self.server.path("ended")).expect("the command has noted its end");
        let ended = Duration::from_nanos(noted.trim().parse().expect("a number of nanoseconds"));
        let next = arrivals.into_iter().find(|arrival| *arrival > ended).expect("the log goes on");
        milliseconds(next - ended)
    }
}

fn since_the_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the clock is right")
}
