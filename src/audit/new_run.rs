//! A run that begins: the row that it writes before it changes anything.

use super::runs_table::{TABLE, add_reason_sql, prepare_sql};
use crate::{
    github::runner::Runner,
    layout::origin::time_sql,
    postgres::{OwnQuery, RowTag, Rows, quote_literal},
    random::random_token,
    settings::{ExecutorSettings, Settings, Site},
};

/// The facts of a run that are known when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// The key of its row, an UUID without hyphens.
    id: String,
    /// The columns that have a value, with their values. Most of them are untrusted text: anybody may name a branch.
    values: Vec<(&'static str, String)>,
}

impl NewRun {
    /// Collects the facts.
    #[must_use]
    pub fn new(settings: &Settings, runner: &Runner) -> Self {
        let given = [
            ("command", Some(settings.command.name())),
            ("executor", Some(executor_name(&settings.executor))),
            ("environment", settings.environment.as_deref()),
            ("reason", settings.safety.reason.as_deref()),
            ("actor", runner.actor.as_deref()),
            ("triggering_actor", runner.triggering_actor.as_deref()),
            ("repository", runner.repository.as_deref()),
            ("commit", runner.commit.as_deref()),
            ("ref", runner.git_ref.as_deref()),
            ("workflow", runner.workflow.as_deref()),
            ("run", runner.run_url().as_deref()),
            ("attempt", runner.run_attempt.as_deref().filter(|attempt| attempt.parse::<i32>().is_ok())),
        ]
        .into_iter()
        .filter_map(|(column, value)| Some((column, value?.to_owned())))
        .collect();
        Self { id: random_token(), values: given }
    }

    /// Returns the key of the row, as an SQL literal.
    pub(super) fn id_sql(&self) -> String {
        format!("'{}'", self.id)
    }

    /// Returns the query that writes the row, with these columns besides. It creates the table if there is none, and fails
    /// if the table is not ours. [`parse_unended`] reads the response.
    #[must_use]
    pub fn begin_query(&self, more: &[(&'static str, Option<&str>)]) -> OwnQuery {
        let more = more.iter().filter_map(|(column, value)| Some((*column, (*value)?)));
        let all = self.values.iter().map(|(column, value)| (*column, value.as_str())).chain(more);
        // A character that no text of PostgreSQL has would make the row impossible.
        let (columns, values): (Vec<&str>, Vec<String>) =
            all.map(|(column, value)| (column, quote_literal(&value.replace('\0', " ")))).unzip();
        let insert = format!(
            "INSERT INTO {TABLE} (id, {}) VALUES ({}, {})",
            columns.join(", "),
            self.id_sql(),
            values.join(", ")
        );
        let unended = format!(
            "SELECT {}, r.command, {}, r.run FROM {TABLE} r WHERE r.ended_at IS NULL AND r.id <> {} AND NOT EXISTS \
             (SELECT FROM {TABLE} l WHERE l.ended_at IS NOT NULL AND l.started_at > r.started_at) ORDER BY r.started_at DESC LIMIT 1",
            RowTag::UnendedRun,
            time_sql!("r.started_at"),
            self.id_sql()
        );
        let reason_column = self.values.iter().any(|(column, _)| *column == "reason").then(add_reason_sql);
        let reason_column = reason_column.unwrap_or_default();
        OwnQuery::read_write(format!("{}; {reason_column}{insert}; {unended}", prepare_sql()))
            .preceded_by("SET TRANSACTION READ WRITE")
    }
}

/// Returns the last run before this one in words, if its end was never recorded. It has ended: this run holds the run lock.
#[must_use]
pub fn parse_unended(rows: &Rows) -> Option<String> {
    let [command, time, page] = rows.tagged(RowTag::UnendedRun).next()?.columns();
    let page = page.map(|page| format!(" ({page})")).unwrap_or_default();
    Some(format!("the last run, {} of {}{page}", command?, time?))
}

fn executor_name(executor: &ExecutorSettings) -> &'static str {
    match executor {
        ExecutorSettings::Sql => "sql",
        ExecutorSettings::Tool(tool) => match tool.site {
            Site::Image(_) => "image",
            Site::Server => "server",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_only_literals_of_what_others_have_named() {
        let run =
            NewRun { id: "00ff".to_owned(), values: vec![("ref", "refs/heads/it's $bastion_migrate$".to_owned())] };
        let query = run.begin_query(&[("image", None), ("plan_digest", Some("sha256:1"))]).to_string();
        let insert = query.split("; ").find(|part| part.starts_with("INSERT")).unwrap_or_default();
        assert_eq!(
            insert,
            "INSERT INTO bastion_migrate.runs (id, ref, plan_digest) \
             VALUES ('00ff', 'refs/heads/it''s $bastion_migrate$', 'sha256:1')"
        );
        assert!(query.starts_with("SET TRANSACTION READ WRITE; "), "{query}");
    }
}
