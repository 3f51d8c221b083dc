//! Resolves the inputs: from texts to valid settings.

mod backup;
pub(crate) mod client_identity;
pub(crate) mod command;
mod commands;
pub(crate) mod container;
mod database;
mod database_uses;
pub(crate) mod environment;
pub(crate) mod health;
pub(crate) mod placeholders;
mod program;
mod registry;
mod rehearse;
mod report;
mod safety;
mod sql;
mod ssh;
mod steps;
mod tool;
pub(crate) mod way;

pub(crate) use command::resolve_command;
pub(crate) use ssh::certificate_fault;

use super::{
    findings::Findings,
    names::InputName,
    parse::{ExecutorChoice, parse_aftercare, value},
    scope::{self, is_bastion_wanted},
    source::{Inputs, Variables},
};
use crate::{
    fault::Code,
    github::runner::Runner,
    proxy::ClientTls,
    settings::{Command, ReportSettings, SchemaFileSettings, Settings},
    ssh::Route,
    way::WayIn,
};
use client_identity::IdentityContext;
use command::resolve_executor;
use database::ResolvedDatabase;
use database_uses::{DatabaseUses, risk_without_database};
use report::resolve_report_settings;
use safety::resolve_safety_settings;

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
    let (route, way) = resolve_connection(inputs, (runner, variables), findings);
    let identity = IdentityContext { inputs, runner, variables, command, executor };
    let database = resolve_database(identity, findings);
    let safety = resolve_safety_settings(inputs, command, findings);
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
    let rehearsal = rehearse::resolve_rehearsal(inputs, command, known_database, findings);
    let assemble = || {
        let (resolved_commands, database) = (resolved_commands?, database?);
        let schema_file = resolve_schema_file(inputs, runner);
        if database.is_none() {
            let uses = DatabaseUses {
                command,
                sql_step: resolved_commands.steps.sql(),
                start_when: safety.as_ref().and_then(|safety| safety.start_when.as_ref()),
                expects_rehearsal: safety.as_ref().is_some_and(|safety| safety.expect_rehearsal.is_some()),
                has_aftercare: aftercare.as_ref().is_some_and(Option::is_some),
                backup: resolved_commands.backup.as_ref(),
                schema_file: schema_file.as_ref(),
            };
            findings.faults.extend(uses.faults(inputs));
        }
        Some(Settings {
            stands_in_for: None,
            command: command?,
            schema_file,
            executor: resolved_commands.executor_settings,
            client_tls: database.as_ref().map_or(ClientTls::Terminated, |database| database.client_tls),
            environment: environment.map(ToOwned::to_owned),
            route: route?,
            way: way?,
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

/// Resolves the route, if there is a bastion, and the way to its first hop or to the database.
fn resolve_connection(
    inputs: &Inputs,
    environment: (&Runner, &Variables),
    findings: &mut Findings,
) -> (Option<Option<Route>>, Option<WayIn>) {
    let route = if is_bastion_wanted(inputs) { ssh::resolve_route(inputs, findings).map(Some) } else { Some(None) };
    let way = way::resolve_way(inputs, route.as_ref().and_then(Option::as_ref), environment, findings);
    (route, way)
}

/// Key of the comment if only the deployment server knows the database.
const KEY_WITHOUT_DATABASE: &str = "default";

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
fn resolve_database(context: IdentityContext<'_>, findings: &mut Findings) -> Option<Option<ResolvedDatabase>> {
    let is_tunnel = context.command == Some(Command::Tunnel);
    let needless = !is_tunnel && matches!(context.executor, None | Some(ExecutorChoice::Server));
    if needless && !database::is_database_given(context.inputs) {
        return Some(None);
    }
    database::resolve_database(context, findings).map(Some)
}

/// Resolves the file with the schema.
fn resolve_schema_file(inputs: &Inputs, runner: &Runner) -> Option<SchemaFileSettings> {
    let path = runner.resolve_path(inputs.text(InputName::SchemaFile)?);
    Some(SchemaFileSettings { shown: runner.display_path(&path), path })
}
