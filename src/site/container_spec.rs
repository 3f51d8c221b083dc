//! The specification of a command's container: everything that the command needs, and nothing of our own.

use crate::{
    docker::{ContainerSpec, SelfContainer},
    github::runner::Runner,
    postgres::{DatabasePlaceholder, DatabaseTarget, run_lock},
    proxy::{ClientSessionSettings, ClientTls},
    settings::{Command, ImageSettings, Settings, Workspace},
    tool::CommandLine,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
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
}

/// Returns the settings for the tool's sessions, sent in the start-up packet or as PGOPTIONS.
pub(crate) fn session_settings(settings: &Settings, runner: &Runner, terms: SessionTerms) -> ClientSessionSettings {
    let (safety, access) = (&settings.safety, terms.access);
    let variables = vec![
        ("lock_timeout".to_owned(), terms.lock_timeout.as_millis().to_string()),
        ("statement_timeout".to_owned(), safety.statement_timeout.as_millis().to_string()),
        // Ends the statement of a tool whose container is gone.
        ("client_connection_check_interval".to_owned(), "1000".to_owned()),
    ];
    let insisted = match access {
        SessionAccess::ReadOnly | SessionAccess::UntilConfirmed => {
            vec![("default_transaction_read_only".to_owned(), "on".to_owned())]
        }
        SessionAccess::ReadWrite => Vec::new(),
    };
    ClientSessionSettings {
        application_name: application_name(settings, runner),
        defaults: variables,
        enforced: insisted,
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
/// a name that we need ourselves.
pub(crate) fn can_keep_host_name(settings: &Settings, database: &DatabaseTarget) -> bool {
    let host = &database.host;
    let hops = settings.route.iter().flat_map(|route| &route.hops);
    host.parse::<IpAddr>().is_err() && !hops.into_iter().any(|hop| hop.host.eq_ignore_ascii_case(host))
}

/// Returns the specification of the container for one command.
pub(crate) fn build_spec(
    settings: &Settings,
    containers: &ImageSettings,
    place: &ContainerContext<'_>,
    line: &CommandLine,
    injected: &ClientSessionSettings,
) -> ContainerSpec {
    let workspace =
        place.self_container.mount_source(Path::new(WORKSPACE_PATH)).and_then(|source| match containers.workspace {
            Workspace::Hidden => None,
            Workspace::ReadOnly => Some(format!("{source}:{WORKSPACE_PATH}:ro")),
            Workspace::ReadWrite => Some(format!("{source}:{WORKSPACE_PATH}:rw")),
        });
    let ca = settings.database.as_ref().and_then(|database| database.ca.as_ref());
    let ca = ca.filter(|_| tool_speaks_tls(place)).map(|pem| (CA_PATH.to_owned(), pem.clone().into_bytes()));
    ContainerSpec {
        image: place.image_id.to_owned(),
        command: Some(line.to_argv()),
        env: container_environment(settings, containers, place, injected),
        // The tunnel listens only in our own network; a container that joins it gets our host names, too.
        network: Some(format!("container:{}", place.self_container.id)),
        binds: workspace.into_iter().collect(),
        working_directory: containers.working_directory.clone(),
        memory: containers.memory,
        files: ca.into_iter().collect(),
        ..ContainerSpec::default()
    }
}

/// Replaces the image's entrypoint, if one is given.
pub(crate) fn with_entrypoint(order: ContainerSpec, entrypoint: Option<&[String]>) -> ContainerSpec {
    match entrypoint {
        None => order,
        // To the engine, an empty entrypoint means the image's own.
        Some([]) => ContainerSpec { entrypoint: order.command, command: None, ..order },
        Some(words) => ContainerSpec { entrypoint: Some(words.to_vec()), ..order },
    }
}

/// Adapts the specification to a step's own image: shell lines don't need what its entrypoint prepares, and the
/// entrypoint of a cloud's command-line image is that program.
pub(crate) fn for_step_image(order: ContainerSpec, line: &CommandLine) -> ContainerSpec {
    match line {
        CommandLine::Program(_) => order,
        CommandLine::Shell(_) => ContainerSpec { entrypoint: Some(line.to_argv()), command: None, ..order },
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
    place: &ContainerContext<'_>,
    injected: &ClientSessionSettings,
) -> Vec<(String, String)> {
    let database = settings.database.as_ref().zip(containers.database_url.as_ref());
    let mut env = database.map_or_else(BTreeMap::new, |(database, whole)| {
        database_variables(settings, database, whole.expose(), place, injected)
    });
    let filled = |value: &str| {
        DatabasePlaceholder::fill_in(value, |fact| container_database_fact(fact, settings.database.as_ref(), &env))
    };
    let own: Vec<_> = settings.env.iter().map(|(name, value)| (name.clone(), filled(value.expose()))).collect();
    env.extend(own);
    env.into_iter().collect()
}

/// Returns a fact of the database as the container sees it.
fn container_database_fact(
    fact: DatabasePlaceholder,
    database: Option<&DatabaseTarget>,
    variables: &BTreeMap<String, String>,
) -> String {
    let of = |name: &str| variables.get(name).cloned().unwrap_or_default();
    match fact {
        DatabasePlaceholder::Url => of("DATABASE_URL"),
        DatabasePlaceholder::Host => of("PGHOST"),
        DatabasePlaceholder::Port => of("PGPORT"),
        DatabasePlaceholder::User => of("PGUSER"),
        DatabasePlaceholder::Password => of("PGPASSWORD"),
        DatabasePlaceholder::Name => of("PGDATABASE"),
        DatabasePlaceholder::Sslmode => of("PGSSLMODE"),
        DatabasePlaceholder::Address => {
            let (host, port) = (of("PGHOST"), of("PGPORT").parse().unwrap_or_default());
            let address = database.map(|database| database.address_via(&host, port));
            address.map(|address| address.expose().to_owned()).unwrap_or_default()
        }
    }
}

fn database_variables(
    settings: &Settings,
    database: &DatabaseTarget,
    whole: &str,
    place: &ContainerContext<'_>,
    injected: &ClientSessionSettings,
) -> BTreeMap<String, String> {
    let renamed = place.endpoint_port.is_some() && !can_keep_host_name(settings, database);
    let host = if renamed && place.client_tls == ClientTls::Terminated { LOOPBACK } else { &database.host };
    let port = place.endpoint_port.unwrap_or(database.port);
    let options = injected.as_pgoptions();
    let url = url_for_container(database, whole, host, port);
    // Where the tool speaks TLS itself we can't make its sessions read-only; more drivers read the URL than PGOPTIONS.
    let looks = place.access == SessionAccess::ReadOnly;
    let url = if tool_speaks_tls(place) && looks { url_with_options(url, &options) } else { url };
    let mut env = BTreeMap::from(
        [
            ("DATABASE_URL", url),
            ("PGHOST", host.to_owned()),
            ("PGPORT", port.to_string()),
            ("PGUSER", database.user.clone()),
            ("PGDATABASE", database.name.clone()),
            ("PGSSLMODE", container_sslmode(database, place).to_owned()),
            ("PGAPPNAME", injected.application_name.clone()),
            ("PGOPTIONS", options),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let mut more = |name: &str, value: &str| drop(env.insert(name.to_owned(), value.to_owned()));
    if let Some(password) = &database.password {
        more("PGPASSWORD", password.expose());
    }
    if database.ca.is_some() && tool_speaks_tls(place) {
        more("PGSSLROOTCERT", CA_PATH);
    }
    if renamed && place.client_tls == ClientTls::PassThrough {
        // The certificate is for the name in the URL, and the tunnel ends here (libpq, `hostaddr`).
        more("PGHOSTADDR", LOOPBACK);
    }
    env
}

/// Returns the container's `sslmode`. It is plain text to the tunnel's end: node-pg takes every other value for a
/// demand (measured).
fn container_sslmode(database: &DatabaseTarget, place: &ContainerContext<'_>) -> &'static str {
    if tool_speaks_tls(place) { database.sslmode.name() } else { "disable" }
}

/// Returns whether the tool itself speaks TLS with the database.
fn tool_speaks_tls(place: &ContainerContext<'_>) -> bool {
    place.client_tls == ClientTls::PassThrough || place.endpoint_port.is_none()
}

/// Adds these options to the URL, unless it has options of its own.
fn url_with_options(url: String, options: &str) -> String {
    let sign = match url.split_once('?') {
        Some((_, query)) if query.split('&').any(|pair| pair.starts_with("options=")) => return url,
        Some(_) => '&',
        None => '?',
    };
    format!("{url}{sign}options={}", utf8_percent_encode(options, NON_ALPHANUMERIC))
}

/// Returns the URL, with host and port replaced if the container uses others.
fn url_for_container(database: &DatabaseTarget, whole: &str, host: &str, port: u16) -> String {
    if host == database.host && port == database.port {
        return whole.to_owned();
    }
    let (before, query) = whole.split_once('?').map_or((whole, ""), |(before, query)| (before, query));
    let Some((scheme, rest)) = before.split_once("://") else { return whole.to_owned() };
    let (login, place) = rest.rsplit_once('@').map_or(("", rest), |(login, place)| (login, place));
    let path = place.split_once('/').map_or("", |(_, path)| path);
    let login = if login.is_empty() { String::new() } else { format!("{login}@") };
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    format!("{scheme}://{login}{host}:{port}/{path}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entrypoint_is_the_images_own_or_another_or_none() {
        let words = |text: &str| Some(text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let order = || ContainerSpec { command: words("python manage.py migrate"), ..ContainerSpec::default() };
        let given = |order: ContainerSpec| (order.entrypoint, order.command);
        assert_eq!(given(with_entrypoint(order(), None)), (None, words("python manage.py migrate")));
        assert_eq!(given(with_entrypoint(order(), Some(&[]))), (words("python manage.py migrate"), None));
        let tini = words("tini --").unwrap();
        assert_eq!(given(with_entrypoint(order(), Some(&tini))), (Some(tini), words("python manage.py migrate")));
    }

    #[test]
    fn placeholders_give_the_database_as_the_container_sees_it() {
        let variables = [("PGHOST", "127.0.0.1"), ("PGPORT", "5433"), ("PGSSLMODE", "disable")];
        let variables: BTreeMap<String, String> =
            variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let database = DatabaseTarget {
            host: "db".to_owned(),
            port: 5432,
            user: "app".to_owned(),
            password: Some(crate::secret::Secret::new("p@ss")),
            name: "shop".to_owned(),
            sslmode: crate::postgres::SslMode::Require,
            ca: None,
            options: None,
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

    #[test]
    fn options_are_added_to_a_url_that_has_none() {
        let options = "-c a=1";
        assert_eq!(url_with_options("postgres://h/d".to_owned(), options), "postgres://h/d?options=%2Dc%20a%3D1");
        assert_eq!(
            url_with_options("postgres://h/d?x=y".to_owned(), options),
            "postgres://h/d?x=y&options=%2Dc%20a%3D1"
        );
        let own = "postgres://h/d?options=-c%20b%3D2";
        assert_eq!(url_with_options(own.to_owned(), options), own);
    }
}
