//! Runs scripts on a copy statement by statement, and looks at what each has done before its transaction ends.

use super::{
    migration_changes::{SchemaAtEnds, is_affordable},
    observation::{KnownState, LockVisibility, ObservedScript, ObservedStatement},
    relation_catalog::{SessionTraces, read_catalog, read_traces},
};
use crate::{
    fault::Fault,
    postgres::{fault::query_fault, query_rows, quote_identifier, quote_literal},
    review::{HiddenPart, MigrationScript, PlanPath, ScriptTransaction, StatementEffect},
    run::{MigrationChanges, event::Event},
    schema::{SchemaDescription, description_query},
    sql::{StatementClass, classify_statement},
};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::{Client, SimpleQueryMessage};

/// SQLSTATEs of statements that can't run in a transaction, or that end it (PostgreSQL manual, appendix A).
const NEEDS_NO_TRANSACTION: [&str; 2] = ["25001", "2D000"];

/// The most messages of the server that are kept for a statement.
const MAX_NOTICES: usize = 3;

/// What was seen of scripts.
#[derive(Debug)]
pub struct ObservedRun {
    /// The scripts, as far as they came.
    pub scripts: Vec<ObservedScript>,
    /// The changes of the schema by them.
    pub changes: Vec<MigrationChanges>,
    /// What was not seen, as phrases.
    pub unobserved: Vec<String>,
}

/// Runs the scripts in a copy with this schema. `messages` gets the messages of the server to this session.
///
/// # Errors
/// The lost connection, or the error of a query of our own. A statement that fails is an observation.
pub async fn observe_scripts(
    client: &Client,
    messages: &mut UnboundedReceiver<Event>,
    scripts: &[(MigrationScript, Vec<StatementEffect>)],
    (path, schema): (&PlanPath, &SchemaDescription),
) -> Result<ObservedRun, Fault> {
    let first = read_catalog(client).await?;
    let known = KnownState { before: first.clone(), first, ..KnownState::default() };
    let mut observer = Observer { client, messages, known, describing: Duration::ZERO };
    observer.enter_path(path).await?;
    let (mut observed, mut unobserved, mut schema) = (Vec::new(), Vec::new(), SchemaAtEnds::new(schema.clone()));
    for (script, effects) in scripts {
        let (id, label) = (&script.id, script.id.label());
        let everything = script.hidden.iter().find_map(|part| match part {
            HiddenPart::Everything(reason) => Some(reason.clone()),
            HiddenPart::Code(_) => None,
        });
        if let Some(reason) = everything {
            unobserved.push(format!("{label} and what follows it: {reason}"));
            break;
        }
        unobserved.extend(script.hidden.iter().filter_map(|part| match part {
            HiddenPart::Code(code) => Some(format!("{code} of {label}")),
            HiddenPart::Everything(_) => None,
        }));
        let script = observer.observe_script(script, effects).await?;
        let failed = script.statements.iter().any(|statement| statement.error.is_some());
        let is_whole = script.statements.len() == effects.len();
        observed.push(script);
        if failed || !is_whole {
            let reason = if failed { "a statement failed" } else { "it has the rows of a COPY" };
            unobserved.push(format!("the rest of {label} and what follows it: {reason}"));
            break;
        }
        schema.end_migration(id);
        if is_affordable(observer.describing) {
            schema.take(observer.describe_schema().await?);
        }
    }
    if !is_affordable(observer.describing) {
        schema.take(observer.describe_schema().await?);
    }
    Ok(ObservedRun { scripts: observed, changes: schema.into_changes(), unobserved })
}

struct Observer<'s> {
    client: &'s Client,
    messages: &'s mut UnboundedReceiver<Event>,
    known: KnownState,
    /// The time that the descriptions of the schema took.
    describing: Duration,
}

