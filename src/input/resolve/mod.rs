//! Resolves the inputs: from texts to valid settings.

pub(crate) mod command;
mod commands;
pub(crate) mod container;
mod database;
pub(crate) mod environment;
pub(crate) mod health;
mod ssh;
mod steps;
mod tool;

pub(crate) use command::command;

use super::{
    findings::Findings,
    names::Name,
    parse::{
        Executor,
        value::{self, Misfit},
    },
    scope::{self, is_wanted},
    source::{Inputs, Variables},
};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    layout::{self, LayoutChoice},
    postgres::DatabaseTarget,
    settings::{Command, CommentPolicy, GithubSettings, Policy, SafetySettings, Settings, SqlSettings},
};
use command::executor;

const POLICIES: [(&str, Policy); 2] = [("refuse", Policy::Refuse), ("allow", Policy::Allow)];
const SWITCH: [(&str, Policy); 2] = [("true", Policy::Allow), ("false", Policy::Refuse)];
const COMMENTS: [(&str, CommentPolicy); 3] =
    [("never", CommentPolicy::Never), ("plan", CommentPolicy::Plan), ("always", CommentPolicy::Always)];

/// Resolves all settings; returns `None` after all faults are recorded.
pub(super) fn settings(
    inputs: &Inputs,
    environment: Option<&str>,
    runner: &Runner,
    variables: &Variables,
    findings: &mut Findings,
) -> Option<Settings> {
    let command = findings.keep(command(inputs));
    let executor = in_effect(inputs, command, findings.keep(executor(inputs)), findings);
    let route = if is_wanted(inputs) { ssh::read(inputs, findings).map(Some) } else { Some(None) };
    let database = database(inputs, command, executor, runner, findings);
    let safety = safety(inputs, findings);
    let known = commands::Known {
        command,
        executor,
        database: database.as_ref().and_then(Option::as_ref),
        retries: safety.as_ref().map_or(0, |safety| safety.retries),
        runner,
    };
    let calls = commands::read(inputs, &known, findings);
    // Without foreign commands, no variables are passed on.
    let is_called =
        command != Some(Command::Tunnel) && findings.faults.iter().all(|fault| !fault.cause.contains("`pass-env`"));
    let env = match is_called {
        true => findings.keep(environment::of(inputs, variables, known.database)),
        false => Some(Vec::new()),
    };
    let wait_timeout = findings.keep(inputs.required(Name::WaitTimeout, value::positive_duration));
    let sql = sql(inputs, executor, runner, findings);
    let github = github(inputs, findings);
    let (calls, database) = (calls?, database?);
    if let Some(step) = calls.steps.sql().filter(|_| database.is_none()) {
        let cause = format!("the step `{}` is SQL, and no database is given", step.name);
        findings.faults.push(inputs.missing(cause, &[Name::DatabaseUrl]));
    }
    Some(Settings {
        command: command?,
        place: calls.place,
        passage: container::passage(inputs),
        environment: environment.map(ToOwned::to_owned),
        route: route?,
        database,
        wait_timeout: wait_timeout?,
        sql: sql?,
        steps: calls.steps,
        env: env?,
        image: calls.image,
        server: calls.server,
        safety: safety?,
        github: github?,
    })
}

/// Records the faults of inputs that have no effect in this run. If the intended executor is in doubt, returns `None`,
/// so that one mistake is reported once.
fn in_effect(
    inputs: &Inputs,
    command: Option<Command>,
    executor: Option<Executor>,
    findings: &mut Findings,
) -> Option<Executor> {
    // Once the name or the file is corrected, the input may have an effect.
    if findings.faults.iter().any(|fault| fault.code == Code::InputUnknown || fault.place.is_some()) {
        return executor.filter(|_| inputs.is_given(Name::Executor) || !scope::is_about_a_tool(inputs));
    }
    if !is_wanted(inputs) && database::is_given(inputs) {
        findings.faults.extend(scope::beside_a_bastion(inputs));
    }
    let idle = command.map(|command| scope::beside_the_command(inputs, command)).unwrap_or_default();
    let is_tunnel = command == Some(Command::Tunnel);
    findings.faults.extend(idle);
    let nowhere = match executor.filter(|_| !is_tunnel) {
        Some(executor) => scope::beside_the_executor(inputs, executor),
        None => Vec::new(),
    };
    let in_doubt = !nowhere.is_empty() && !inputs.is_given(Name::Executor);
    findings.faults.extend(nowhere);
    executor.filter(|_| !in_doubt)
}

