//! Whether an application beside the files applies them with sqlx by itself. Its file names can be those of plain files, and a plain
//! ledger would leave the application to apply everything again.

use crate::settings::SqlSettings;
use std::{fs, path::Path};

/// Finds the file that says so, between the files and the root of the workspace: sqlx's configuration, what `cargo sqlx prepare`
/// writes, or a package that depends on sqlx (sqlx 0.9, README).
pub(crate) fn find(settings: &SqlSettings) -> Option<String> {
    let written = Path::new(&settings.migrations);
    // A path from the root of the machine tells nothing about where a project begins.
    let above = if written.is_absolute() { 2 } else { written.components().count() + 1 };
    let directories = settings.directory.ancestors().zip(written.ancestors()).take(above);
    directories.into_iter().find_map(|(directory, written)| {
        let shown = |name: &str| written.join(name).to_string_lossy().into_owned();
        let marks = ["sqlx.toml", ".sqlx"].into_iter().find(|name| directory.join(name).exists());
        marks.or_else(|| depends_on_sqlx(directory).then_some("Cargo.toml")).map(shown)
    })
}

/// Looks for the name of the crate at the beginning of a line, or as a table of its own.
fn depends_on_sqlx(directory: &Path) -> bool {
    let text = fs::read_to_string(directory.join("Cargo.toml")).unwrap_or_default();
    text.lines().map(str::trim).any(|line| {
        let name = line.trim_start_matches('[').trim_end_matches(']');
        let name = name.rsplit_once("dependencies.").map_or(name, |(_, name)| name);
        name.strip_prefix("sqlx").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '=', '.']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{LayoutChoice, Policy};
    use tempfile::TempDir;

    fn found(files: &[(&str, &str)]) -> Option<String> {
        let workspace = TempDir::new().unwrap();
        for (name, text) in files {
            let path = workspace.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        find(&SqlSettings {
            migrations: "backend/migrations".to_owned(),
            directory: workspace.path().join("backend/migrations"),
            layout: LayoutChoice::Auto,
            ledger_table: None,
            target: None,
            out_of_order: Policy::Refuse,
            gaps: Policy::Allow,
        })
    }

    #[test]
    fn finds_what_says_that_the_application_uses_sqlx() {
        for (file, text) in [
            ("backend/Cargo.toml", "[dependencies]\nsqlx = { version = \"0.9\" }\n"),
            ("backend/Cargo.toml", "[dependencies.sqlx]\nversion = \"0.9\"\n"),
            ("Cargo.toml", "[workspace.dependencies]\nsqlx.workspace = true\n"),
            ("backend/sqlx.toml", ""),
            ("backend/.sqlx/query-1.json", "{}"),
        ] {
            assert_eq!(
                found(&[("backend/migrations/1_a.sql", ""), (file, text)]).as_deref(),
                Some(file.split("/query").next().unwrap()),
                "{text}"
            );
        }
    }

    #[test]
    fn another_package_says_nothing() {
        for text in ["[dependencies]\nsqlx-core = \"1\"\n", "[dependencies]\ndiesel = \"2\"\n", "# sqlx\n"] {
            assert_eq!(found(&[("backend/migrations/1_a.sql", ""), ("backend/Cargo.toml", text)]), None, "{text}");
        }
    }
}