impl Observer<'_> {
    async fn enter_path(&self, path: &PlanPath) -> Result<(), Fault> {
        let PlanPath::Schemas(schemas) = path else { return Ok(()) };
        let path = schemas.iter().map(|schema| quote_identifier(schema)).collect::<Vec<_>>().join(", ");
        self.own(&format!("SELECT pg_catalog.set_config('search_path', {}, false)", quote_literal(&path))).await
    }

    async fn describe_schema(&mut self) -> Result<SchemaDescription, Fault> {
        let began = Instant::now();
        let described = SchemaDescription::from_rows(&query_rows(self.client, &description_query()).await?);
        self.describing += began.elapsed();
        described
    }

    /// Runs a script as far as it comes.
    async fn observe_script(
        &mut self,
        script: &MigrationScript,
        effects: &[StatementEffect],
    ) -> Result<ObservedScript, Fault> {
        let mut observed = ObservedScript::default();
        let is_whole = script.transaction == ScriptTransaction::Whole;
        let mut is_open = is_whole;
        if is_whole {
            self.begin().await?;
        }
        for (index, effect) in effects.iter().enumerate() {
            let text = effect.span.slice_of(&script.sql);
            let seen = match classify_statement(text) {
                StatementClass::CopyFromStdin => break,
                StatementClass::Begin(_) | StatementClass::Commit(_) | StatementClass::TransactionControl(_) => {
                    let seen = self.run(text).await;
                    is_open = matches!(classify_statement(text), StatementClass::Begin(_)) && seen.error.is_none();
                    self.known.begin_transaction(SessionTraces::default());
                    if is_open {
                        self.known.begin_transaction(read_traces(self.client).await?);
                    }
                    seen
                }
                _ if is_open => self.observe_in_transaction(text).await?,
                _ => self.observe_alone(text).await?,
            };
            let failed = seen.error.is_some();
            observed.statements.push(ObservedStatement { index, ..seen });
            if failed {
                break;
            }
        }
        let failed = observed.statements.last().is_some_and(|statement| statement.error.is_some());
        if failed {
            self.own("ROLLBACK").await?;
        } else if is_open && let Err(error) = self.client.batch_execute("COMMIT").await {
            // A deferred constraint is checked at the end.
            let error = statement_error(&error)?;
            observed.statements.last_mut().into_iter().for_each(|last| last.error = Some(error.clone()));
        }
        Ok(observed)
    }

    async fn observe_in_transaction(&mut self, text: &str) -> Result<ObservedStatement, Fault> {
        let mut seen = self.run(text).await;
        if seen.error.is_none() {
            let traces = read_traces(self.client).await?;
            self.known.take_traces(&mut seen, traces);
        }
        Ok(seen)
    }

    /// Runs a statement in a transaction of its own, so that its locks can be seen; without one if it can't run there.
    async fn observe_alone(&mut self, text: &str) -> Result<ObservedStatement, Fault> {
        self.begin().await?;
        let began = Instant::now();
        match self.client.simple_query(text).await {
            Ok(answer) => {
                let mut seen = self.seen(began, Ok(answer));
                let traces = read_traces(self.client).await?;
                self.known.take_traces(&mut seen, traces);
                self.own("COMMIT").await?;
                Ok(seen)
            }
            Err(error) => {
                let code = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
                self.own("ROLLBACK").await?;
                if !NEEDS_NO_TRANSACTION.contains(&code.as_str()) {
                    return Ok(self.seen(began, Err(error)));
                }
                let mut seen = ObservedStatement { visibility: LockVisibility::Gone, ..self.run(text).await };
                if seen.error.is_none() {
                    let now = read_catalog(self.client).await?;
                    self.known.take_relations(&mut seen, now);
                }
                Ok(seen)
            }
        }
    }

    async fn run(&mut self, text: &str) -> ObservedStatement {
        let began = Instant::now();
        let answer = self.client.simple_query(text).await;
        self.seen(began, answer)
    }

    fn seen(
        &mut self,
        began: Instant,
        answer: Result<Vec<SimpleQueryMessage>, tokio_postgres::Error>,
    ) -> ObservedStatement {
        let took = began.elapsed();
        let mut notices = Vec::new();
        while let Ok(event) = self.messages.try_recv() {
            if let Event::Notice { severity, text, .. } = event {
                notices.push(format!("{severity}: {text}"));
            }
        }
        notices.truncate(MAX_NOTICES);
        let (rows, error) = match answer {
            Ok(messages) => (messages.iter().filter_map(completed_rows).reduce(u64::saturating_add), None),
            Err(error) => (None, Some(query_fault(&error).cause)),
        };
        ObservedStatement { took, rows, notices, error, ..ObservedStatement::default() }
    }

    /// Begins a transaction, and looks at what the session shows before its first statement: the numbers of scans of earlier
    /// transactions may not have been reported yet.
    async fn begin(&mut self) -> Result<(), Fault> {
        self.own("BEGIN").await?;
        self.known.begin_transaction(read_traces(self.client).await?);
        Ok(())
    }

    async fn own(&self, sql: &str) -> Result<(), Fault> {
        self.client.batch_execute(sql).await.map_err(|error| query_fault(&error))
    }
}

fn completed_rows(message: &SimpleQueryMessage) -> Option<u64> {
    match message {
        SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
        _ => None,
    }
}

/// Returns the text of a server's error.
fn statement_error(error: &tokio_postgres::Error) -> Result<String, Fault> {
    let fault = query_fault(error);
    if fault.code.ends_session() { Err(fault) } else { Ok(fault.cause) }
}
