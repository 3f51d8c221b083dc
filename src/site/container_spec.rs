//! The specification of a command's container: everything that the command needs, and nothing of our own.

use crate::{
    docker::{ContainerSpec, SelfContainer},
    github::runner::Runner,
    postgres::{DatabasePlaceholder, DatabaseTarget, DatabaseUrl, SessionSettings, StatementTimeouts, run_lock},
    proxy::ClientTls,
    run::lock_retries::LockRetries,
    settings::{Command, ImageSettings, Settings, Workspace},
    tool::CommandLine,
};
use std::{collections::BTreeMap, net::IpAddr, path::Path, time::Duration};

/// Directory of our own files in a container.
pub(super) const OWN_DIRECTORY: &str = "/run/bastion-migrate";

/// Path of the database's CA certificate in a container.
const CA_PATH: &str = "/run/bastion-migrate/ca.pem";

/// Path of the workspace, in a container as in an action.
const WORKSPACE_PATH: &str = "/github/workspace";

/// Address of the tunnel's local end.
pub(crate) const LOOPBACK: &str = "127.0.0.1";

/// Access that the tool's sessions get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionAccess {
    /// They can only read.
    ReadOnly,
    /// They can only read until the tool is confirmed.
    UntilConfirmed,
    ReadWrite,
}

impl SessionAccess {
    /// Returns the access that the command needs.
    pub(crate) fn for_command(command: Command) -> Self {
        if command.may_write() { Self::ReadWrite } else { Self::ReadOnly }
    }
}

/// Terms on which the tool's sessions get the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionTerms {
    pub(crate) access: SessionAccess,
    /// Time limit for each statement's wait for a lock; zero is no limit.
    pub(crate) lock_timeout: Duration,
}

impl SessionTerms {
    /// Uses the user's own limit.
    pub(crate) fn with_user_lock_timeout(settings: &Settings, access: SessionAccess) -> Self {
        Self { access, lock_timeout: settings.safety.lock_timeout }
    }

    /// Returns the terms for a tool that lists, and once confirmed migrates: it may do both in the same session.
    pub(crate) fn until_confirmed(settings: &Settings) -> Self {
        let safety = &settings.safety;
        let lock_timeout = LockRetries { lock_timeout: safety.lock_timeout, retries: safety.retries }.timeout_for(0);
        Self { access: SessionAccess::UntilConfirmed, lock_timeout }
    }
}

/// Returns the settings for the tool's sessions, sent in the start-up packet or as PGOPTIONS.
pub(crate) fn session_settings(settings: &Settings, runner: &Runner, terms: SessionTerms) -> SessionSettings {
    let timeouts = StatementTimeouts { lock: terms.lock_timeout, statement: settings.safety.statement_timeout };
    let for_tool = SessionSettings::for_tool(application_name(settings, runner), timeouts)
        .with_role_of(settings.database.as_ref());
    match terms.access {
        SessionAccess::ReadOnly | SessionAccess::UntilConfirmed => for_tool.read_only(),
        // Only those that the copy gets lift the protection of the database itself.
        SessionAccess::ReadWrite if settings.stands_in_for.is_some() => for_tool.read_write(),
        SessionAccess::ReadWrite => for_tool,
    }
}

/// Returns the settings that the environment of a command has for its sessions. In a rehearsal they are for the case that it
/// finds the database itself: there it can't write.
pub(super) fn environment_options(settings: &Settings, session_settings: &SessionSettings) -> String {
    match settings.stands_in_for {
        Some(_) => SessionSettings::named("").read_only().as_options(),
        None => session_settings.as_options(),
    }
}

/// Returns the application name of the tool's sessions.
pub(crate) fn application_name(settings: &Settings, runner: &Runner) -> String {
    match settings.command {
        Command::Tunnel => run_lock::tunnel_application_name(runner),
        command if command.may_write() => run_lock::tool_application_name(runner),
        _ => run_lock::reading_tool_application_name(runner),
    }
}

/// Returns whether the database's own host name can be made to resolve to the tunnel's local end: an address can't, nor
/// a name that we need ourselves, for a hop or, without a tunnel, for the database.
pub(crate) fn can_keep_host_name(settings: &Settings, database: &DatabaseTarget) -> bool {
    let host = &database.host;
    let hops = settings.route.iter().flat_map(|route| &route.hops);
    // In a rehearsal the name leads to the copy, also for a tool that knows it from elsewhere.
    let is_free = match settings.stands_in_for {
        Some(_) => settings.database.as_ref().is_none_or(|copy| !copy.host.eq_ignore_ascii_case(host)),
        None => settings.route.is_some(),
    };
    is_free && host.parse::<IpAddr>().is_err() && !hops.into_iter().any(|hop| hop.host.eq_ignore_ascii_case(host))
}

