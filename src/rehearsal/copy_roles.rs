//! The roles of a copy: those that the server lacks are made, and dropped with the last copy that needs them.
//!
//! Rehearsals share a server, and so its roles. A copy's database gives each of its roles a right, and the server drops no
//! role that has one: so a rehearsal that ends takes no role away from another one. The server locks a role while it
//! records a right of it (PostgreSQL, `shdepLockAndCheckObject`), so a role that was dropped just before is made again.

use super::{copy_server::CopyServer, original::Original, original::OriginalRole};
use crate::{
    fault::Fault,
    postgres::{quote_identifier, quote_literal},
};

/// The comment of the roles that rehearsals have made.
const ROLE_COMMENT: &str = "made by a rehearsal of bastion-migrate";

/// Number of attempts to keep a role that other rehearsals drop.
const ATTEMPTS: u8 = 5;

/// SQLSTATEs of a role that is not there, and of one that another session makes at the same time (PostgreSQL manual,
/// appendix A).
const UNDEFINED_OBJECT: &str = "42704";
const MADE_BY_OTHERS: [&str; 2] = ["42710", "23505"];

impl CopyServer {
    /// Makes the roles that the original has and this server lacks, and keeps them as long as `database` is there. `lacks`
    /// gets the memberships that can't be given.
    ///
    /// # Errors
    /// `rehearsal-copy`.
    pub async fn make_roles(&self, database: &str, original: &Original, lacks: &mut Vec<String>) -> Result<(), Fault> {
        let known = self.texts("SELECT rolname FROM pg_catalog.pg_roles").await?;
        for role in &original.roles {
            self.note_role(&role.name);
            let mut attempt = 1;
            while let Err(fault) = self.keep_role(role, database, known.contains(&role.name) && attempt == 1).await {
                if fault.sqlstate.as_deref() != Some(UNDEFINED_OBJECT) || attempt == ATTEMPTS {
                    return Err(fault);
                }
                attempt += 1;
            }
        }
        let made = self.texts(&marked_roles()).await?;
        let is_there = |role: &String| known.contains(role) || made.contains(role);
        // A membership ends with either of its roles, so one between two roles of others is not given.
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

    /// Makes a role unless it is there, and gives it a right in the database.
    async fn keep_role(&self, role: &OriginalRole, database: &str, is_there: bool) -> Result<(), Fault> {
        let name = quote_identifier(&role.name);
        if !is_there {
            self.make_role(role, &name).await?;
        }
        self.execute(&format!("GRANT CONNECT ON DATABASE {database} TO {name}")).await?;
        if !is_there {
            // Without it, only a superuser may give an object to the role. A superuser needs none.
            drop(self.execute(&format!("GRANT {name} TO CURRENT_USER")).await);
        }
        Ok(())
    }

    async fn make_role(&self, role: &OriginalRole, name: &str) -> Result<(), Fault> {
        // As one message, it is one transaction: a role that is there has its mark.
        let sql = |options: &str| {
            format!("CREATE ROLE {name} NOLOGIN {options}; COMMENT ON ROLE {name} IS {}", quote_literal(ROLE_COMMENT))
        };
        let is_made_by_others =
            |fault: &Fault| fault.sqlstate.as_deref().is_some_and(|state| MADE_BY_OTHERS.contains(&state));
        let made = match self.execute(&sql(&role.options)).await {
            // Only a superuser may give some of the options.
            Err(fault) if !is_made_by_others(&fault) => self.execute(&sql("")).await,
            made => made,
        };
        made.or_else(|fault| if is_made_by_others(&fault) { Ok(()) } else { Err(fault) })
    }

    /// Drops those of these roles that rehearsals have made and that no copy needs.
    ///
    /// # Errors
    /// `rehearsal-copy`.
    pub(super) async fn drop_roles(&self, among: Option<&[String]>) -> Result<(), Fault> {
        for name in self.texts(&marked_roles()).await? {
            if among.is_some_and(|names| !names.contains(&name)) {
                continue;
            }
            match self.execute(&format!("DROP ROLE IF EXISTS {}", quote_identifier(&name))).await {
                Err(fault) if fault.code.ends_session() => return Err(fault),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// Returns the query for the roles that rehearsals have made.
fn marked_roles() -> String {
    format!(
        "SELECT r.rolname FROM pg_catalog.pg_roles r JOIN pg_catalog.pg_shdescription d ON d.objoid = r.oid \
         AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass WHERE d.description = {}",
        quote_literal(ROLE_COMMENT)
    )
}
