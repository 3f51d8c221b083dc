//! The server of the copies: databases and roles are made there for one rehearsal, and dropped with it. Those of a rehearsal
//! that was killed are dropped by the next one.

use super::original::Original;
use crate::{
    fault::{Code, Fault},
    postgres::{
        DatabaseTarget, Session, SessionSettings, fault::query_fault, quote_identifier, quote_literal,
        wait::answer_within, wait::wait_for_session,
    },
    random::random_token,
    run::event::Events,
    settings::RehearsalSettings,
    transport::Transport,
};
use std::{cell::RefCell, time::Duration};

/// The beginning of the names of our databases there.
const DATABASE_PREFIX: &str = "bastion_migrate_rehearsal_";

/// The beginning of the name of the session that stands for a rehearsal: its databases are in use while it lasts.
const SESSION_PREFIX: &str = "bastion-migrate-rehearsal-";

/// The comment of the roles that we have made.
const ROLE_COMMENT: &str = "made by a rehearsal of bastion-migrate";

/// Time limit of a request to cancel a statement.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// The server, and what was made in it.
#[derive(Debug)]
pub struct CopyServer<'a> {
    target: &'a DatabaseTarget,
    wait: Duration,
    session: Session,
    token: String,
    databases: RefCell<Vec<String>>,
    roles: RefCell<Vec<String>>,
}

impl<'a> CopyServer<'a> {
    /// Connects, and drops what killed rehearsals have left.
    ///
    /// # Errors
    /// `rehearsal-copy` if it can't be reached, or if its version is not that of the original.
    pub async fn connect(
        settings: &'a RehearsalSettings,
        wait: Duration,
        events: &Events,
        original: &Original,
    ) -> Result<Self, Fault> {
        let (target, token) = (&settings.server, random_token());
        let name =
            SessionSettings::named(format!("{SESSION_PREFIX}{token}")).with_default("client_min_messages", "warning");
        let session =
            wait_for_session(&Transport::Direct, target, &name, wait, events).await.map_err(unreachable_fault)?;
        let server = Self { target, wait, session, token, databases: RefCell::default(), roles: RefCell::default() };
        server.check_version(original).await?;
        server.drop_leftovers().await?;
        Ok(server)
    }

    async fn check_version(&self, original: &Original) -> Result<(), Fault> {
        let version = self.texts("SELECT pg_catalog.current_setting('server_version_num')").await?;
        let [here, there] = [version.first().and_then(|text| text.parse().ok()).unwrap_or(0), original.server_version]
            .map(|version: u32| version / 10_000);
        if here == there {
            return Ok(());
        }
        let cause = format!(
            "the server in `rehearse` is PostgreSQL {here} and that of the database is {there}: another version has other locks"
        );
        Err(Fault::new(Code::RehearsalCopy, cause)
            .fix(format!("let `rehearse` name a server of PostgreSQL {there}, as of the image postgres:{there}")))
    }

    /// Returns the description of the server for reports.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{}:{}", self.target.host, self.target.port)
    }

    /// Makes the roles that the original has and this server lacks. `lacks` gets the memberships that can't be given.
    ///
    /// # Errors
    /// `rehearsal-copy`.
    pub async fn make_roles(&self, original: &Original, lacks: &mut Vec<String>) -> Result<(), Fault> {
        let known = self.texts("SELECT rolname FROM pg_catalog.pg_roles").await?;
        for role in original.roles.iter().filter(|role| !known.contains(&role.name)) {
            let name = quote_identifier(&role.name);
            // It is noted first, so that it is dropped whatever happens.
            self.roles.borrow_mut().push(role.name.clone());
            let made = self.execute(&format!("CREATE ROLE {name} NOLOGIN {}", role.options)).await;
            if made.is_err() {
                // Only a superuser may give some of the options.
                self.execute(&format!("CREATE ROLE {name} NOLOGIN")).await?;
            }
            self.execute(&format!("COMMENT ON ROLE {name} IS {}", quote_literal(ROLE_COMMENT))).await?;
            // Without it, only a superuser may give an object to the role. A superuser needs none.
            drop(self.execute(&format!("GRANT {name} TO CURRENT_USER")).await);
        }
        let made = self.roles.borrow().clone();
        // A membership ends with either of its roles, so one between two roles of others is not given.
        let is_there = |role: &String| known.contains(role) || made.contains(role);
        let is_ours = |(group, member): &&(String, String)| made.contains(group) || made.contains(member);
        for (group, member) in original.memberships.iter().filter(is_ours) {
            if is_there(group) && is_there(member) {
                let sql = format!("GRANT {} TO {}", quote_identifier(group), quote_identifier(member));
                if let Err(fault) = self.execute(&sql).await {
                    lacks.push(format!("`{member}` is no member of `{group}`: {}", fault.cause));
                }
            }
        }
        Ok(())
    }

    /// Makes an empty database like the original, and returns its name. `lacks` gets what differs.
    ///
    /// # Errors
    /// `rehearsal-copy`.
    pub async fn make_database(&self, original: &Original, lacks: &mut Vec<String>) -> Result<String, Fault> {
        let name = self.new_name();
        let base = format!("CREATE DATABASE {name} OWNER {} TEMPLATE template0", quote_identifier(&original.owner));
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

    /// Drops everything that was made.
    ///
    /// # Errors
    /// `rehearsal-copy`, with the names of what is left.
    pub async fn drop_copies(&self) -> Result<(), Fault> {
        let (databases, roles) = (self.databases.borrow().clone(), self.roles.borrow().clone());
        let dropped = async {
            drop_databases(&self.session, &databases).await?;
            self.databases.take();
            drop_roles(&self.session, &roles).await?;
            self.roles.take();
            Ok::<(), Fault>(())
        };
        dropped.await.map_err(|fault| {
            let left = [databases.as_slice(), roles.as_slice()].concat().join(", ");
            Fault::new(Code::RehearsalCopy, format!("the copy could not be removed ({left}): {}", fault.cause))
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

    /// Drops the databases of rehearsals whose session is gone, and the roles if no other rehearsal is under way.
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
        let roles = self
            .texts(&format!(
                "SELECT r.rolname FROM pg_catalog.pg_roles r JOIN pg_catalog.pg_shdescription d ON d.objoid = r.oid \
                 AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass WHERE d.description = {} \
                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.application_name ^@ '{SESSION_PREFIX}' \
                 AND a.pid <> pg_catalog.pg_backend_pid())",
                quote_literal(ROLE_COMMENT)
            ))
            .await?;
        drop_roles(&self.session, &roles).await
    }

    async fn texts(&self, sql: &str) -> Result<Vec<String>, Fault> {
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

    async fn execute(&self, sql: &str) -> Result<(), Fault> {
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

/// Drops roles; one that owns something by now stays, since others use it.
async fn drop_roles(session: &Session, names: &[String]) -> Result<(), Fault> {
    for name in names {
        let sql = format!("DROP ROLE IF EXISTS {}", quote_identifier(name));
        match session.client.batch_execute(&sql).await {
            Err(error) if error.is_closed() => return Err(query_fault(&error)),
            Ok(()) | Err(_) => {}
        }
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
