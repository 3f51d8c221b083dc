//! What a user may rely on wherever the migration runs. A behaviour is written once; each place brings its own picture of it:
//! files in the action, the application's tool in its image, the application's tool on its server.

use crate::{
    action::{self, Action},
    app::{DJANGO_5_2, MIGRATIONS as OF_APP, TROUBLE as OF_TROUBLE},
    judge::Finished,
    lab::{
        Lab,
        project::Project,
        server::{BACKEND, Server},
        venv,
    },
    network::{self, shared},
    process::poll,
    running,
    step::Step,
};

use rustix::process::Signal;
use std::time::Duration;

/// From a cancel to the end.
const BUDGET: Duration = Duration::from_secs(7);
/// Until a tool has started and come to its last migration.
const PATIENCE: Duration = Duration::from_secs(40);

/// The same migrations as files.
const FILES: [(&str, &str); 5] = [
    ("0001_carriers", "create table carriers_carrier (id int primary key, name text unique);\n"),
    (
        "0002_suppliers",
        "create table suppliers_supplier (id int primary key, carrier int references carriers_carrier);\n",
    ),
    ("0003_customers", "create table customers_customer (id int primary key, name text);\n"),
    ("0004_region", "alter table customers_customer add region text not null default 'unknown';\n"),
    ("0005_first_customer", "insert into carriers_carrier values (1, 'Cold Chain');\n"),
];

/// The migration with something wrong in it.
const FILE_OF_TROUBLE: &str = "0006_trouble";

/// What is wrong with the last migration, which is there only then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// It asks for a table that is not there.
    MissingTable,
    /// It takes this many seconds.
    Slow(u32),
    /// The tool says that it has applied it, and has not.
    Lie,
}

/// Where the migration runs, and all that has to be there for it.
#[derive(Debug)]
enum Place {
    Sql(Lab),
    Image(network::Database),
    Server(Lab, Box<Server>),
}

/// A step that runs there.
enum Running<'a> {
    OnLoopback(Box<action::Running<'a>>),
    InNetwork(Box<running::Running<'a>>),
}

impl Running<'_> {
    fn wait_for_line(&self, text: &str) {
        match self {
            Self::OnLoopback(running) => running.wait_for_line(text, PATIENCE),
            Self::InNetwork(running) => running.wait_for_line(text),
        }
    }

    fn finish(self) -> Finished {
        match self {
            Self::OnLoopback(running) => running.finish(),
            Self::InNetwork(running) => running.finish().finished,
        }
    }

    fn cancel(self) -> Finished {
        match self {
            Self::OnLoopback(running) => {
                running.signal(Signal::INT);
                running.finish()
            }
            Self::InNetwork(running) => running.cancel().finished,
        }
    }
}

impl Place {
    /// Where there is a tool that can be wrong about itself.
    fn with_a_tool() -> [Self; 2] {
        let lab = Lab::new();
        let server = Server::start().project(Project::Plain, &lab.database, venv::DJANGO_5_2);
        [Self::Image(shared().database()), Self::Server(lab, Box::new(server))]
    }

    /// Each with an empty database.
    fn all() -> impl Iterator<Item = Self> {
        [Self::Sql(Lab::new())].into_iter().chain(Self::with_a_tool())
    }

    fn start(&self, trouble: Trouble, inputs: &[(&str, &str)]) -> Running<'_> {
        match self {
            Self::Sql(lab) => {
                let files = FILES.iter().map(|(name, sql)| (*name, (*sql).to_owned()));
                let last = sql_of(trouble).map(|sql| (FILE_OF_TROUBLE, sql));
                let step = files
                    .chain(last)
                    .fold(Action::new(lab), |step, (name, sql)| step.file(&format!("migrations/{name}.sql"), sql));
                let told = inputs.iter().fold(step, |step, (name, value)| step.input(name, *value));
                Running::OnLoopback(Box::new(told.start()))
            }
            Self::Image(database) => {
                let step = environment(trouble)
                    .into_iter()
                    .fold(Step::of_app(database, DJANGO_5_2), |step, line| step.hands_over(&line));
                let told = inputs.iter().fold(step, |step, (name, value)| step.input(name, *value));
                Running::InNetwork(Box::new(told.start()))
            }
            Self::Server(lab, server) => {
                let step = Action::on_server(lab, server).secret("database-url", lab.database.url());
                let step = step.input("tool", "django").input("working-directory", BACKEND);
                let step =
                    step.input("setup", "source ../venv/bin/activate").input("env", environment(trouble).join("\n"));
                let told = inputs.iter().fold(step, |step, (name, value)| step.input(name, *value));
                Running::OnLoopback(Box::new(told.start()))
            }
        }
    }

    fn run(&self, trouble: Trouble) -> Finished {
        self.start(trouble, &[]).finish()
    }

    /// What it applies when nothing is wrong.
    fn names(&self) -> Vec<&'static str> {
        match self {
            Self::Sql(_) => FILES.map(|(name, _)| name).to_vec(),
            Self::Image(_) | Self::Server(..) => OF_APP.to_vec(),
        }
    }

    /// The migration with something wrong in it.
    fn last(&self) -> &'static str {
        match self {
            Self::Sql(_) => FILE_OF_TROUBLE,
            Self::Image(_) | Self::Server(..) => OF_TROUBLE,
        }
    }

    /// How a migration that fails is called.
    fn failure(&self) -> &'static str {
        match self {
            Self::Sql(_) => "statement-failed",
            Self::Image(_) | Self::Server(..) => "tool-failed",
        }
    }

    fn sql(&self, statements: &str) -> String {
        match self {
            Self::Sql(lab) | Self::Server(lab, _) => lab.database.sql(statements),
            Self::Image(database) => database.sql(statements),
        }
    }

    /// Waits until the slow migration is at work.
    fn until_it_sleeps(&self) {
        let sleeps =
            "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()";
        poll(PATIENCE, || (self.sql(sleeps) == "1").then_some(()))
            .unwrap_or_else(|| panic!("{self:?}: the slow migration never began"));
    }
}

