//! Steps around the migration, and the traces by which their number is known.

use crate::{
    action::Action,
    lab::{login::HomeSnapshot, server::Server},
    look::Sql,
};

/// The configuration file.
const CONFIG: &str = "before:
  - { name: Announce, executor: server, run: 'echo before >> steps; sleep 0.1; echo announced' }
  - { name: Mark, sql: db/before.sql }
after:
  - { name: Thank, executor: server, run: 'echo after >> steps; sleep 0.1; echo thanked' }
  - { name: Count, sql: db/after.sql }
  - { name: Alarm, executor: server, when: failure, run: 'echo failure >> steps' }
";

/// Number of times that the SQL files of the steps took effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StepCounts {
    before: u64,
    after: u64,
}

/// Adds the steps.
pub(crate) fn add(step: Action<'_>) -> Action<'_> {
    step.file(".github/bastion-migrate.yml", CONFIG)
        .file("db/before.sql", "insert into marks values (0, -1)")
        .file("db/after.sql", "insert into marks values (0, -2)")
}

/// Reads the traces of the SQL files.
pub(crate) fn read(sql: Sql<'_>) -> StepCounts {
    let count = |statement: i32| {
        let rows = sql(&format!("select count(*) from marks where version = 0 and statement = {statement}"));
        rows.parse().expect("a count is a number")
    };
    StepCounts { before: count(-1), after: count(-2) }
}

impl StepCounts {
    /// Checks the steps of a run: those before a migration have come before it, and those after it once after a success;
    /// returns the violations.
    pub(crate) fn check_run(self, later: Self, ended: &str, has_migrated: bool) -> Vec<String> {
        let new = Self { before: later.before.wrapping_sub(self.before), after: later.after.wrapping_sub(self.after) };
        let mut wrong = Vec::new();
        let mut require = |holds: bool, violation: &str| {
            wrong.extend((!holds).then(|| format!("{violation}: {ended}, {new:?}")));
        };
        require(new.before <= 1 && new.after <= 1, "a step took effect twice");
        require(new.before == 1 || !has_migrated, "a migration was applied without the step before it");
        require(new.after <= new.before, "the step after the migration came without the one before it");
        if ["success", "nothing-to-do"].contains(&ended) {
            require(new.after == 1, "the step after a success is missing");
        }
        wrong
    }
}

/// Lists what is left on the server besides the lines of the commands.
pub(crate) fn rest_on(server: &Server, before: &HomeSnapshot) -> Vec<String> {
    let left = server.left_behind(before).into_iter().filter(|rest| !rest.ends_with(": ~/steps"));
    left.map(|rest| format!("left on the server: {rest}")).collect()
}
