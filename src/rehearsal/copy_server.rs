//! The server of the copies: databases and roles are made there for one rehearsal, and dropped with it. Those of a rehearsal
//! that was killed are dropped by the next one.

use super::original::{Original, SERVER_START};
use crate::{
    fault::{Code, Fault},
    postgres::{
        DatabaseTarget, Session, SessionSettings, fault::query_fault, quote_identifier, quote_literal,
        wait::answer_within, wait::wait_for_session,
    },
    random::random_token,
    run::event::Events,
    transport::Transport,
};
use std::{cell::RefCell, time::Duration};

/// The beginning of the names of our databases there.
const DATABASE_PREFIX: &str = "bastion_migrate_rehearsal_";

/// The beginning of the name of the session that stands for a rehearsal: its databases are in use while it lasts.
const SESSION_PREFIX: &str = "bastion-migrate-rehearsal-";

/// Time limit of a request to cancel a statement.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// The server, and what was made in it.
#[derive(Debug)]
pub struct CopyServer {
    target: DatabaseTarget,
    description: String,
    wait: Duration,
    session: Session,
    token: String,
    databases: RefCell<Vec<String>>,
    roles: RefCell<Vec<String>>,
}

impl CopyServer {
    /// Connects, and drops what killed rehearsals have left. `description` names the server in reports.
    ///
    /// # Errors
    /// `rehearsal-copy` if it can't be reached, if it is the server of the original, or if its version is another one.
    pub async fn connect(
        (target, description): (DatabaseTarget, String),
        wait: Duration,
        events: &Events,
        original: &Original,
    ) -> Result<Self, Fault> {
        let token = random_token();
        let name =
            SessionSettings::named(format!("{SESSION_PREFIX}{token}")).with_default("client_min_messages", "warning");
        let session =
            wait_for_session(&Transport::Direct, &target, &name, wait, events).await.map_err(unreachable_fault)?;
        let (databases, roles) = (RefCell::default(), RefCell::default());
        let server = Self { target, description, wait, session, token, databases, roles };
        server.check_server(original).await?;
        server.drop_leftovers().await?;
        Ok(server)
    }

    /// Checks that it is another server than that of the original, in the same version.
    async fn check_server(&self, original: &Original) -> Result<(), Fault> {
        let started = self.texts(&format!("SELECT {SERVER_START}")).await?;
        if started.first() == Some(&original.server_start) {
            let cause = "the server in `rehearse` is the server of the database itself, by another name";
            return Err(Fault::new(Code::RehearsalCopy, cause).fix(
                "name another server, whose databases nobody needs: the copies are made and dropped there, and take its time",
            ));
        }
        self.check_version(original).await
    }

    async fn check_version(&self, original: &Original) -> Result<(), Fault> {
        let version = self.texts("SELECT pg_catalog.current_setting('server_version_num')").await?;
        let [here, there] = [version.first().and_then(|text| text.parse().ok()).unwrap_or(0), original.server_version]
            .map(|version: u32| version / 10_000);
        if here == there {
            return Ok(());
        }
        let cause = format!(
            "the server for the copy is PostgreSQL {here} and that of the database is {there}: another version has other locks"
        );
        Err(Fault::new(Code::RehearsalCopy, cause)
            .fix(format!("let `rehearse` name a server of PostgreSQL {there}, or the image postgres:{there}")))
    }

    /// Returns the description of the server for reports.
    #[must_use]
    pub fn describe(&self) -> String {
        self.description.clone()
    }

    /// Makes an empty database like the original, and returns its name. `lacks` gets what differs.
    ///
    /// # Errors
    /// `rehearsal-copy`.
    pub async fn make_database(&self, original: &Original, lacks: &mut Vec<String>) -> Result<String, Fault> {
        let name = self.new_name();
        let base = format!("CREATE DATABASE {name} TEMPLATE template0");
        let [collation, classification] = original.locale.each_ref().map(|locale| quote_literal(locale));
        let encoding = quote_literal(&original.encoding);
        let alike = format!("{base} ENCODING {encoding} LC_COLLATE {collation} LC_CTYPE {classification}");
        if let Err(fault) = self.execute(&alike).await {
            self.execute(&base).await?;
            lacks.push(format!(
                "it has the server's own encoding and sort order, not those of the database: {}",
                fault.cause
            ));
        }
        Ok(name)
    }

    /// Gives a database to the owner of the original, whose role is there.
    ///
    /// # Errors
    /// `rehearsal-copy`.
    pub async fn give_to_owner(&self, database: &str, original: &Original) -> Result<(), Fault> {
        self.execute(&format!("ALTER DATABASE {database} OWNER TO {}", quote_identifier(&original.owner))).await
    }

    /// Copies a database of this server to which no session is connected, and returns the name of the copy.
    ///
    /// # Errors
    /// `rehearsal-copy`.
    pub async fn copy_database(&self, from: &str, original: &Original) -> Result<String, Fault> {
        let name = self.new_name();
        let owner = quote_identifier(&original.owner);
        self.execute(&format!("CREATE DATABASE {name} OWNER {owner} TEMPLATE {from}")).await?;
        Ok(name)
    }

    fn new_name(&self) -> String {
        let mut databases = self.databases.borrow_mut();
        let name = format!("{DATABASE_PREFIX}{}_{}", self.token, databases.len());
        databases.push(name.clone());
        name
    }

