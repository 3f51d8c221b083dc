//! Behaviours that hold wherever the migration runs. Each is tested once for all sites: SQL files in the action, the
//! application's tool in its image, the application's tool on its server.

use crate::{
    action::{self, Action},
    app::{DJANGO_5_2, MIGRATIONS as APP_MIGRATIONS, TROUBLE as APP_TROUBLE},
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

/// Time limit from a cancel to the end.
const BUDGET: Duration = Duration::from_secs(7);
/// Time limit for a tool to start and reach its last migration.
const PATIENCE: Duration = Duration::from_secs(40);

/// The application's migrations as SQL files.
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

/// The faulty migration as a file.
const FAULTY_FILE: &str = "0006_trouble";

/// The fault of an additional last migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// It uses a table that does not exist.
    MissingTable,
    /// It takes this many seconds.
    Slow(u32),
    /// The tool prints that it has applied it, and has not.
    Lie,
}

/// A place where the migration runs, with everything it needs.
#[derive(Debug)]
enum Site {
    Sql(Lab),
    Image(network::Database),
    Server(Lab, Box<Server>),
}

/// A running step at one of the sites.
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

impl Site {
    /// Returns the sites where a tool migrates.
    fn with_tool() -> [Self; 2] {
        let lab = Lab::new();
        let server = Server::start().project(Project::Plain, &lab.database, venv::DJANGO_5_2);
        [Self::Image(shared().database()), Self::Server(lab, Box::new(server))]
    }

    /// Returns all sites, each with an empty database.
    fn all() -> impl Iterator<Item = Self> {
        [Self::Sql(Lab::new())].into_iter().chain(Self::with_tool())
    }

