//! Makes the copies: one for the rounds of the program, and one in which each statement is watched.

use super::copy_site::CopySite;
use crate::{
    executor::RehearsalSubject,
    fault::Fault,
    github::runner::Runner,
    postgres::{DatabaseTarget, Session, SessionSettings, query_rows, wait::answer_within},
    rehearsal::{CopyServer, RowGuard, SampledRows, copy_sample, fill_copy, read_original, read_rows},
    run::{MigrationChanges, RehearsalFacts, event::Events, format_bytes},
    schema::{SchemaDescription, description_query, description_query_with_own_schema, differences_of_copy},
    settings::{CopyContent, RehearsalSettings, Settings},
};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// The name of the session that fills a copy.
const FILLING: &str = "bastion-migrate-copy";

/// The copies.
#[derive(Debug)]
pub(super) struct MadeCopies {
    /// The one for the rounds of the program.
    pub(super) for_rounds: DatabaseTarget,
    /// The one in which the statements are watched.
    pub(super) watched: DatabaseTarget,
    /// The schema of both, before anything ran there.
    pub(super) schema: SchemaDescription,
    /// The guard of the rows that they have; none if they have none of the app's.
    pub(super) guard: Option<RowGuard>,
}

impl MadeCopies {
    /// Removes the rows of the copies from faults.
    pub(super) fn without_rows(&self, faults: Vec<Fault>) -> Vec<Fault> {
        match &self.guard {
            Some(guard) => faults.into_iter().map(|fault| guard.guard_fault(fault)).collect(),
            None => faults,
        }
    }

    /// Removes the rows of the copies from lines of their schema.
    pub(super) fn lines_without_rows(&self, mut lines: Vec<String>) -> Vec<String> {
        self.guard.iter().for_each(|guard| guard.guard_lines(&mut lines));
        lines
    }

    /// Removes the rows of the copies from the changes of migrations.
    pub(super) fn changes_without_rows(&self, mut changes: Vec<MigrationChanges>) -> Vec<MigrationChanges> {
        if let Some(guard) = &self.guard {
            changes.iter_mut().for_each(|change| guard.guard_lines(&mut change.lines));
        }
        changes
    }

    /// Returns the events of a round, whose result is reported by other means: of a tool the output is shown, unless it may
    /// have rows.
    pub(super) fn events_of_round(&self, events: &Events) -> Events {
        match &self.guard {
            Some(_) => events.starts_only(),
            None => events.output_only().0,
        }
    }

    /// Removes the rows of the copies from faults of a tool, whose output may have them.
    pub(super) fn without_output(&self, faults: Vec<Fault>) -> Vec<Fault> {
        match &self.guard {
            Some(guard) => faults.into_iter().map(|fault| guard.guard_tool_fault(fault)).collect(),
            None => faults,
        }
    }
}

/// Makes the copies. Whatever was made stays in `site`, to be dropped.
///
/// # Errors
/// `rehearsal-copy`, `schema-unknown`, or the lost connection to the database itself; the faults of the engine.
pub(super) async fn make_copy<'p>(
    (settings, rehearsal): (&Settings, &RehearsalSettings),
    (runner, events): (&Runner, &Events),
    subject: &RehearsalSubject<'_>,
    (schema, site): (&SchemaDescription, &'p mut CopySite),
    facts: &mut RehearsalFacts,
) -> Result<(&'p CopyServer, MadeCopies), Fault> {
    let (wait, began) = (settings.wait_timeout, Instant::now());
    let client = &subject.session.client;
    let original = answer_within(wait, read_original(client)).await?;
    let rows = answer_within(wait, read_rows(client, subject.ledger_tables.clone())).await?;
    let with_own = answer_within(wait, query_rows(client, &description_query_with_own_schema())).await?;
    let text = SchemaDescription::from_rows(&with_own)?.to_file();
    let server = site.open((settings, &rehearsal.place), (runner, events), &original).await?;
    facts.copy = server.describe();
    events.emit_note(format!("copying the schema to {}", facts.copy));
    let name = server.make_database(&original, &mut facts.lacks).await?;
    server.make_roles(&name, &original, &mut facts.lacks).await?;
    server.give_to_owner(&name, &original).await?;
    server.set_defaults(&name, &original, &mut facts.lacks).await?;
    // What code of the database raises while rows are added is shown nowhere.
    let filling = SessionSettings::named(FILLING)
        .with_default("client_min_messages", "error")
        .with_default("synchronous_commit", "off");
    let filler = server.open_session(&server.target_of(&name, None), &filling, &events.output_only().0).await?;
    let filled = async {
        fill_copy(&filler, &text, &rows, &original, &mut facts.lacks).await?;
        copy_content((client, &filler), &rehearsal.content, subject, (events, &mut facts.lacks)).await?;
        read_schema(&filler, wait).await
    };
    let copied = filled.await;
    filler.close().await;
    let copied = copied?;
    facts.lacks.extend(describe_differences(schema, &copied));
    let watched = server.copy_database(&name, &original).await?;
    server.set_defaults(&watched, &original, &mut Vec::new()).await?;
    let took = began.elapsed();
    events.emit_note(format!("the copy is ready after {}.{} s", took.as_secs(), took.subsec_millis() / 100));
    let role = Some(original.role);
    let copies = MadeCopies {
        for_rounds: server.target_of(&name, role.clone()),
        watched: server.target_of(&watched, role),
        schema: copied,
        guard: guard_of(&rehearsal.content, &text, subject),
    };
    Ok((server, copies))
}

/// Copies the rows that are asked for.
async fn copy_content(
    (original, filler): (&Client, &Session),
    content: &CopyContent,
    subject: &RehearsalSubject<'_>,
    (events, lacks): (&Events, &mut Vec<String>),
) -> Result<(), Fault> {
    let CopyContent::Sample(sample) = content else { return Ok(()) };
    events.emit_note(format!("copying up to {} rows of each table, and those that they refer to", sample.rows));
    let copied = copy_sample((original, filler), sample, &subject.ledger_tables, lacks).await?;
    let SampledRows { tables, rows, referenced, bytes } = copied;
    events.emit_note(format!(
        "the copy has {rows} rows of {tables} tables ({}), {referenced} of them because others refer to them",
        format_bytes(bytes)
    ));
    Ok(())
}

/// Returns the guard of a copy with rows.
fn guard_of(content: &CopyContent, schema: &str, subject: &RehearsalSubject<'_>) -> Option<RowGuard> {
    let scripts = subject.scripts.iter().map(|(script, _)| script.sql.as_str());
    match content {
        CopyContent::Schema => None,
        CopyContent::Sample(_) => Some(RowGuard::new(scripts.chain([schema]))),
    }
}

async fn read_schema(session: &Session, wait: Duration) -> Result<SchemaDescription, Fault> {
    SchemaDescription::from_rows(&answer_within(wait, query_rows(&session.client, &description_query())).await?)
}

/// Returns a sentence about the differences between the original and its copy, if there are any.
fn describe_differences(original: &SchemaDescription, copy: &SchemaDescription) -> Option<String> {
    let changes = differences_of_copy(original, copy);
    let first = changes.first()?.lines.first()?;
    Some(format!("its schema differs from the original in {} places, the first of them `{first}`", changes.len()))
}
