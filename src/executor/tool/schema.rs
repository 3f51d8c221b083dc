//! The schema around the work of a tool, read over the session that holds the run lock.

use super::ToolExecutor;
use crate::{
    fault::{Code, Fault},
    schema::SchemaDescription,
};

impl ToolExecutor<'_> {
    /// Reads the schema before the work; without a database there is none.
    pub(super) async fn read_schema_before(&self) {
        if let Some(holder) = &self.lock_holder {
            self.schema.read_before(holder.session(), self.settings).await;
        }
    }

    /// Reads the schema after the work.
    pub(super) async fn read_schema_after(&self) {
        if let Some(holder) = &self.lock_holder {
            self.schema.read_after(holder.session(), self.settings).await;
        }
    }

    /// Returns the schema as it is now.
    ///
    /// # Errors
    /// `schema-unknown`, or the lost connection.
    pub async fn current_schema(&self) -> Result<SchemaDescription, Fault> {
        let no_database = || Fault::new(Code::SchemaUnknown, "no database is given, so the schema can't be read");
        let holder = self.lock_holder.as_ref().ok_or_else(no_database)?;
        self.schema.current_schema(holder.session(), self.settings).await
    }
}
