//! The inputs as a whole: from texts to settings that can't be wrong any more.

use super::{
    Command, CommentPolicy, GithubSettings, LayoutChoice, Place, Policy, SafetySettings, Settings, Site, SqlSettings,
    StepSettings, database, findings::Findings, image, name::Name, raw::Inputs, route, tool, value,
    variables::Variables,
};
use crate::{
    fault::{Code, Fault},
    github::env::Runner,
};

#[derive(Clone, Copy)]
enum Executor {
    Sql,
    Image,
}

const EXECUTORS: [(&str, Executor); 2] = [("sql", Executor::Sql), ("image", Executor::Image)];
const POLICIES: [(&str, Policy); 2] = [("refuse", Policy::Refuse), ("allow", Policy::Allow)];
const SWITCH: [(&str, Policy); 2] = [("true", Policy::Allow), ("false", Policy::Refuse)];
const LAYOUTS: [(&str, LayoutChoice); 3] =
    [("auto", LayoutChoice::Auto), ("plain", LayoutChoice::Plain), ("sqlx", LayoutChoice::Sqlx)];
const COMMENTS: [(&str, CommentPolicy); 3] =
    [("never", CommentPolicy::Never), ("plan", CommentPolicy::Plan), ("always", CommentPolicy::Always)];

/// Every setting, or nothing once all that is wrong has been noted.
pub(super) fn settings(
    inputs: &Inputs,
    environment: Option<&str>,
    runner: &Runner,
    variables: &Variables,
    findings: &mut Findings,
) -> Option<Settings> {
    let command = findings.keep(command(inputs));
    let executor = findings.keep(inputs.required(Name::Executor, |text| value::choice(text, &EXECUTORS)));
    let route = if route::is_wanted(inputs) { route::read(inputs, findings).map(Some) } else { Some(None) };
    let database = database::read(inputs, runner, findings);
    let place = match executor {
        Some(Executor::Image) => {
            let reference = findings.keep(inputs.required(Name::Image, image::reference));
            reference
                .and_then(|image| tool::read(inputs, Site::Image(image), findings))
                .map(|tool| Place::Tool(Box::new(tool)))
        }
        Some(Executor::Sql) => Some(Place::Sql),
        None => None,
    };
    let image = match &place {
        Some(Place::Tool(_)) => image::read(inputs, database.as_ref(), findings).map(Some),
        Some(Place::Sql) | None => Some(None),
    };
    let env = findings.keep(tool::environment(inputs, variables));
    let wait_timeout = findings.keep(inputs.required(Name::WaitTimeout, value::positive_duration));
    let sql = sql(inputs, runner, findings);
    let safety = safety(inputs, findings);
    let github = github(inputs, findings);
    let place = place?;
    Some(Settings {
        command: command?,
        place,
        passage: image::passage(inputs),
        environment: environment.map(ToOwned::to_owned),
        route: route?,
        database: Some(database?),
        wait_timeout: wait_timeout?,
        sql: sql?,
        steps: StepSettings::default(),
        env: env?,
        image: image?,
        server: None,
        safety: safety?,
        github: github?,
    })
}

/// What is asked.
pub(super) fn command(inputs: &Inputs) -> Result<Command, Fault> {
    let commands = [Command::Migrate, Command::Plan, Command::Status, Command::Verify, Command::Tunnel];
    let commands = commands.map(|command| (command.name(), command));
    inputs.required(Name::Command, |text| value::choice(text, &commands))
}

fn sql(inputs: &Inputs, runner: &Runner, findings: &mut Findings) -> Option<SqlSettings> {
    let written = findings.keep(inputs.required(Name::Migrations, |text| Ok(text.to_owned())));
    let layout = findings.keep(inputs.required(Name::Layout, |text| value::choice(text, &LAYOUTS)));
    let ledger_table = findings.keep(inputs.optional(Name::LedgerTable, value::table));
    let target = findings.keep(inputs.optional(Name::Target, value::version));
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

/// A comment that can't be written is a warning, as everywhere: it never decides over a migration.
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
