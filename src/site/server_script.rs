//! The scripts of commands on the server: their settings for sessions, their variables, and what they log in to the database
//! with.

use super::{
    container_spec::{self, LOOPBACK, SessionTerms},
    database_endpoint::DatabaseEndpoint,
    server::{ServerSite, command_title, tunnel_of},
};
use crate::{
    fault::Fault,
    postgres::{ClientCertificate, DatabasePlaceholder, DatabaseTarget, DatabaseUrl},
    run::process::{ExitStatus, OutputChunk},
    secret::Secret,
    server::{CommandInput, PrivateFile, ShellScript, quote_words},
    tool::CommandLine,
    transport::Transport,
};

impl ServerSite<'_> {
    /// Returns the script of a command, with all that it needs to log in to the database.
    pub(super) async fn command_script(&self, line: &CommandLine, terms: SessionTerms) -> Result<ShellScript, Fault> {
        let token = self.fresh_token().await?;
        let certificate = self.settings.database.as_ref().and_then(|database| database.identity.certificate.as_ref());
        let files = certificate.map(certificate_files).unwrap_or_default();
        Ok(ShellScript { files, ..self.shell_script(line, terms, token.as_ref()) })
    }

    /// Runs a script that reads the database itself, whose output is a stream of bytes.
    ///
    /// # Errors
    /// The fault of `on_output`, or of the connection.
    pub(crate) async fn stream_script(
        &self,
        transport: &Transport,
        script: &str,
        terms: SessionTerms,
        on_output: impl AsyncFnMut(OutputChunk<'_>) -> Result<(), Fault>,
    ) -> Result<ExitStatus, Fault> {
        let token = self.fresh_token().await?;
        let script = self.shell_script(&CommandLine::Shell(script.to_owned()), terms, token.as_ref());
        let database = self.settings.database.as_ref();
        let of_database = database.into_iter().flat_map(|database| database_variables(database, token.as_ref()));
        let env = of_database.chain(script.env).collect();
        self.server.stream_script(tunnel_of(transport)?, &ShellScript { env, ..script }, on_output).await
    }

    /// Returns a token for the log-in of a command, if there is a source of them.
    async fn fresh_token(&self) -> Result<Option<Secret>, Fault> {
        let login = self.settings.database.as_ref().and_then(|database| database.identity.token.as_ref());
        let Some(login) = login else { return Ok(None) };
        Box::pin(login.fresh_token(&self.events)).await.map(Some)
    }

    fn shell_script(&self, line: &CommandLine, terms: SessionTerms, token: Option<&Secret>) -> ShellScript {
        let session_settings =
            container_spec::session_settings(self.settings, self.runner, terms).delivered(self.delivery.get());
        let options = container_spec::environment_options(self.settings, &session_settings);
        let own_variables = [("PGAPPNAME", session_settings.application_name.clone()), ("PGOPTIONS", options)];
        let own_variables = own_variables.into_iter().filter(|(_, value)| !value.is_empty());
        let own_variables = own_variables.map(|(name, value)| (name.to_owned(), Secret::new(value)));
        let password = token.map(|token| ("PGPASSWORD".to_owned(), token.clone()));
        ShellScript {
            title: command_title(&self.events.redactor().redact(&line.display_text())),
            working_directory: self.server_settings.working_directory.clone(),
            // The user's own variables come last, and win.
            env: own_variables.chain(password).chain(self.user_environment(token)).collect(),
            files: Vec::new(),
            setup: self.server_settings.setup.clone(),
            command: match line {
                CommandLine::Program(words) | CommandLine::Substitute { words, .. } => quote_words(words),
                CommandLine::Shell(lines) => lines.clone(),
            },
            input: CommandInput::Empty,
        }
    }

    /// Returns the user's variables, with the database's own facts filled in: the server reaches the database directly.
    fn user_environment(&self, token: Option<&Secret>) -> impl Iterator<Item = (String, Secret)> {
        let database = self.database_for_commands();
        let fact = move |fact| {
            database.as_ref().map(|database| server_database_fact(fact, database, token)).unwrap_or_default()
        };
        let filled = move |value: &Secret| Secret::new(DatabasePlaceholder::fill_in(value.expose(), &fact));
        self.settings.env.iter().map(move |(name, value)| (name.clone(), filled(value)))
    }

    /// Returns the database as commands there reach it.
    fn database_for_commands(&self) -> Option<DatabaseTarget> {
        let database = self.settings.database_for_tools()?.clone();
        Some(match self.endpoint.as_ref().and_then(DatabaseEndpoint::local_port) {
            Some(port) => DatabaseTarget { host: LOOPBACK.to_owned(), port, ..database },
            None => database,
        })
    }
}

/// The variable with the database's CA, which the script for a dump writes to a file.
const CA_VARIABLE: &str = "BASTION_MIGRATE_CA";

/// The variables with the client certificate and its key, which the script for a dump writes to files.
const CERTIFICATE_VARIABLES: [&str; 2] = ["BASTION_MIGRATE_CERT", "BASTION_MIGRATE_KEY"];

/// Returns the files of the client certificate for a command, which libpq finds by these variables.
fn certificate_files(certificate: &ClientCertificate) -> Vec<PrivateFile> {
    vec![
        PrivateFile { name: "crt", variable: "PGSSLCERT", content: Secret::new(certificate.chain.clone()) },
        PrivateFile { name: "key", variable: "PGSSLKEY", content: certificate.key.clone() },
    ]
}

/// Returns the variables by which programs of PostgreSQL find the database (libpq, "Environment Variables"). A command of
/// the user's gets none of them: its own configuration names the database.
fn database_variables(database: &DatabaseTarget, token: Option<&Secret>) -> impl Iterator<Item = (String, Secret)> {
    let facts = [
        ("PGHOST", DatabasePlaceholder::Host),
        ("PGPORT", DatabasePlaceholder::Port),
        ("PGUSER", DatabasePlaceholder::User),
        ("PGPASSWORD", DatabasePlaceholder::Password),
        ("PGDATABASE", DatabasePlaceholder::Name),
        ("PGSSLMODE", DatabasePlaceholder::Sslmode),
    ];
    let ca = database.ca.iter().map(|pem| (CA_VARIABLE.to_owned(), Secret::new(pem.clone())));
    let certificate = database.identity.certificate.iter().flat_map(|certificate| {
        let texts = [Secret::new(certificate.chain.clone()), certificate.key.clone()];
        CERTIFICATE_VARIABLES.into_iter().map(str::to_owned).zip(texts)
    });
    let value = move |fact| Secret::new(server_database_fact(fact, database, token));
    let facts = facts.into_iter().map(move |(name, fact)| (name.to_owned(), value(fact)));
    facts.filter(|(_, value)| !value.expose().is_empty()).chain(ca).chain(certificate)
}

fn server_database_fact(fact: DatabasePlaceholder, database: &DatabaseTarget, token: Option<&Secret>) -> String {
    let url = || DatabaseUrl::of_target(database, Some(database.sslmode));
    match fact {
        DatabasePlaceholder::Url => url().text().expose().to_owned(),
        DatabasePlaceholder::Address => url().address().expose().to_owned(),
        DatabasePlaceholder::Host => database.host.clone(),
        DatabasePlaceholder::Port => database.port.to_string(),
        DatabasePlaceholder::User => database.user.clone(),
        DatabasePlaceholder::Password => {
            token.or(database.password.as_ref()).map(|secret| secret.expose().to_owned()).unwrap_or_default()
        }
        DatabasePlaceholder::Name => database.name.clone(),
        DatabasePlaceholder::Sslmode => database.sslmode.name().to_owned(),
    }
}
