//! The file in `schema-file`: what the schema should be. `status` writes it; the other commands compare the database with
//! it.

use super::Executor;
use crate::{
    fault::{Code, Fault, Stage},
    run::event::{Event, Events},
    schema::{SchemaDescription, SchemaFile, parse_schema_file},
    settings::{Command, SchemaFileSettings, Settings},
};
use std::{fs, io::ErrorKind};

/// Maximum number of lines of SQL in a fault.
const MAX_LINES: usize = 60;

/// The file of a run, as far as its command needs it.
#[derive(Debug)]
pub(crate) enum SchemaFileWork<'a> {
    /// The run has none.
    Nothing,
    /// It is written.
    Write(&'a SchemaFileSettings),
    /// The database is compared with it.
    Compare(&'a SchemaFileSettings, SchemaFile),
}

impl<'a> SchemaFileWork<'a> {
    /// Reads the file, unless it is to be written.
    ///
    /// # Errors
    /// `schema-file` if it can't be read.
    pub(crate) fn read(settings: &'a Settings) -> Result<Self, Vec<Fault>> {
        let Some(file) = &settings.schema_file else { return Ok(Self::Nothing) };
        if settings.command == Command::Status {
            return Ok(Self::Write(file));
        }
        let text = fs::read_to_string(&file.path).map_err(|error| {
            let cause = match error.kind() {
                ErrorKind::NotFound => format!("`schema-file` is `{}`, which does not exist", file.shown),
                _ => format!("`schema-file` is `{}`, which can't be read: {error}", file.shown),
            };
            vec![Fault::new(Code::SchemaFile, cause)]
        })?;
        Ok(Self::Compare(file, parse_schema_file(&file.shown, &text)?))
    }

    /// Returns whether the run needs the schema for it.
    fn is_wanted(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// Writes the file with the schema as it is now, or compares the database with it, if the run has a file.
    ///
    /// # Errors
    /// `drift`, `schema-unknown`, the reason why the file can't be written, or the lost connection.
    pub(crate) async fn handle_now(
        &self,
        executor: &Executor<'_>,
        command: Command,
        events: &Events,
    ) -> Result<(), Vec<Fault>> {
        match self.is_wanted() {
            true => self.handle(executor.current_schema().await, command, events).map_err(|fault| vec![fault]),
            false => Ok(()),
        }
    }

    /// Writes the file, or compares the database with it. Only `verify` fails at a difference; elsewhere it is a warning.
    ///
    /// # Errors
    /// `drift`, `schema-unknown`, or the reason why the file can't be written.
    fn handle(&self, schema: Result<SchemaDescription, Fault>, command: Command, events: &Events) -> Result<(), Fault> {
        let fault = match (self, schema) {
            (Self::Nothing, _) => return Ok(()),
            (Self::Write(file), schema) => {
                write_file(file, &schema?)?;
                events.emit_note(format!("the schema is written to {}", file.shown));
                return Ok(());
            }
            (Self::Compare(file, expected), Ok(schema)) => match drift_fault(file, expected, &schema, events) {
                Some(fault) => fault,
                None => {
                    events.emit_note(format!("the schema is that of {}", file.shown));
                    return Ok(());
                }
            },
            (Self::Compare(..), Err(fault)) => fault,
        };
        if command == Command::Verify || fault.code.ends_session() {
            return Err(fault);
        }
        let stage = if command == Command::Plan { Stage::Plan } else { Stage::Verify };
        events.emit(Event::Warning(fault.in_stage(stage)));
        Ok(())
    }
}

fn write_file(file: &SchemaFileSettings, schema: &SchemaDescription) -> Result<(), Fault> {
    let parent = file.path.parent().map_or(Ok(()), fs::create_dir_all);
    parent.and_then(|()| fs::write(&file.path, schema.to_file())).map_err(|error| {
        let cause = format!("`schema-file` is `{}`, which can't be written: {error}", file.shown);
        Fault::new(Code::SchemaFile, cause).fix("name a path in `schema-file` where this run may write")
    })
}

/// Returns the fault of a database that differs from its file, with the SQL that leads from the database to the file.
fn drift_fault(
    file: &SchemaFileSettings,
    expected: &SchemaFile,
    schema: &SchemaDescription,
    events: &Events,
) -> Option<Fault> {
    let changes = expected.changes_from(schema);
    let count = changes.len();
    let statements: Vec<&String> = changes.iter().flat_map(|change| &change.statements).collect();
    if count == 0 {
        return None;
    }
    let places = if count == 1 { "place" } else { "places" };
    let fault = Fault::new(Code::Drift, format!("the schema differs from `{}` in {count} {places}", file.shown));
    let sql: String = statements.iter().map(|statement| format!("{statement};\n")).collect();
    let sql = events.redactor().redact(&sql);
    let lines: Vec<&str> = sql.lines().collect();
    let more = lines.len().saturating_sub(MAX_LINES);
    let fault = lines.iter().take(MAX_LINES).fold(fault, |fault, line| fault.detail(*line));
    Some(match more {
        0 => fault,
        more => fault.detail(format!("-- and {more} more lines, which are not shown")),
    })
}