/// Returns the specification of the container for one command.
pub(crate) fn build_spec(
    settings: &Settings,
    containers: &ImageSettings,
    context: &ContainerContext<'_>,
    line: &CommandLine,
    session_settings: &SessionSettings,
) -> ContainerSpec {
    let workspace =
        context.self_container.mount_source(Path::new(WORKSPACE_PATH)).and_then(|source| match containers.workspace {
            Workspace::Hidden => None,
            Workspace::ReadOnly => Some(format!("{source}:{WORKSPACE_PATH}:ro")),
            Workspace::ReadWrite => Some(format!("{source}:{WORKSPACE_PATH}:rw")),
        });
    let ca = settings.database.as_ref().and_then(|database| database.ca.as_ref());
    let ca = ca.filter(|_| tool_speaks_tls(context)).map(|pem| (CA_PATH.to_owned(), pem.clone().into_bytes()));
    ContainerSpec {
        image: context.image_id.to_owned(),
        command: Some(line.to_argv()),
        env: container_environment(settings, containers, context, session_settings),
        // The tunnel listens only in our own network; a container that joins it gets our host names, too.
        network: Some(format!("container:{}", context.self_container.id)),
        binds: workspace.into_iter().collect(),
        working_directory: containers.working_directory.clone(),
        memory: containers.memory,
        files: ca.into_iter().collect(),
        ..ContainerSpec::default()
    }
}

/// Replaces the image's entrypoint, if one is given.
pub(crate) fn with_entrypoint(spec: ContainerSpec, entrypoint: Option<&[String]>) -> ContainerSpec {
    match entrypoint {
        None => spec,
        // To the engine, an empty entrypoint means the image's own.
        Some([]) => ContainerSpec { entrypoint: spec.command, command: None, ..spec },
        Some(argv) => ContainerSpec { entrypoint: Some(argv.to_vec()), ..spec },
    }
}

/// Adapts the specification to a step's own image: shell lines don't need what its entrypoint prepares, and the
/// entrypoint of a cloud's command-line image is that program.
pub(crate) fn for_step_image(spec: ContainerSpec, line: &CommandLine) -> ContainerSpec {
    match line {
        CommandLine::Program(_) | CommandLine::Substitute { .. } => spec,
        CommandLine::Shell(_) => ContainerSpec { entrypoint: Some(line.to_argv()), command: None, ..spec },
    }
}

/// The surroundings of the container.
#[derive(Debug)]
pub(crate) struct ContainerContext<'a> {
    /// Our own container, whose network it joins.
    pub(crate) self_container: &'a SelfContainer,
    /// The id of the image.
    pub(crate) image_id: &'a str,
    /// The port of the tunnel's local end; `None` if the database is reached directly.
    pub(crate) endpoint_port: Option<u16>,
    /// The handling of its TLS at the tunnel's end.
    pub(crate) client_tls: ClientTls,
    /// The access that its sessions get.
    pub(crate) access: SessionAccess,
}

/// Returns the environment: the user's own variables win over ours.
fn container_environment(
    settings: &Settings,
    containers: &ImageSettings,
    context: &ContainerContext<'_>,
    session_settings: &SessionSettings,
) -> Vec<(String, String)> {
    let database = settings.database_for_tools().zip(containers.database_url.as_ref());
    let mut env = database.map_or_else(BTreeMap::new, |(database, url)| {
        database_variables(settings, (database, url), context, session_settings)
    });
    let filled = |value: &str| {
        DatabasePlaceholder::fill_in(value, |fact| container_database_fact(fact, settings.database_for_tools(), &env))
    };
    let user_variables: Vec<_> =
        settings.env.iter().map(|(name, value)| (name.clone(), filled(value.expose()))).collect();
    env.extend(user_variables);
    env.into_iter().collect()
}

/// Returns a fact of the database as the container sees it.
fn container_database_fact(
    fact: DatabasePlaceholder,
    database: Option<&DatabaseTarget>,
    variables: &BTreeMap<String, String>,
) -> String {
    let variable = |name: &str| variables.get(name).cloned().unwrap_or_default();
    match fact {
        DatabasePlaceholder::Url => variable("DATABASE_URL"),
        DatabasePlaceholder::Host => variable("PGHOST"),
        DatabasePlaceholder::Port => variable("PGPORT"),
        DatabasePlaceholder::User => variable("PGUSER"),
        DatabasePlaceholder::Password => variable("PGPASSWORD"),
        DatabasePlaceholder::Name => variable("PGDATABASE"),
        DatabasePlaceholder::Sslmode => variable("PGSSLMODE"),
        DatabasePlaceholder::Address => {
            let (host, port) = (variable("PGHOST"), variable("PGPORT").parse().unwrap_or_default());
            let url = database.map(|database| DatabaseUrl::of_target(database, None).redirected_to(&host, port));
            let address = url.map(|url| url.address());
            address.map(|address| address.expose().to_owned()).unwrap_or_default()
        }
    }
}