fn sql_of(trouble: Trouble) -> Option<String> {
    match trouble {
        Trouble::None | Trouble::Lie => None,
        Trouble::MissingTable => Some("create table trouble_half (); select * from trouble_nowhere;\n".to_owned()),
        Trouble::Slow(seconds) => Some(format!("create table trouble_slow (); select pg_sleep({seconds});\n")),
    }
}

/// Lines of the input `env`.
fn environment(trouble: Trouble) -> Vec<String> {
    let named = |name: &str| vec![format!("APP_TROUBLE={name}")];
    match trouble {
        Trouble::None => Vec::new(),
        Trouble::MissingTable => named("missing-table"),
        Trouble::Lie => named("lie"),
        Trouble::Slow(seconds) => [named("slow"), vec![format!("APP_SECONDS={seconds}")]].concat(),
    }
}

#[test]
fn a_fresh_database_is_migrated_and_then_there_is_nothing_to_do() {
    for place in Place::all() {
        place.run(Trouble::None).succeeds().applied(place.names()).done();
        assert_eq!(place.sql("select name from carriers_carrier"), "Cold Chain");
        place.run(Trouble::None).nothing_to_do().done();
    }
}

#[test]
fn looking_writes_nothing_and_names_what_is_pending() {
    for place in Place::all() {
        for command in ["plan", "status"] {
            place.start(Trouble::None, &[("command", command)]).finish().pends().pending(place.names()).done();
        }
        place
            .start(Trouble::None, &[("command", "verify")])
            .finish()
            .fails("verify-pending", 7)
            .pending(place.names())
            .done();
        assert_eq!(place.sql("select count(*) from pg_class where relnamespace = 'public'::regnamespace"), "0");
    }
}

#[test]
fn a_migration_that_fails_leaves_nothing_of_itself_and_all_before_it() {
    for place in Place::all() {
        let told = place.run(Trouble::MissingTable).fails(place.failure(), 6);
        let told =
            told.applied(place.names()).pending([place.last()]).says("relation \"trouble_nowhere\" does not exist");
        match place {
            Place::Sql(_) => told.annotation("migrations/0006_trouble.sql", 1, "trouble_nowhere").done(),
            Place::Image(_) | Place::Server(..) => told.done(),
        }
        assert_eq!(place.sql("select to_regclass('trouble_half')"), "");
        place.run(Trouble::None).nothing_to_do().done();
    }
}

#[test]
fn of_two_runs_one_works_and_the_other_is_told_of_it() {
    for place in Place::all() {
        place.run(Trouble::None).succeeds().applied(place.names()).done();
        let first = place.start(Trouble::Slow(8), &[]);
        place.until_it_sleeps();
        let second = place.start(Trouble::Slow(8), &[("lock-wait", "1s")]);
        // What the first still holds would be taken for the second one's.
        second.wait_for_line("lock-held in lock: ");
        first.finish().succeeds().applied([place.last()]).done();
        let told = match place {
            Place::Sql(_) | Place::Image(_) => "the run lock is held by the run",
            Place::Server(..) => "another run is using this directory on the server",
        };
        second.finish().fails("lock-held", 4).says(told).done();
    }
}

#[test]
fn a_run_that_is_cancelled_takes_its_work_back_and_the_next_one_goes_on() {
    for place in Place::all() {
        place.run(Trouble::None).succeeds().applied(place.names()).done();
        let running = place.start(Trouble::Slow(60), &[]);
        place.until_it_sleeps();
        running.cancel().fails("cancelled", 130).pending([place.last()]).within(BUDGET).done();
        assert_eq!(place.sql("select to_regclass('trouble_slow')"), "");
        place.run(Trouble::Slow(0)).succeeds().applied([place.last()]).done();
    }
}

#[test]
fn a_tool_that_says_what_is_not_true_is_not_believed() {
    for place in Place::with_a_tool() {
        place.run(Trouble::None).succeeds().applied(place.names()).done();
        let told = place.run(Trouble::Lie).fails("verify-pending", 7).pending([place.last()]);
        told.says("begun carriers.0001_initial\n").done();
    }
}
