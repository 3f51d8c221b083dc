//! Resolves the inputs: from texts to valid settings.

mod backup;
pub(crate) mod command;
mod commands;
pub(crate) mod container;
mod database;
pub(crate) mod environment;
pub(crate) mod health;
pub(crate) mod placeholders;
mod rehearse;
mod sql;
mod ssh;
mod steps;
mod tool;

pub(crate) use command::resolve_command;

use super::{
    findings::Findings,
    names::InputName,
    parse::{
        ExecutorChoice, parse_aftercare, parse_allowances, parse_notify, parse_start_when,
        value::{self, InvalidValue},
    },
    scope::{self, is_bastion_wanted},
    scope_table::scope_of,
    source::{Inputs, Variables},
};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    proxy::ClientTls,
    settings::{
        ApprovedPlan, BackupSettings, Command, CommentPolicy, NotificationSettings, Policy, ReportSettings,
        RiskSettings, SafetySettings, SchemaFileSettings, Settings,
    },
};
use command::resolve_executor;
use database::ResolvedDatabase;

const SWITCH: [(&str, Policy); 2] = [("true", Policy::Allow), ("false", Policy::Refuse)];
const COMMENTS: [(&str, CommentPolicy); 3] =
    [("never", CommentPolicy::Never), ("plan", CommentPolicy::Plan), ("always", CommentPolicy::Always)];

/// Resolves all settings; the first are `None` after all faults are recorded. Those of the report are always there,
/// because the report of a run with invalid inputs needs them.
pub(super) fn resolve_settings(
    inputs: &Inputs,
    environment: Option<&str>,
    runner: &Runner,
    variables: &Variables,
    findings: &mut Findings,
) -> (Option<Settings>, ReportSettings) {
    let command = findings.ok_or_record(resolve_command(inputs));
    let executor = check_scope(inputs, command, findings.ok_or_record(resolve_executor(inputs)), findings);
    let route = if is_bastion_wanted(inputs) { ssh::resolve_route(inputs, findings).map(Some) } else { Some(None) };
    let database = resolve_database(inputs, command, executor, runner, findings);
    let safety = resolve_safety_settings(inputs, findings);
    if matches!(database, Some(None)) {
        findings.faults.extend(risk_without_database(inputs, command));
    }
    let context = commands::CommandContext {
        command,
        executor,
        database: database.as_ref().and_then(Option::as_ref),
        retries: safety.as_ref().map_or(0, |safety| safety.retries),
        runner,
    };
    let resolved_commands = commands::resolve_commands(inputs, &context, findings);
    // Without foreign commands, no variables are passed on.
    let is_called =
        command != Some(Command::Tunnel) && findings.faults.iter().all(|fault| !fault.cause.contains("`pass-env`"));
    let env = match is_called {
        true => findings.ok_or_record(environment::resolve_env(inputs, variables, context.target())),
        false => Some(Vec::new()),
    };
    let wait_timeout = findings.ok_or_record(inputs.required(InputName::WaitTimeout, value::parse_positive_duration));
    let sql = sql::resolve_sql_settings(inputs, (command, executor), (runner, variables), findings);
    let default_key = environment.or(context.target().map(|target| target.name.as_str())).map(ToOwned::to_owned);
    let mut report = resolve_report_settings(inputs, default_key, findings);
    let aftercare = findings.ok_or_record(inputs.optional(InputName::Aftercare, parse_aftercare));
    let known_database = database.as_ref().and_then(Option::as_ref);
    let rehearsal = rehearse::resolve_rehearsal(inputs, (command, executor), known_database, findings);
    let assemble = || {
        let (resolved_commands, database) = (resolved_commands?, database?);
        if let Some(step) = resolved_commands.steps.sql().filter(|_| database.is_none()) {
            let cause = format!("the step `{}` is SQL, and no database is given", step.name);
            findings.faults.push(inputs.missing_fault(cause, &[InputName::DatabaseUrl]));
        }
        if database.is_none() {
            findings.faults.extend(database_wanted(inputs, command, safety.as_ref()));
        }
        if database.is_none() && aftercare.as_ref().is_some_and(Option::is_some) {
            let label = inputs.label(InputName::Aftercare);
            let cause = format!("{label} looks after the database, and no database is given");
            findings.faults.push(inputs.missing_fault(cause, &[InputName::DatabaseUrl]));
        }
        if matches!(resolved_commands.backup, Some(BackupSettings::Dump(_))) && database.is_none() {
            let cause = format!("{} dumps the database, and no database is given", inputs.label(InputName::Backup));
            findings.faults.push(inputs.missing_fault(cause, &[InputName::DatabaseUrl]));
        }
        let schema_file = resolve_schema_file(inputs, runner);
        if schema_file.is_some() && database.is_none() {
            let label = inputs.label(InputName::SchemaFile);
            let cause = format!("{label} is compared with the database, and no database is given");
            findings.faults.push(inputs.missing_fault(cause, &[InputName::DatabaseUrl]));
        }
        Some(Settings {
            command: command?,
            schema_file,
            executor: resolved_commands.executor_settings,
            client_tls: database.as_ref().map_or(ClientTls::Terminated, |database| database.client_tls),
            environment: environment.map(ToOwned::to_owned),
            route: route?,
            database: database.map(|database| database.target),
            wait_timeout: wait_timeout?,
            sql: sql?,
            steps: resolved_commands.steps,
            env: env?,
            image: resolved_commands.image,
            server: resolved_commands.server,
            safety: safety?,
            aftercare: aftercare?.unwrap_or_default(),
            backup: resolved_commands.backup,
            rehearsal,
        })
    };
    let settings = assemble().filter(|_| findings.faults.is_empty());
    if settings.is_some() {
        report.comment_key.get_or_insert_with(|| KEY_WITHOUT_DATABASE.to_owned());
    }
    (settings, report)
}

