//! The settings of a run against the copy: those of the original, with another database and without its surroundings.

use crate::{
    postgres::{ClientIdentity, DatabaseTarget, SslMode},
    proxy::ClientTls,
    random::random_token,
    secret::Secret,
    settings::{
        Command, DestructionPolicy, ExecutorSettings, ImageSettings, LintLevel, LintSettings, Policy, RiskSettings,
        SafetySettings, Settings, SqlSettings, StepSettings, ToolSettings,
    },
    way::WayIn,
};
use std::collections::BTreeSet;

/// A round of the program against the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyRound {
    /// The pending migrations are applied.
    Forward,
    /// The migrations after this one are rolled back; `0` is all.
    Back(String),
}

/// Returns the settings of a round. The approvals and refusals belong to the original, whose plan they are about. Each
/// setting is named, so that a new one has to be decided here.
#[must_use]
pub fn settings_for_copy(original: &Settings, database: DatabaseTarget, round: &CopyRound) -> Settings {
    let Settings {
        command: _,
        environment,
        executor,
        client_tls,
        route: _,
        way: _,
        database: _,
        stands_in_for,
        wait_timeout,
        sql,
        steps,
        env,
        image,
        server,
        safety,
        schema_file: _,
        aftercare: _,
        backup: _,
        rehearsal: _,
    } = known_as_original(original);
    let (command, sql) = match round {
        CopyRound::Forward => (Command::Migrate, sql),
        CopyRound::Back(target) => (Command::Rollback, SqlSettings { target: Some(target.clone()), ..sql }),
    };
    Settings {
        command,
        environment,
        executor: executor_for_round(executor, round),
        client_tls,
        route: None,
        way: WayIn::Direct,
        database: Some(database),
        stands_in_for,
        wait_timeout,
        sql,
        // Those in place of the tool's own command are the migration.
        steps: StepSettings { migrate: steps.migrate, ..StepSettings::default() },
        env,
        image,
        server,
        safety: safety_on_copy(safety),
        schema_file: None,
        aftercare: BTreeSet::new(),
        backup: None,
        rehearsal: None,
    }
}

/// Returns the limits of a round: those of time and of locks are kept, and what was decided about the original is not asked
/// for again.
fn safety_on_copy(original: SafetySettings) -> SafetySettings {
    let SafetySettings {
        timeout,
        lock_wait,
        lock_timeout,
        statement_timeout,
        retries,
        expect_plan: _,
        expect_rehearsal: _,
        start_when: _,
        lint: LintSettings { level: _, also, except, small_table },
        allowances,
        risk: RiskSettings { max: _, destructive: _, queries, plan_max_age: _, small_table: of_risk },
        audit: _,
        reason,
    } = original;
    SafetySettings {
        timeout,
        lock_wait,
        lock_timeout,
        statement_timeout,
        retries,
        expect_plan: None,
        expect_rehearsal: None,
        start_when: None,
        lint: LintSettings { level: LintLevel::Off, also, except, small_table },
        allowances,
        risk: RiskSettings {
            max: None,
            destructive: DestructionPolicy::Warn,
            queries,
            plan_max_age: None,
            small_table: of_risk,
        },
        audit: Policy::Refuse,
        reason,
    }
}

/// Returns the executor of a round: a tool gets the target of a rollback.
fn executor_for_round(executor: ExecutorSettings, round: &CopyRound) -> ExecutorSettings {
    match (executor, round) {
        (ExecutorSettings::Tool(tool), CopyRound::Back(target)) => {
            ExecutorSettings::Tool(Box::new(ToolSettings { target: Some(target.clone()), ..*tool }))
        }
        (executor, _) => executor,
    }
}

/// Returns the settings of a tool that knows the copy by the names of the original. Its password is another one: if a tool
/// finds the database itself after all, it gets in by no value of ours.
fn known_as_original(original: &Settings) -> Settings {
    let (ExecutorSettings::Tool(_), Some(database)) = (&original.executor, &original.database) else {
        return original.clone();
    };
    let password = Secret::new(random_token());
    let with_password = |images: &ImageSettings| {
        let url = images.database_url.as_ref().map(|url| url.with_password(&password).without_tls());
        ImageSettings { database_url: url, ..images.clone() }
    };
    Settings {
        image: original.image.as_ref().map(with_password),
        client_tls: ClientTls::Terminated,
        stands_in_for: Some(DatabaseTarget {
            password: Some(password.clone()),
            sslmode: SslMode::Disable,
            ca: None,
            options: None,
            role: None,
            identity: ClientIdentity::default(),
            ..database.clone()
        }),
        ..original.clone()
    }
}
