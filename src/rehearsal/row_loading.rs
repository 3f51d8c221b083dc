//! The rows of one table on their way into a copy: into a table without rules first, and from there into their own, which
//! leaves out what it does not accept.

use super::{copy_server::as_copy_fault, sample_plan::PlannedTable};
use crate::{fault::Fault, postgres::fault::query_fault};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::SinkExt as _;
use std::pin::Pin;
use tokio_postgres::{Client, CopyInSink, Error, SimpleQueryMessage, SimpleQueryRow, error::SqlState};

/// Bytes that are sent at once.
const CHUNK: usize = 64 << 10;

/// The table without rules.
const STAGING: &str = "pg_temp.bastion_migrate_rows";

/// What became of the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LoadedRows {
    /// Number of rows that were added.
    pub(super) rows: u64,
    /// The reason why others were not, without a value of theirs.
    pub(super) problem: Option<String>,
}

/// The rows of one table on their way.
pub(super) struct RowLoading<'c> {
    client: &'c Client,
    table: &'c PlannedTable,
    sink: Pin<Box<CopyInSink<Bytes>>>,
    buffer: BytesMut,
    error: Option<Error>,
    /// Number of rows that were sent.
    sent: u64,
    /// Number of rows that are too long to be read.
    long: u64,
}

impl<'c> RowLoading<'c> {
    /// Makes the table without rules.
    ///
    /// # Errors
    /// `rehearsal-copy`, or the lost connection.
    pub(super) async fn begin(client: &'c Client, table: &'c PlannedTable) -> Result<Self, Fault> {
        let sql = format!(
            "DROP TABLE IF EXISTS {STAGING}; CREATE TEMPORARY TABLE {} AS SELECT {} FROM {} WITH NO DATA",
            STAGING.trim_start_matches("pg_temp."),
            table.columns,
            table.name
        );
        let as_fault = |error: Error| as_copy_fault(query_fault(&error));
        client.batch_execute(&sql).await.map_err(as_fault)?;
        let sink = client.copy_in(&format!("COPY {STAGING} FROM STDIN")).await.map_err(as_fault)?;
        let buffer = BytesMut::with_capacity(CHUNK);
        Ok(Self { client, table, sink: Box::pin(sink), buffer, error: None, sent: 0, long: 0 })
    }

    pub(super) fn table(&self) -> &PlannedTable {
        self.table
    }

    /// Adds a row, and returns its length. After an error nothing more is sent.
    pub(super) async fn add(&mut self, row: &SimpleQueryRow) -> u64 {
        let values: Result<Vec<Option<&str>>, Error> = (0..row.len()).map(|at| row.try_get(at)).collect();
        let Ok(values) = values else {
            self.long += 1;
            return 0;
        };
        let before = self.buffer.len();
        encode_row(&values, &mut self.buffer);
        let bytes = self.buffer.len() - before;
        self.sent += 1;
        if self.buffer.len() >= CHUNK {
            self.send().await;
        }
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    async fn send(&mut self) {
        let chunk = self.buffer.split().freeze();
        if self.error.is_none() && !chunk.is_empty() {
            self.error = self.sink.send(chunk).await.err();
        }
    }

    /// Moves the rows into their table.
    ///
    /// # Errors
    /// The lost connection.
    pub(super) async fn end(mut self) -> Result<LoadedRows, Fault> {
        self.send().await;
        let Self { client, table, mut sink, error, sent, long, .. } = self;
        let error = match error {
            Some(error) => Some(error),
            None => sink.as_mut().finish().await.err(),
        };
        drop(sink);
        let moved = match error {
            Some(error) => Err(error),
            None => {
                let PlannedTable { name, columns, .. } = table;
                let sql =
                    format!("INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {STAGING}");
                match client.simple_query(&sql).await {
                    Err(error) if is_conflict(&error) => {
                        client.simple_query(&format!("{sql} ON CONFLICT DO NOTHING")).await
                    }
                    moved => moved,
                }
            }
        };
        let loaded = match moved {
            Ok(messages) => {
                let rows = messages.iter().find_map(|message| match message {
                    SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
                    _ => None,
                });
                let rows = rows.unwrap_or_default();
                let conflicts = sent - rows;
                let problem = match (conflicts, long) {
                    (0, 0) => None,
                    (0, long) => Some(format!("{long} of them are too long")),
                    (conflicts, _) => Some(format!("{conflicts} of them are like others in a unique column")),
                };
                LoadedRows { rows, problem }
            }
            Err(error) => {
                let fault = query_fault(&error);
                if fault.code.ends_session() {
                    return Err(fault);
                }
                LoadedRows { rows: 0, problem: Some(describe_refusal(&error)) }
            }
        };
        drop_staging(client).await?;
        Ok(loaded)
    }

    /// Gives the rows up.
    ///
    /// # Errors
    /// The lost connection.
    pub(super) async fn abandon(self) -> Result<(), Fault> {
        let Self { client, sink, .. } = self;
        // An unfinished COPY fails.
        drop(sink);
        drop_staging(client).await
    }
}

async fn drop_staging(client: &Client) -> Result<(), Fault> {
    let dropped = client.batch_execute(&format!("DROP TABLE IF EXISTS {STAGING}")).await;
    dropped.map_err(|error| as_copy_fault(query_fault(&error)))
}

/// Returns whether a row is like another one in a column that has no two of a kind, as masked values can be.
fn is_conflict(error: &Error) -> bool {
    error.code().is_some_and(|code| [SqlState::UNIQUE_VIOLATION, SqlState::EXCLUSION_VIOLATION].contains(code))
}

/// Describes the server's refusal of rows by what the schema names: its message could show a row.
fn describe_refusal(error: &Error) -> String {
    let Some(server) = error.as_db_error() else { return "the server refuses them".to_owned() };
    let subject = match (server.constraint(), server.column()) {
        (Some(constraint), _) => format!(", constraint `{constraint}`"),
        (None, Some(column)) => format!(", column `{column}`"),
        (None, None) => String::new(),
    };
    format!("the server refuses them (SQLSTATE {}{subject})", server.code().code())
}

/// Writes a row in the text format of COPY (PostgreSQL manual, COPY, "Text Format").
fn encode_row(values: &[Option<&str>], out: &mut BytesMut) {
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.put_u8(b'\t');
        }
        let Some(value) = value else {
            out.put_slice(b"\\N");
            continue;
        };
        for byte in value.bytes() {
            match byte {
                b'\\' => out.put_slice(b"\\\\"),
                b'\t' => out.put_slice(b"\\t"),
                b'\n' => out.put_slice(b"\\n"),
                b'\r' => out.put_slice(b"\\r"),
                byte => out.put_u8(byte),
            }
        }
    }
    out.put_u8(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_written_as_copy_reads_it() {
        let mut out = BytesMut::new();
        encode_row(&[Some("a\tb"), None, Some(""), Some("\\N\r\nü")], &mut out);
        encode_row(&[], &mut out);
        assert_eq!(&out[..], "a\\tb\t\\N\t\t\\\\N\\r\\nü\n\n".as_bytes());
    }
}