fn database_variables(
    settings: &Settings,
    (database, url): (&DatabaseTarget, &DatabaseUrl),
    context: &ContainerContext<'_>,
    session_settings: &SessionSettings,
) -> BTreeMap<String, String> {
    let is_renamed = context.endpoint_port.is_some() && !can_keep_host_name(settings, database);
    let host = if is_renamed && context.client_tls == ClientTls::Terminated { LOOPBACK } else { &database.host };
    let port = context.endpoint_port.unwrap_or(database.port);
    let options = environment_options(settings, session_settings);
    let is_redirected = host != database.host || port != database.port;
    let url = if is_redirected { &url.redirected_to(host, port) } else { url };
    // Where the tool speaks TLS itself we can't make its sessions read-only, or give them a role; more drivers read the
    // URL than PGOPTIONS.
    let is_needed = context.access == SessionAccess::ReadOnly || database.role.is_some();
    let url = match tool_speaks_tls(context) && is_needed && !options.is_empty() {
        true => url.text_with_options(&options),
        false => url.text().clone(),
    };
    let mut env = BTreeMap::from(
        [
            ("DATABASE_URL", url.expose().to_owned()),
            ("PGHOST", host.to_owned()),
            ("PGPORT", port.to_string()),
            ("PGUSER", database.user.clone()),
            ("PGDATABASE", database.name.clone()),
            ("PGSSLMODE", container_sslmode(database, context).to_owned()),
            ("PGAPPNAME", session_settings.application_name.clone()),
            ("PGOPTIONS", options),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let mut insert = |name: &str, value: &str| drop(env.insert(name.to_owned(), value.to_owned()));
    if let Some(password) = &database.password {
        insert("PGPASSWORD", password.expose());
    }
    if database.ca.is_some() && tool_speaks_tls(context) {
        insert("PGSSLROOTCERT", CA_PATH);
    }
    if is_renamed && context.client_tls == ClientTls::PassThrough {
        // The certificate is for the name in the URL, and the tunnel ends here (libpq, `hostaddr`).
        insert("PGHOSTADDR", LOOPBACK);
    }
    env
}

/// Returns the container's `sslmode`. It is plain text to the tunnel's end: node-pg takes every other value for a
/// demand (measured).
fn container_sslmode(database: &DatabaseTarget, context: &ContainerContext<'_>) -> &'static str {
    if tool_speaks_tls(context) { database.sslmode.name() } else { "disable" }
}

/// Returns whether the tool itself speaks TLS with the database.
fn tool_speaks_tls(context: &ContainerContext<'_>) -> bool {
    context.client_tls == ClientTls::PassThrough || context.endpoint_port.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entrypoint_is_the_images_own_or_another_or_none() {
        let argv = |text: &str| Some(text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let spec = || ContainerSpec { command: argv("python manage.py migrate"), ..ContainerSpec::default() };
        let resulting = |spec: ContainerSpec| (spec.entrypoint, spec.command);
        assert_eq!(resulting(with_entrypoint(spec(), None)), (None, argv("python manage.py migrate")));
        assert_eq!(resulting(with_entrypoint(spec(), Some(&[]))), (argv("python manage.py migrate"), None));
        let tini = argv("tini --").unwrap();
        assert_eq!(resulting(with_entrypoint(spec(), Some(&tini))), (Some(tini), argv("python manage.py migrate")));
    }

    #[test]
    fn placeholders_give_the_database_as_the_container_sees_it() {
        let variables = [("PGHOST", "127.0.0.1"), ("PGPORT", "5433"), ("PGSSLMODE", "disable")];
        let variables: BTreeMap<String, String> =
            variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let database = DatabaseTarget {
            password: Some(crate::secret::Secret::new("p@ss")),
            ..DatabaseTarget::new("db", 5432, "app", "shop")
        };
        let filled = |text: &str| {
            DatabasePlaceholder::fill_in(text, |fact| container_database_fact(fact, Some(&database), &variables))
        };
        assert_eq!(
            filled("postgresql+asyncpg://${DATABASE_ADDRESS}?ssl=${DATABASE_SSLMODE}"),
            "postgresql+asyncpg://app:p%40ss@127.0.0.1:5433/shop?ssl=disable"
        );
        assert_eq!(filled("${DATABASE_HOST}:${DATABASE_PORT}"), "127.0.0.1:5433");
    }
}
