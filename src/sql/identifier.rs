//! Identifiers as PostgreSQL reads them.

use crate::postgres::quote_identifier;
use std::fmt;

/// A name and its schema, unquoted, as the catalog stores them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QualifiedName {
    /// The schema, if one is written.
    pub schema: Option<String>,
    /// The name itself.
    pub name: String,
}

impl QualifiedName {
    /// Returns the quoted name, ready for SQL.
    #[must_use]
    pub fn to_sql(&self) -> String {
        let schema = self.schema.as_deref().map(|schema| format!("{}.", quote_identifier(schema)));
        format!("{}{}", schema.unwrap_or_default(), quote_identifier(&self.name))
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_sql())
    }
}

/// The longest name in bytes; PostgreSQL truncates longer ones (`NAMEDATALEN - 1`).
const MAX_NAME_BYTES: usize = 63;

/// Returns a name as the catalog stores it: unquoted ones in lower case, quoted ones as written, both cut to 63 bytes.
/// Returns `None` for other text, and for a name with Unicode escapes (`U&"…"`).
pub(crate) fn fold_identifier(name_text: &str) -> Option<String> {
    let name = match name_text.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?.replace("\"\"", "\""),
        None if name_text.starts_with(|c: char| c.is_alphabetic() || c == '_' || !c.is_ascii())
            && !name_text.contains(['\'', '"']) =>
        {
            name_text.to_ascii_lowercase()
        }
        None => return None,
    };
    let end =
        name.char_indices().map(|(start, c)| start + c.len_utf8()).take_while(|end| *end <= MAX_NAME_BYTES).last()?;
    name.get(..end).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_as_the_catalog_has_them() {
        assert_eq!(fold_identifier("Users_IDX").as_deref(), Some("users_idx"));
        assert_eq!(fold_identifier("\"Users \"\"x\"\"\"").as_deref(), Some("Users \"x\""));
        assert_eq!(fold_identifier("größe").as_deref(), Some("größe"));
        assert_eq!(fold_identifier("_a$1").as_deref(), Some("_a$1"));
    }

    #[test]
    fn cuts_long_names_at_a_character() {
        assert_eq!(fold_identifier(&"a".repeat(70)).unwrap().len(), 63);
        assert_eq!(fold_identifier(&format!("\"{}\"", "é".repeat(40))).unwrap().len(), 62);
    }

    #[test]
    fn returns_none_for_text_that_is_not_a_name() {
        for text in ["(", "'a'", "1", "\"", "\"\"", "U&\"a\"", "E'x'", ""] {
            assert_eq!(fold_identifier(text), None, "{text}");
        }
    }
}