    /// Gives a database the settings that new sessions with the original get. `lacks` gets those that can't be set.
    ///
    /// # Errors
    /// `rehearsal-copy`.
    pub async fn set_defaults(
        &self,
        database: &str,
        original: &Original,
        lacks: &mut Vec<String>,
    ) -> Result<(), Fault> {
        for (name, value) in &original.settings {
            let (quoted, text) = (quote_identifier(name), quote_literal(value));
            // As one message, it is one transaction: the value does not stay in this session.
            let sql = format!(
                "SELECT pg_catalog.set_config({}, {text}, true); ALTER DATABASE {database} SET {quoted} FROM CURRENT",
                quote_literal(name)
            );
            if self.execute(&sql).await.is_err() {
                lacks.push(format!("the setting `{name}` of the database could not be set"));
            }
        }
        Ok(())
    }

    /// Returns the target of a session with one of the databases; `role` is the role that it takes.
    #[must_use]
    pub fn target_of(&self, database: &str, role: Option<String>) -> DatabaseTarget {
        DatabaseTarget { name: database.to_owned(), role, ..self.target.clone() }
    }

    /// Opens a session with one of the databases.
    ///
    /// # Errors
    /// `rehearsal-copy`.
    pub async fn open_session(
        &self,
        target: &DatabaseTarget,
        settings: &SessionSettings,
        events: &Events,
    ) -> Result<Session, Fault> {
        wait_for_session(&Transport::Direct, target, settings, self.wait, events).await.map_err(unreachable_fault)
    }

    /// Notes a role that is used, so that it is dropped whatever happens.
    pub(super) fn note_role(&self, name: &str) {
        self.roles.borrow_mut().push(name.to_owned());
    }

    /// Drops everything that was made.
    ///
    /// # Errors
    /// `rehearsal-copy`, with the names of what is left.
    pub async fn drop_copies(&self) -> Result<(), Fault> {
        let (databases, roles) = (self.databases.borrow().clone(), self.roles.borrow().clone());
        if databases.is_empty() && roles.is_empty() {
            return Ok(());
        }
        let dropped = async {
            drop_databases(&self.session, &databases).await?;
            self.databases.take();
            self.drop_roles(Some(&roles)).await?;
            self.roles.take();
            Ok::<(), Fault>(())
        };
        dropped.await.map_err(|fault| {
            let cause = format!("the copy could not be removed ({}): {}", databases.join(", "), fault.cause);
            Fault::new(Code::RehearsalCopy, cause)
                .fix("the next rehearsal with this server removes it; or drop it yourself")
        })
    }

    /// Stops the statement of a future that was dropped, and drops everything that was made.
    ///
    /// # Errors
    /// `rehearsal-copy`, with the names of what is left.
    pub async fn stop(&self) -> Result<(), Fault> {
        // A statement that can't be cancelled ends by itself.
        drop(answer_within(CANCEL_TIMEOUT, self.session.canceller().cancel(&Transport::Direct)).await);
        self.drop_copies().await
    }

    /// Drops what is left, and closes the session.
    ///
    /// # Errors
    /// `rehearsal-copy`, with the names of what is left.
    pub async fn close(self) -> Result<(), Fault> {
        let dropped = self.drop_copies().await;
        self.session.close().await;
        dropped
    }

    /// Closes the session, and leaves the rest to the end of the server.
    pub async fn abandon(self) {
        self.session.close().await;
    }

    /// Drops the databases of rehearsals whose session is gone, and the roles that no copy needs.
    async fn drop_leftovers(&self) -> Result<(), Fault> {
        let databases = self
            .texts(&format!(
                "SELECT d.datname FROM pg_catalog.pg_database d WHERE d.datname ^@ '{DATABASE_PREFIX}' \
                 AND pg_catalog.pg_has_role(d.datdba, 'MEMBER') AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a \
                 WHERE a.application_name = '{SESSION_PREFIX}' || pg_catalog.substr(d.datname, {}, 32))",
                DATABASE_PREFIX.len() + 1
            ))
            .await?;
        drop_databases(&self.session, &databases).await?;
        self.drop_roles(None).await
    }

    pub(super) async fn texts(&self, sql: &str) -> Result<Vec<String>, Fault> {
        let rows = answer_within(self.wait, async {
            self.session.client.simple_query(sql).await.map_err(|error| as_copy_fault(query_fault(&error)))
        })
        .await?;
        let text = |message: &tokio_postgres::SimpleQueryMessage| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        };
        Ok(rows.iter().filter_map(text).collect())
    }

    pub(super) async fn execute(&self, sql: &str) -> Result<(), Fault> {
        self.session.client.batch_execute(sql).await.map_err(|error| as_copy_fault(query_fault(&error)))
    }
}

async fn drop_databases(session: &Session, names: &[String]) -> Result<(), Fault> {
    for name in names {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote_identifier(name));
        session.client.batch_execute(&sql).await.map_err(|error| query_fault(&error))?;
    }
    Ok(())
}

/// Returns the fault of a statement as one of the copy.
pub(super) fn as_copy_fault(fault: Fault) -> Fault {
    if fault.code.ends_session() {
        return fault;
    }
    let cause = format!("the copy could not be made: {}", fault.cause);
    Fault { cause, ..fault }.code(Code::RehearsalCopy)
}

fn unreachable_fault(fault: Fault) -> Fault {
    let cause = format!("the server in `rehearse` can't be used: {}", fault.cause);
    Fault { cause, ..fault }.code(Code::RehearsalCopy)
}