    fn start(&self, trouble: Trouble, inputs: &[(&str, &str)]) -> Running<'_> {
        match self {
            Self::Sql(lab) => {
                let files = FILES.iter().map(|(name, sql)| (*name, (*sql).to_owned()));
                let last = sql_of(trouble).map(|sql| (FAULTY_FILE, sql));
                let step = files
                    .chain(last)
                    .fold(Action::new(lab), |step, (name, sql)| step.file(&format!("migrations/{name}.sql"), sql));
                let step = inputs.iter().fold(step, |step, (name, value)| step.input(name, *value));
                Running::OnLoopback(Box::new(step.start()))
            }
            Self::Image(database) => {
                let step = environment(trouble)
                    .into_iter()
                    .fold(Step::of_app(database, DJANGO_5_2), |step, line| step.pass_variable(&line));
                let step = inputs.iter().fold(step, |step, (name, value)| step.input(name, *value));
                Running::InNetwork(Box::new(step.start()))
            }
            Self::Server(lab, server) => {
                let step = Action::on_server(lab, server).secret("database-url", lab.database.url());
                let step = step.input("tool", "django").input("working-directory", BACKEND);
                let step =
                    step.input("setup", "source ../venv/bin/activate").input("env", environment(trouble).join("\n"));
                let step = inputs.iter().fold(step, |step, (name, value)| step.input(name, *value));
                Running::OnLoopback(Box::new(step.start()))
            }
        }
    }

    fn run(&self, trouble: Trouble) -> Finished {
        self.start(trouble, &[]).finish()
    }

    /// Returns the migrations without a fault.
    fn migrations(&self) -> Vec<&'static str> {
        match self {
            Self::Sql(_) => FILES.map(|(name, _)| name).to_vec(),
            Self::Image(_) | Self::Server(..) => APP_MIGRATIONS.to_vec(),
        }
    }

    /// Returns the faulty migration.
    fn faulty_migration(&self) -> &'static str {
        match self {
            Self::Sql(_) => FAULTY_FILE,
            Self::Image(_) | Self::Server(..) => APP_TROUBLE,
        }
    }

    /// Returns the fault code of a failed migration.
    fn failure_code(&self) -> &'static str {
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

    /// Waits until the slow migration sleeps.
    fn wait_until_sleeping(&self) {
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

/// Returns the lines of the input `env`.
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
fn a_fresh_database_is_migrated_and_a_second_run_has_nothing_to_do() {
    for site in Site::all() {
        site.run(Trouble::None).succeeds().applied(site.migrations()).done();
        assert_eq!(site.sql("select name from carriers_carrier"), "Cold Chain");
        site.run(Trouble::None).nothing_to_do().done();
    }
}

#[test]
fn read_only_commands_write_nothing_and_list_pending_migrations() {
    for site in Site::all() {
        for command in ["plan", "status"] {
            site.start(Trouble::None, &[("command", command)]).finish().has_pending().pending(site.migrations()).done();
        }
        site.start(Trouble::None, &[("command", "verify")])
            .finish()
            .fails("verify-pending", 7)
            .pending(site.migrations())
            .done();
        assert_eq!(site.sql("select count(*) from pg_class where relnamespace = 'public'::regnamespace"), "0");
    }
}

#[test]
fn a_failed_migration_is_rolled_back_and_earlier_ones_are_kept() {
    for site in Site::all() {
        let finished = site.run(Trouble::MissingTable).fails(site.failure_code(), 6);
        let finished = finished
            .applied(site.migrations())
            .pending([site.faulty_migration()])
            .logs("relation \"trouble_nowhere\" does not exist");
        match site {
            Site::Sql(_) => finished.annotation("migrations/0006_trouble.sql", 1, "trouble_nowhere").done(),
            Site::Image(_) | Site::Server(..) => finished.done(),
        }
        assert_eq!(site.sql("select to_regclass('trouble_half')"), "");
        site.run(Trouble::None).nothing_to_do().done();
    }
}

#[test]
fn a_second_run_fails_with_a_reason_while_the_first_one_works() {
    for site in Site::all() {
        site.run(Trouble::None).succeeds().applied(site.migrations()).done();
        let first = site.start(Trouble::Slow(8), &[]);
        site.wait_until_sleeping();
        let second = site.start(Trouble::Slow(8), &[("lock-wait", "1s")]);
        // The first run's sessions would count as left behind by the second.
        second.wait_for_line("lock-held in lock: ");
        first.finish().succeeds().applied([site.faulty_migration()]).done();
        let message = match site {
            Site::Sql(_) | Site::Image(_) => "the run lock is held by the run",
            Site::Server(..) => "another run is using this directory on the server",
        };
        second.finish().fails("lock-held", 4).logs(message).done();
    }
}

#[test]
fn a_cancelled_run_rolls_back_and_the_next_one_continues() {
    for site in Site::all() {
        site.run(Trouble::None).succeeds().applied(site.migrations()).done();
        let running = site.start(Trouble::Slow(60), &[]);
        site.wait_until_sleeping();
        running.cancel().fails("cancelled", 130).pending([site.faulty_migration()]).within(BUDGET).done();
        assert_eq!(site.sql("select to_regclass('trouble_slow')"), "");
        site.run(Trouble::Slow(0)).succeeds().applied([site.faulty_migration()]).done();
    }
}

#[test]
fn a_tools_false_success_message_is_not_believed() {
    for site in Site::with_tool() {
        site.run(Trouble::None).succeeds().applied(site.migrations()).done();
        let finished = site.run(Trouble::Lie).fails("verify-pending", 7).pending([site.faulty_migration()]);
        finished.logs("started carriers.0001_initial\n").done();
    }
}

#[test]
fn a_decision_about_the_last_migration_is_recorded_and_nothing_is_run() {
    for site in Site::all() {
        site.run(Trouble::None).succeeds().applied(site.migrations()).done();
        let last = site.migrations().pop().expect("there are migrations");
        let target = match site {
            Site::Sql(_) => "5",
            Site::Image(_) | Site::Server(..) => "customers 0003",
        };
        let decide = |decision| {
            let inputs = [("command", "resolve"), ("target", target), ("resolve", decision), ("allow", "ticket 4711")];
            site.start(Trouble::None, &inputs).finish()
        };
        decide("not-applied").succeeds().pending([last]).done();
        decide("not-applied").nothing_to_do().done();
        decide("applied").succeeds().applied([last]).done();
        site.run(Trouble::None).nothing_to_do().done();
        assert_eq!(site.sql("select name from carriers_carrier"), "Cold Chain");
        let reasons = "select count(*) from bastion_migrate.runs where reason = 'ticket 4711' and outcome = 'success'";
        assert_eq!(site.sql(reasons), "2");
    }
}
