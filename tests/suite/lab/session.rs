//! The lab's own connections, for queries and for locks that get in a step's way: `psql -At` for tests.

use std::fmt;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// One session; it keeps its locks and transactions until it is dropped.
pub(crate) struct Session {
    client: Client,
    runtime: Runtime,
}

impl Session {
    /// The `application_name` of these sessions, which the check for leftovers ignores.
    pub(crate) const NAME: &'static str = "lab";

    /// Connects without TLS.
    pub(crate) fn open(config: &Config) -> Result<Self, tokio_postgres::Error> {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let (client, connection) = runtime.block_on(config.clone().application_name(Self::NAME).connect(NoTls))?;
        // The task belongs to the runtime, hence to this value, and ends with it.
        drop(runtime.spawn(connection));
        Ok(Self { client, runtime })
    }

    /// Returns the rows as lines, columns separated by `|`, NULL as nothing.
    pub(crate) fn try_sql(&self, statements: &str) -> Result<String, tokio_postgres::Error> {
        let messages = self.runtime.block_on(self.client.simple_query(statements))?;
        let row = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).unwrap_or_default()).collect::<Vec<_>>().join("|"))
            }
            _ => None,
        };
        Ok(messages.iter().filter_map(row).collect::<Vec<_>>().join("\n"))
    }

    /// Returns the rows like [`Self::try_sql`]; a failure fails the test.
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.try_sql(statements).unwrap_or_else(|error| panic!("{statements}: {error:?}"))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Session")
    }
}
