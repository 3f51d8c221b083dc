//! Resolves the foreign commands of a run, that is the tool and the steps, and the settings of the sites where they
//! run.

use super::{
    command, container, health,
    steps::{Around, resolve_steps},
    tool,
};
use crate::{
    fault::Fault,
    github::runner::Runner,
    input::{
        findings::Findings,
        names::Name,
        parse::{self, Executor, Own},
        scope,
        source::Inputs,
    },
    postgres::DatabaseTarget,
    settings::{Command, ImageSettings, Place, ServerSettings, Site, StepSettings},
};

/// The resolved tool, steps and site settings.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) place: Place,
    pub(crate) steps: StepSettings,
    pub(crate) image: Option<ImageSettings>,
    pub(crate) server: Option<ServerSettings>,
}

/// The inputs that were resolved before, if they are valid.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) command: Option<Command>,
    pub(crate) executor: Option<Executor>,
    pub(crate) database: Option<&'a DatabaseTarget>,
    pub(crate) retries: u32,
    pub(crate) runner: &'a Runner,
}

/// Resolves the tool, the steps, and the settings that they need.
pub(crate) fn read(inputs: &Inputs, known: &Known<'_>, findings: &mut Findings) -> Option<Calls> {
    let reference = match known.executor {
        Some(Executor::Image) => findings.keep(inputs.required(Name::Image, parse::reference)),
        Some(Executor::Sql | Executor::Server) | None => {
            findings.keep(inputs.optional(Name::Image, parse::reference)).flatten()
        }
    };
    let own = Own { executor: known.executor, image: reference.as_deref() };
    let around = Around { own, retries: known.retries, runner: known.runner };
    let mut steps = resolve_steps(inputs.drafts(), &around, findings);
    let place = place(inputs, own, known, findings);
    let tool = match &place {
        Some(Place::Tool(tool)) => Some(&**tool),
        Some(Place::Sql) | None => None,
    };
    steps.health = health::resolve(inputs.drafts().health.as_ref(), own, tool, findings);
    let of_run = (known.executor == Some(Executor::Server)).then(|| "`executor: server`".to_owned());
    let of_steps = || steps.sites().find(|(_, site)| **site == Site::Server).map(|(who, _)| who);
    let on_server = of_run.or_else(of_steps);
    let in_image =
        known.executor == Some(Executor::Image) || steps.sites().any(|(_, site)| matches!(site, Site::Image(_)));
    findings.faults.extend(on_server.as_deref().and_then(|who| unreachable(inputs, who)));
    let server = on_server.map(|_| ServerSettings {
        working_directory: directory(inputs, own, Executor::Server).map(ToOwned::to_owned),
        setup: inputs.text(Name::Setup).unwrap_or_default().to_owned(),
    });
    let image = if in_image {
        let directory = match directory(inputs, own, Executor::Image) {
            Some(_) => findings.keep(inputs.optional(Name::WorkingDirectory, container::directory)),
            None => Some(None),
        };
        let image = container::read(inputs, known.database, findings);
        Some(ImageSettings { working_directory: directory?, ..image? })
    } else {
        None
    };
    Some(Calls { place: place?, steps, image, server })
}

fn place(inputs: &Inputs, own: Own<'_>, known: &Known<'_>, findings: &mut Findings) -> Option<Place> {
    let site = match own.executor? {
        Executor::Sql => {
            findings.keep(known.command.map_or(Ok(()), command::of_files));
            return Some(Place::Sql);
        }
        Executor::Image => own.image.map(|image| Site::Image(image.to_owned())),
        Executor::Server => Some(Site::Server),
    };
    let tool = tool::read(inputs, site, known.command, known.runner, findings);
    tool.map(|tool| Place::Tool(Box::new(tool)))
}

/// Returns a fault if the deployment server has no name. A server with a user or a key but no name is reported by
/// [`ssh::read`].
fn unreachable(inputs: &Inputs, who: &str) -> Option<Fault> {
    if scope::is_wanted(inputs) {
        return None;
    }
    let cause = format!("`ssh-host` has no value, and {who} runs on the deployment server, which is the last hop");
    Some(inputs.missing(cause, &[Name::SshHost, Name::SshUser, Name::SshPrivateKey, Name::SshPassword]))
}

/// Returns the working directory if the tool runs with this executor: the input is the tool's.
fn directory<'i>(inputs: &'i Inputs, own: Own<'_>, executor: Executor) -> Option<&'i str> {
    inputs.text(Name::WorkingDirectory).filter(|_| own.executor == Some(executor))
}
