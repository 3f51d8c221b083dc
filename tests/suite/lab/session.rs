//! A connection of the lab's own, for questions and for standing in the way. `psql -At` for tests.

use std::fmt;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// One session; what it holds (locks, transactions) it holds until it is dropped.
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
        // Owned by the runtime, hence by this value: it ends with it.
        drop(runtime.spawn(connection));
        Ok(Self { client, runtime })
    }

    /// Rows as lines, columns parted by `|`, NULL as nothing.
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

    /// The same, where a failure is the test's.
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.try_sql(statements).unwrap_or_else(|error| panic!("{statements}: {error:?}"))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Session")
    }
}