/// Resolves the database. It is optional with a deployment server, which may be the only one that knows it, but not for
/// a tunnel.
fn database(
    inputs: &Inputs,
    command: Option<Command>,
    executor: Option<Executor>,
    runner: &Runner,
    findings: &mut Findings,
) -> Option<Option<DatabaseTarget>> {
    let needless = command != Some(Command::Tunnel) && matches!(executor, None | Some(Executor::Server));
    if needless && !database::is_given(inputs) {
        return Some(None);
    }
    database::read(inputs, runner, findings).map(Some)
}

fn layout_choice(text: &str) -> Result<LayoutChoice, Misfit> {
    let named = layout::ALL.map(|layout| (layout.name(), LayoutChoice::Named(layout)));
    value::choice(text, &[&[("auto", LayoutChoice::Auto)], &named[..]].concat())
}

fn sql(inputs: &Inputs, executor: Option<Executor>, runner: &Runner, findings: &mut Findings) -> Option<SqlSettings> {
    let written = findings.keep(inputs.required(Name::Migrations, |text| Ok(text.to_owned())));
    let layout = findings.keep(inputs.required(Name::Layout, layout_choice));
    let ledger_table = findings.keep(inputs.optional(Name::LedgerTable, value::table));
    // A tool's target is a text in the tool's own notation.
    let target = match executor {
        Some(Executor::Sql) => findings.keep(inputs.optional(Name::Target, value::version)),
        Some(Executor::Image | Executor::Server) | None => Some(None),
    };
    let out_of_order = findings.keep(inputs.required(Name::OutOfOrder, |text| value::choice(text, &POLICIES)));
    let gaps = findings.keep(inputs.required(Name::Gaps, |text| value::choice(text, &POLICIES)));
    let directory = runner.path(&written?);
    Some(SqlSettings {
        migrations: runner.shown(&directory),
        directory,
        layout: layout?,
        ledger_table: ledger_table?,
        target: target?,
        out_of_order: out_of_order?,
        gaps: gaps?,
    })
}

fn safety(inputs: &Inputs, findings: &mut Findings) -> Option<SafetySettings> {
    let timeout = findings.keep(inputs.required(Name::Timeout, value::positive_duration));
    let lock_wait = findings.keep(inputs.required(Name::LockWait, value::duration));
    let lock_timeout = findings.keep(inputs.required(Name::LockTimeout, value::duration));
    let statement_timeout = findings.keep(inputs.required(Name::StatementTimeout, value::duration));
    let retries = findings.keep(inputs.required(Name::Retries, value::retries));
    let expect_plan = findings.keep(inputs.optional(Name::ExpectPlan, value::digest));
    Some(SafetySettings {
        timeout: timeout?,
        lock_wait: lock_wait?,
        lock_timeout: lock_timeout?,
        statement_timeout: statement_timeout?,
        retries: retries?,
        expect_plan: expect_plan?,
    })
}

/// Resolves GitHub's settings. A comment that can't be written is only a warning, here as elsewhere: it never decides
/// the outcome of a migration.
fn github(inputs: &Inputs, findings: &mut Findings) -> Option<GithubSettings> {
    let token = inputs.secret(Name::GithubToken);
    let comment = findings.keep(inputs.required(Name::Comment, |text| value::choice(text, &COMMENTS)));
    let summary = findings.keep(inputs.required(Name::Summary, |text| value::choice(text, &SWITCH)));
    if token.is_none() && comment.is_some_and(|comment| comment != CommentPolicy::Never) {
        findings.warning(
            Fault::new(Code::InputMissing, "there will be no comment: `github-token` has no value")
                .fix("set `github-token`, or `comment: never`"),
        );
    }
    Some(GithubSettings { token, comment: comment?, summary: summary? })
}
