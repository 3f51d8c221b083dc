//! The identity of a migration: the key of every event, and its names for people.

use std::borrow::Cow;

/// Identifies one migration.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct MigrationId {
    /// The position in the order of all migrations that the run knows: the key of every event.
    #[serde(skip)]
    pub index: usize,
    /// The version, as the layout writes it; empty for a tool's migration.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The rest of the file's name without its extension; for a tool's migration, the tool's name of it.
    pub name: String,
    /// The file, as the user wrote the path; empty for a tool's migration, whose files only the tool knows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// The schema, if there is one ledger per tenant; otherwise empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub schema: String,
    /// The description in the tool's list, for people only; it identifies nothing. Untrusted text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
}

/// The files of layouts in which each migration is a directory.
pub const FILES_OF_DIRECTORIES: [&str; 2] = ["migration.sql", "up.sql"];

impl MigrationId {
    /// Creates the ID of a tool's migration, which has no file and no version; the plan sets its index.
    #[must_use]
    pub fn of_tool(name: String, schema: String) -> Self {
        Self { name, schema, ..Self::default() }
    }

    /// Returns the file, behind the schema if there is one per tenant, or [`Self::label`] if there is no file.
    #[must_use]
    pub fn display_path(&self) -> Cow<'_, str> {
        match (self.file.as_str(), self.schema.as_str()) {
            ("", _) => self.label(),
            (file, "") => Cow::from(file),
            (file, schema) => Cow::from(format!("{schema}: {file}")),
        }
    }

    /// Returns [`Self::label`], followed by the title if there is one.
    #[must_use]
    pub fn entitled(&self) -> Cow<'_, str> {
        let label = self.label();
        if self.title.is_empty() { label } else { Cow::from(format!("{label} ({})", self.title)) }
    }

    /// Returns the display name: `0003_add_email` for `migrations/0003_add_email.sql`, the directory's name if each
    /// migration is a directory, or the tool's own name, prefixed with the schema if there is one per tenant.
    #[must_use]
    pub fn label(&self) -> Cow<'_, str> {
        let name = self.name_without_schema();
        if self.schema.is_empty() { name } else { Cow::from(format!("{}: {name}", self.schema)) }
    }

    /// Returns [`Self::label`] without the schema.
    #[must_use]
    pub fn name_without_schema(&self) -> Cow<'_, str> {
        if self.file.is_empty() {
            return Cow::from(&self.name);
        }
        let mut parts = self.file.rsplit('/');
        let name = parts.next().unwrap_or(&self.file);
        match parts.next().filter(|_| FILES_OF_DIRECTORIES.contains(&name)) {
            Some(directory) => Cow::from(directory),
            None => Cow::from(name.strip_suffix(".sql").unwrap_or(name)),
        }
    }
}