/// Returns the faults of a run that asks a database without having one.
fn database_wanted(inputs: &Inputs, command: Option<Command>, safety: Option<&SafetySettings>) -> Vec<Fault> {
    let wants = |what: fn(&SafetySettings) -> bool| safety.is_some_and(what);
    let causes = [
        (wants(|safety| safety.start_when.is_some()), "`start-when` asks the database, and no database is given"),
        (
            wants(|safety| safety.expect_rehearsal.is_some()),
            "`expect-rehearsal` is compared with the schema of the database, and no database is given",
        ),
        (
            command == Some(Command::History),
            "`command: history` reads the runs from the database, and no database is given",
        ),
    ];
    let wanted = causes.into_iter().filter(|(is_wanted, _)| *is_wanted);
    wanted.map(|(_, cause)| inputs.missing_fault(cause, &[InputName::DatabaseUrl])).collect()
}

/// Key of the comment if only the deployment server knows the database.
const KEY_WITHOUT_DATABASE: &str = "default";

/// Longest key of a comment, in characters.
const MAX_KEY_LENGTH: usize = 100;

fn parse_comment_key(text: &str) -> Result<String, InvalidValue> {
    match text.chars().count() {
        0..=MAX_KEY_LENGTH => Ok(text.to_owned()),
        _ => Err(InvalidValue::new("is too long", format!("at most {MAX_KEY_LENGTH} characters"))),
    }
}

/// Records the faults of inputs that have no effect in this run. If the intended executor is in doubt, returns `None`,
/// so that one mistake is reported once.
fn check_scope(
    inputs: &Inputs,
    command: Option<Command>,
    executor: Option<ExecutorChoice>,
    findings: &mut Findings,
) -> Option<ExecutorChoice> {
    // Once the name or the file is corrected, the input may have an effect.
    if findings.faults.iter().any(|fault| fault.code == Code::InputUnknown || fault.place.is_some()) {
        return executor.filter(|_| inputs.is_given(InputName::Executor) || !scope::concerns_a_tool(inputs));
    }
    if !is_bastion_wanted(inputs) && database::is_database_given(inputs) {
        findings.faults.extend(scope::unused_without_bastion(inputs));
    }
    let idle = command.map(|command| scope::unused_by_command(inputs, command)).unwrap_or_default();
    let is_tunnel = command == Some(Command::Tunnel);
    findings.faults.extend(idle);
    let unused = match executor.filter(|_| !is_tunnel) {
        Some(executor) => scope::unused_by_executor(inputs, executor),
        None => Vec::new(),
    };
    let in_doubt = !unused.is_empty() && !inputs.is_given(InputName::Executor);
    findings.faults.extend(unused);
    executor.filter(|_| !in_doubt)
}

/// Resolves the database. It is optional with a deployment server, which may be the only one that knows it, but not for
/// a tunnel.
fn resolve_database(
    inputs: &Inputs,
    command: Option<Command>,
    executor: Option<ExecutorChoice>,
    runner: &Runner,
    findings: &mut Findings,
) -> Option<Option<ResolvedDatabase>> {
    let needless = command != Some(Command::Tunnel) && matches!(executor, None | Some(ExecutorChoice::Server));
    if needless && !database::is_database_given(inputs) {
        return Some(None);
    }
    database::resolve_database(inputs, runner, findings).map(Some)
}

/// Returns the fault of a risk that can't be found, because only the deployment server knows the database.
fn risk_without_database(inputs: &Inputs, command: Option<Command>) -> Option<Fault> {
    let risk = inputs.parsed_steps().risk.as_ref()?;
    let is_weighed = command.is_some_and(|command| scope_of(InputName::Risk).0.includes(command));
    // The age of a plan is known without its tables.
    let only_expires = RiskSettings { plan_max_age: risk.plan_max_age, ..RiskSettings::default() };
    if !is_weighed || risk.plan_max_age.is_some() && *risk == only_expires {
        return None;
    }
    let cause = format!(
        "{} has no effect: a plan is weighed by the tables that it changes, and no database is given",
        inputs.label(InputName::Risk)
    );
    Some(Fault::new(Code::InputInvalid, cause).fix("set `database-url`, as seen from the server, or remove `risk`"))
}

