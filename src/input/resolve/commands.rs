//! Resolves the foreign commands of a run, that is the tool and the steps, and the settings of the sites where they
//! run.

use super::{
    backup::{BackupContext, resolve_backup},
    command, container,
    database::ResolvedDatabase,
    health,
    steps::{StepDefaults, resolve_steps},
    tool,
};
use crate::{
    fault::Fault,
    github::runner::Runner,
    input::{
        findings::Findings,
        names::InputName,
        parse::{self, ExecutorChoice, RunSite},
        scope,
        source::Inputs,
    },
    postgres::DatabaseTarget,
    settings::{
        BackupSettings, Command, DumpSettings, DumpSite, ExecutorSettings, ImageOwner, ImageSettings, ServerSettings,
        Site, SiteImage, StepSettings,
    },
};

/// The resolved tool, steps and site settings.
#[derive(Debug)]
pub(crate) struct ResolvedCommands {
    pub(crate) executor_settings: ExecutorSettings,
    pub(crate) steps: StepSettings,
    pub(crate) image: Option<ImageSettings>,
    pub(crate) server: Option<ServerSettings>,
    pub(crate) backup: Option<BackupSettings>,
}

/// The inputs that were resolved before, if they are valid.
#[derive(Debug)]
pub(crate) struct CommandContext<'a> {
    pub(crate) command: Option<Command>,
    pub(crate) executor: Option<ExecutorChoice>,
    pub(crate) database: Option<&'a ResolvedDatabase>,
    pub(crate) retries: u32,
    pub(crate) runner: &'a Runner,
}

impl CommandContext<'_> {
    pub(super) fn target(&self) -> Option<&DatabaseTarget> {
        self.database.map(|database| &database.target)
    }
}

/// Resolves the tool, the steps, and the settings that they need.
pub(crate) fn resolve_commands(
    inputs: &Inputs,
    context: &CommandContext<'_>,
    findings: &mut Findings,
) -> Option<ResolvedCommands> {
    let reference = match context.executor {
        Some(ExecutorChoice::Image) => {
            let cause = "`image` has no value, and `executor: image` needs the app's own image";
            let missing = || inputs.missing_fault(cause, &[InputName::Image]);
            let image = inputs.optional(InputName::Image, parse::parse_image_reference);
            findings.ok_or_record(image.and_then(|image| image.ok_or_else(missing)))
        }
        Some(ExecutorChoice::Sql | ExecutorChoice::Server) | None => {
            findings.ok_or_record(inputs.optional(InputName::Image, parse::parse_image_reference)).flatten()
        }
    };
    let run_site = RunSite { executor: context.executor, image: reference.as_deref() };
    let defaults = StepDefaults { run_site, retries: context.retries, runner: context.runner };
    let mut steps = resolve_steps(inputs.parsed_steps(), &defaults, findings);
    let executor_settings = resolve_executor_settings(inputs, run_site, context, findings);
    let tool = match &executor_settings {
        Some(ExecutorSettings::Tool(tool)) => Some(&**tool),
        Some(ExecutorSettings::Sql) | None => None,
    };
    steps.health = health::resolve_health(inputs.parsed_steps().health.as_ref(), run_site, tool, findings);
    let backup_context = BackupContext { command: context.command, run_site, runner: context.runner };
    let backup = resolve_backup(inputs, backup_context, findings);
    let by_executor = (context.executor == Some(ExecutorChoice::Server)).then(|| "`executor: server`".to_owned());
    let by_step = || steps.sites().find(|(_, site)| matches!(site, Site::Server)).map(|(source, _)| source);
    let backup_site = backup.as_ref().and_then(BackupSettings::site);
    let by_backup = || matches!(backup_site, Some(Site::Server)).then(|| "`backup`".to_owned());
    let on_server = by_executor.or_else(by_step).or_else(by_backup);
    let in_image = context.executor == Some(ExecutorChoice::Image)
        || steps.sites().any(|(_, site)| matches!(site, Site::Image(_)))
        || (context.command.is_some_and(Command::may_write) && is_made_in_image(backup.as_ref()));
    findings.faults.extend(on_server.as_deref().and_then(|source| missing_server_fault(inputs, source)));
    let server = on_server.map(|_| ServerSettings {
        working_directory: working_directory_on(inputs, run_site, ExecutorChoice::Server).map(ToOwned::to_owned),
        setup: inputs.text(InputName::Setup).unwrap_or_default().to_owned(),
    });
    let image = if in_image {
        let directory = match working_directory_on(inputs, run_site, ExecutorChoice::Image) {
            Some(_) => {
                findings.ok_or_record(inputs.optional(InputName::WorkingDirectory, container::parse_image_directory))
            }
            None => Some(None),
        };
        let image = container::resolve_image_settings(inputs, context.database, findings);
        Some(ImageSettings { working_directory: directory?, ..image? })
    } else {
        None
    };
    Some(ResolvedCommands { executor_settings: executor_settings?, steps, image, server, backup })
}

/// Returns whether the backup is made in a container. A plan makes none, and needs no engine for it.
fn is_made_in_image(backup: Option<&BackupSettings>) -> bool {
    match backup {
        Some(BackupSettings::Dump(DumpSettings { site: DumpSite::ImageOfServerVersion, .. })) => true,
        Some(backup) => matches!(backup.site(), Some(Site::Image(_))),
        None => false,
    }
}

fn resolve_executor_settings(
    inputs: &Inputs,
    run_site: RunSite<'_>,
    context: &CommandContext<'_>,
    findings: &mut Findings,
) -> Option<ExecutorSettings> {
    let site = match run_site.executor? {
        ExecutorChoice::Sql => {
            let target = inputs.text(InputName::Target);
            findings
                .ok_or_record(context.command.map_or(Ok(()), |command| command::check_sql_command(command, target)));
            return Some(ExecutorSettings::Sql);
        }
        ExecutorChoice::Image => {
            let image = |reference: &str| SiteImage { reference: reference.to_owned(), owner: ImageOwner::Tool };
            run_site.image.map(image).map(Site::Image)
        }
        ExecutorChoice::Server => Some(Site::Server),
    };
    let tool = tool::resolve_tool(inputs, site, context.command, context.runner, findings);
    tool.map(|tool| ExecutorSettings::Tool(Box::new(tool)))
}

/// Returns a fault if the deployment server has no name. A server with a user or a key but no name is reported by
/// `ssh::resolve_route`.
fn missing_server_fault(inputs: &Inputs, source: &str) -> Option<Fault> {
    if scope::is_bastion_wanted(inputs) {
        return None;
    }
    let cause = format!("`ssh-host` has no value, and {source} runs on the deployment server, which is the last hop");
    Some(inputs.missing_fault(
        cause,
        &[InputName::SshHost, InputName::SshUser, InputName::SshPrivateKey, InputName::SshPassword],
    ))
}

/// Returns the working directory if the tool runs with this executor: the input is the tool's.
fn working_directory_on<'i>(inputs: &'i Inputs, run_site: RunSite<'_>, executor: ExecutorChoice) -> Option<&'i str> {
    inputs.text(InputName::WorkingDirectory).filter(|_| run_site.executor == Some(executor))
}
