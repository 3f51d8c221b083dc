//! The arguments of `pg_dump`. None of them is a secret: the database is named by environment variables.

use super::dump_scope::DumpScope;
use crate::{settings::DumpContent, sql::QualifiedName};
use std::time::Duration;

/// Returns the arguments, except the compression, which depends on the version of `pg_dump`. `role` is the role whose
/// rights apply; `lock_timeout` limits the wait for each table's lock, zero is no limit.
#[must_use]
pub fn pg_dump_arguments(
    content: DumpContent,
    scope: &DumpScope,
    role: Option<&str>,
    lock_timeout: Duration,
) -> Vec<String> {
    let mut arguments = vec!["--format=custom".to_owned(), "--no-password".to_owned()];
    if content == DumpContent::Schema {
        arguments.push("--schema-only".to_owned());
    }
    if !lock_timeout.is_zero() {
        arguments.push(format!("--lock-wait-timeout={}", lock_timeout.as_millis()));
    }
    arguments.extend(role.map(|role| format!("--role={role}")));
    if let DumpScope::Relations(relations) = scope {
        arguments.push("--strict-names".to_owned());
        arguments.extend(relations.iter().map(|relation| format!("--table={}", pattern_of(&relation.name))));
    }
    arguments
}

/// Returns the pattern that matches this name alone: within double quotes every character stands for itself
/// (PostgreSQL manual, psql, "Patterns").
fn pattern_of(name: &QualifiedName) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let schema = name.schema.as_deref().map(|schema| format!("{}.", quoted(schema))).unwrap_or_default();
    format!("{schema}{}", quoted(&name.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::{DumpedRelation, RelationUse};

    #[test]
    fn names_are_patterns_that_match_nothing_else() {
        let name = QualifiedName { schema: Some("App".to_owned()), name: "a*b\"c.d".to_owned() };
        let scope = DumpScope::Relations(vec![DumpedRelation { name, part: RelationUse::Rows, bytes: 0 }]);
        let arguments = pg_dump_arguments(DumpContent::Data, &scope, Some("owner"), Duration::from_secs(5));
        assert_eq!(
            arguments,
            [
                "--format=custom",
                "--no-password",
                "--lock-wait-timeout=5000",
                "--role=owner",
                "--strict-names",
                "--table=\"App\".\"a*b\"\"c.d\""
            ]
        );
    }

    #[test]
    fn the_whole_database_needs_no_names() {
        let arguments = pg_dump_arguments(DumpContent::Schema, &DumpScope::Database(Vec::new()), None, Duration::ZERO);
        assert_eq!(arguments, ["--format=custom", "--no-password", "--schema-only"]);
    }
}