fn resolve_safety_settings(inputs: &Inputs, findings: &mut Findings) -> Option<SafetySettings> {
    let timeout = findings.ok_or_record(inputs.required(InputName::Timeout, value::parse_positive_duration));
    let lock_wait = findings.ok_or_record(inputs.required(InputName::LockWait, value::parse_duration));
    let lock_timeout = findings.ok_or_record(inputs.required(InputName::LockTimeout, value::parse_duration));
    let statement_timeout = findings.ok_or_record(inputs.required(InputName::StatementTimeout, value::parse_duration));
    let retries = findings.ok_or_record(inputs.required(InputName::Retries, value::parse_retries));
    let expect_plan = findings.ok_or_record(inputs.optional(InputName::ExpectPlan, value::parse_approved_plan));
    let expect_rehearsal =
        findings.ok_or_record(inputs.optional(InputName::ExpectRehearsal, value::parse_approved_rehearsal));
    let start_when = findings.ok_or_record(inputs.optional(InputName::StartWhen, parse_start_when));
    let allowances = findings.ok_or_record(inputs.optional(InputName::Allow, parse_allowances));
    let audit = findings.ok_or_record(inputs.required(InputName::Audit, |text| value::parse_choice(text, &SWITCH)));
    let parsed = inputs.parsed_steps();
    let (lint, risk) = (parsed.lint.clone().unwrap_or_default(), parsed.risk.clone().unwrap_or_default());
    findings.faults.extend(plan_without_time(inputs, expect_plan.as_ref().and_then(Option::as_ref), &risk));
    Some(SafetySettings {
        timeout: timeout?,
        lock_wait: lock_wait?,
        lock_timeout: lock_timeout?,
        statement_timeout: statement_timeout?,
        retries: retries?,
        expect_plan: expect_plan?,
        expect_rehearsal: expect_rehearsal?,
        start_when: start_when?,
        allowances: allowances?.unwrap_or_default(),
        risk: RiskSettings { small_table: lint.small_table, ..risk },
        lint,
        audit: audit?,
    })
}

/// Returns the fault of an approved plan whose age is unknown, if approvals expire.
fn plan_without_time(inputs: &Inputs, approved: Option<&ApprovedPlan>, risk: &RiskSettings) -> Option<Fault> {
    risk.plan_max_age.filter(|_| approved.is_some_and(|approved| approved.planned_at.is_none()))?;
    let label = inputs.label(InputName::ExpectPlan);
    let cause = format!("{label} has no time, so the plan may be older than `plan-max-age` of `risk`");
    let fix = "set the same `risk` in the run with `command: plan`, and pass its output `plan-digest` as it is: it has the time then";
    Some(Fault::new(Code::InputInvalid, cause).fix(fix))
}

/// Resolves the file with the schema.
fn resolve_schema_file(inputs: &Inputs, runner: &Runner) -> Option<SchemaFileSettings> {
    let path = runner.resolve_path(inputs.text(InputName::SchemaFile)?);
    Some(SchemaFileSettings { shown: runner.display_path(&path), path })
}

/// Resolves the settings of the report. A comment that can't be written is only a warning, here as elsewhere: it never decides
/// the outcome of a migration.
fn resolve_report_settings(inputs: &Inputs, default_key: Option<String>, findings: &mut Findings) -> ReportSettings {
    let token = inputs.secret(InputName::GithubToken);
    let comment =
        findings.ok_or_record(inputs.required(InputName::Comment, |text| value::parse_choice(text, &COMMENTS)));
    let given_key = findings.ok_or_record(inputs.optional(InputName::CommentKey, parse_comment_key));
    let summary = findings.ok_or_record(inputs.required(InputName::Summary, |text| value::parse_choice(text, &SWITCH)));
    if token.is_none() && comment.is_some_and(|comment| comment != CommentPolicy::Never) {
        findings.add_warning(
            Fault::new(Code::InputMissing, "there will be no comment: `github-token` has no value")
                .fix("set `github-token`, or `comment: never`"),
        );
    }
    ReportSettings {
        notification: resolve_notification(inputs, findings),
        token,
        comment: comment.unwrap_or(CommentPolicy::Never),
        comment_key: given_key.and_then(|key| key.or(default_key)),
        summary: summary.unwrap_or(Policy::Allow),
    }
}

fn resolve_notification(inputs: &Inputs, findings: &mut Findings) -> Option<NotificationSettings> {
    let text = inputs.secret(InputName::Notify)?;
    match parse_notify(text.expose(), &inputs.label(InputName::Notify)) {
        Ok(notification) => Some(notification),
        Err(faults) => {
            findings.faults.extend(faults);
            None
        }
    }
}
