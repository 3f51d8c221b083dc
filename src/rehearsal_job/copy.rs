//! Makes the copies: one for the rounds of the program, and one in which each statement is watched.

use super::copy_site::CopySite;
use crate::{
    executor::RehearsalSubject,
    fault::Fault,
    github::runner::Runner,
    postgres::{DatabaseTarget, Session, SessionSettings, query_rows, wait::answer_within},
    rehearsal::{CopyServer, fill_copy, read_original, read_rows},
    run::{RehearsalFacts, event::Events},
    schema::{SchemaDescription, changes_of_run, description_query, description_query_with_own_schema},
    settings::{RehearsalSettings, Settings},
};
use std::time::Duration;

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
    let wait = settings.wait_timeout;
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
    let filler = server.open_session(&server.target_of(&name, None), &SessionSettings::named(FILLING), events).await?;
    let filled = fill_copy(&filler, &text, &rows, &original, &mut facts.lacks).await;
    let copied = match filled {
        Ok(()) => read_schema(&filler, wait).await,
        Err(fault) => Err(fault),
    };
    filler.close().await;
    let copied = copied?;
    facts.lacks.extend(describe_differences(schema, &copied));
    let watched = server.copy_database(&name, &original).await?;
    server.set_defaults(&watched, &original, &mut Vec::new()).await?;
    let role = Some(original.role);
    let copies = MadeCopies {
        for_rounds: server.target_of(&name, role.clone()),
        watched: server.target_of(&watched, role),
        schema: copied,
    };
    Ok((server, copies))
}

async fn read_schema(session: &Session, wait: Duration) -> Result<SchemaDescription, Fault> {
    SchemaDescription::from_rows(&answer_within(wait, query_rows(&session.client, &description_query())).await?)
}

/// Returns a sentence about the differences between the original and its copy, if there are any.
fn describe_differences(original: &SchemaDescription, copy: &SchemaDescription) -> Option<String> {
    let changes = changes_of_run(original, copy);
    let first = changes.first()?.lines.first()?;
    Some(format!("its schema differs from the original in {} places, the first of them `{first}`", changes.len()))
}
