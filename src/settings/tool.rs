//! Settings of the executor, of the tool, and of the sites where commands run.

use crate::docker::PullPolicy;
use crate::docker::RegistryCredentials;
use crate::postgres::DatabaseUrl;
use crate::tool::CommandLine;
use crate::tool::ListThenMigrate;
use crate::tool::ListingRequest;
use crate::tool::Recipe;
use crate::tool::Verb;
/// The executor of the migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutorSettings {
    /// The action itself, with plain SQL files.
    Sql,
    /// The app's own tool, in a container or on the server.
    Tool(Box<ToolSettings>),
}

/// The site where foreign commands run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    /// A container of this image.
    Image(SiteImage),
    /// The deployment server, which is the last hop.
    Server,
}

/// The image of a command's container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteImage {
    /// The reference, as in `docker run`.
    pub reference: String,
    /// The owner, whose entrypoint runs in front of the command.
    pub owner: ImageOwner,
}

/// The part of a run that an image belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageOwner {
    /// The tool: the input `image-entrypoint` applies, and its entrypoint runs in front of every command.
    Tool,
    /// A step or the health check: its entrypoint runs in front of programs only.
    Step,
}

/// The tool that applies the migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolSettings {
    /// The tool's recipe.
    pub recipe: Recipe,
    /// Command that replaces the recipe's migration command.
    pub run: Option<CommandLine>,
    /// Words that are put in front of each of the recipe's commands, as in `docker compose run --rm web`.
    pub prefix: Vec<String>,
    /// The migration that `rollback` returns to, or up to which `baseline` records.
    pub target: Option<String>,
    /// The site where it runs.
    pub site: Site,
}

impl ToolSettings {
    /// Returns a command of the recipe with the prefix in front.
    #[must_use]
    pub fn with_prefix(&self, line: CommandLine) -> CommandLine {
        line.behind(&self.prefix)
    }

    /// Returns the recipe's command that lists and does the work of `verb` in one start, with the prefix in front. `None`
    /// if the recipe has none.
    #[must_use]
    pub fn list_then_migrate(&self, request: &ListingRequest, verb: Verb) -> Option<ListThenMigrate> {
        Some(self.recipe.list_then_migrate(request, verb)?.with_prefix(&self.prefix))
    }
}

/// Access of containers to the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workspace {
    /// Not mounted.
    Hidden,
    /// Mounted read-only.
    ReadOnly,
    /// Mounted writable.
    ReadWrite,
}

/// Settings common to all containers of a run, independent of their image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSettings {
    /// Policy for pulling images.
    pub pull: PullPolicy,
    /// Credentials for the registry.
    pub credentials: Option<RegistryCredentials>,
    /// Access to the workspace.
    pub workspace: Workspace,
    /// Replacement of the image's entrypoint for the tool's own commands; an empty list means no entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Working directory, if the migration itself runs in a container; `None` is the image's own.
    pub working_directory: Option<String>,
    /// Memory limit in bytes.
    pub memory: Option<i64>,
    /// The database's URL as the user gave it, or composed of its parts.
    pub database_url: Option<DatabaseUrl>,
}

/// Settings common to all commands on the deployment server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// Working directory, if the migration itself runs there; `None` is the login's home.
    pub working_directory: Option<String>,
    /// Shell lines that run before each command; may be empty.
    pub setup: String,
}
