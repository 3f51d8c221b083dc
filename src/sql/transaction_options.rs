//! Transaction modes that a file requests: `BEGIN ISOLATION LEVEL …`, `SET TRANSACTION …`. They must be set before the
//! transaction's first query, and that query is ours, so our own BEGIN sets them.

use super::phrase::{Part, Phrase};

/// Transaction modes; those that are `None` stay at the session's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TransactionModes {
    isolation: Option<&'static str>,
    access: Option<AccessMode>,
    deferrable: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AccessMode {
    ReadOnly,
    ReadWrite,
}

impl TransactionModes {
    /// Reads a list of modes up to the statement's end; returns `None` if it is not one.
    pub(crate) fn read_list(phrase: &mut Phrase<'_>) -> Option<Self> {
        let mut modes = Self::default();
        while !phrase.is_done() {
            match phrase.next()? {
                part if part.is_word("isolation") => {
                    phrase.eat("level").then_some(())?;
                    modes.isolation = Some(read_level(phrase)?);
                }
                part if part.is_word("read") => modes.access = Some(read_access(phrase)?),
                part if part.is_word("deferrable") => modes.deferrable = Some("DEFERRABLE"),
                part if part.is_word("not") && phrase.eat("deferrable") => modes.deferrable = Some("NOT DEFERRABLE"),
                Part::Other(",") => {}
                _ => return None,
            }
        }
        Some(modes)
    }

    /// Reads the value of the setting `transaction_isolation`, the last part of its statement.
    pub(crate) fn read_isolation_value(phrase: &mut Phrase<'_>) -> Option<Self> {
        let value = phrase.next().filter(|_| phrase.is_done())?;
        let value = value.text().trim_matches(['\'', '"']).to_ascii_lowercase();
        let isolation = Some(read_level(&mut Phrase::new(&value))?);
        Some(Self { isolation, ..Self::default() })
    }

    /// Adds later modes, which override earlier ones.
    pub(crate) fn overridden_by(self, later: Self) -> Self {
        Self {
            isolation: later.isolation.or(self.isolation),
            access: later.access.or(self.access),
            deferrable: later.deferrable.or(self.deferrable),
        }
    }

    /// Returns the isolation level alone.
    pub(crate) fn isolation_only(self) -> Self {
        Self { isolation: self.isolation, ..Self::default() }
    }

    /// Reports whether the transaction is read-only.
    pub(crate) fn is_read_only(self) -> bool {
        self.access == Some(AccessMode::ReadOnly)
    }

    /// Returns `BEGIN` with these modes, except for `READ ONLY`: we write in the same transaction.
    pub(crate) fn begin_sql(self) -> String {
        let isolation = self.isolation.map(|level| format!(" ISOLATION LEVEL {level}")).unwrap_or_default();
        let access = if self.access == Some(AccessMode::ReadWrite) { " READ WRITE" } else { "" };
        let deferrable = self.deferrable.map(|option| format!(" {option}")).unwrap_or_default();
        format!("BEGIN{isolation}{access}{deferrable}")
    }

    /// Returns `SAVEPOINT` with this name, followed by `READ ONLY` if requested: it ends with the savepoint's release,
    /// when PostgreSQL restores the previous access mode (`CommitSubTransaction` in its sources).
    pub(crate) fn savepoint_sql(self, name: &str) -> String {
        let access = if self.is_read_only() { "; SET TRANSACTION READ ONLY" } else { "" };
        format!("SAVEPOINT {name}{access}")
    }
}

fn read_level(phrase: &mut Phrase<'_>) -> Option<&'static str> {
    match phrase.eat_one_of(&["serializable", "repeatable", "read"])? {
        "serializable" => Some("SERIALIZABLE"),
        "repeatable" => phrase.eat("read").then_some("REPEATABLE READ"),
        _ => match phrase.eat_one_of(&["committed", "uncommitted"])? {
            "committed" => Some("READ COMMITTED"),
            _ => Some("READ UNCOMMITTED"),
        },
    }
}

fn read_access(phrase: &mut Phrase<'_>) -> Option<AccessMode> {
    match phrase.eat_one_of(&["only", "write"])? {
        "only" => Some(AccessMode::ReadOnly),
        _ => Some(AccessMode::ReadWrite),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<TransactionModes> {
        TransactionModes::read_list(&mut Phrase::new(text))
    }

    #[test]
    fn begin_has_the_modes_that_were_read() {
        for (text, begin) in [
            ("", "BEGIN"),
            ("isolation level serializable", "BEGIN ISOLATION LEVEL SERIALIZABLE"),
            ("read write, ISOLATION /* x */ LEVEL repeatable read", "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE"),
            ("isolation level read committed not deferrable;", "BEGIN ISOLATION LEVEL READ COMMITTED NOT DEFERRABLE"),
            (
                "isolation level read committed, isolation level serializable, deferrable",
                "BEGIN ISOLATION LEVEL SERIALIZABLE DEFERRABLE",
            ),
        ] {
            assert_eq!(read(text).map(TransactionModes::begin_sql).as_deref(), Some(begin), "{text}");
        }
    }

    #[test]
    fn read_only_is_limited_to_our_savepoint() {
        let modes = read("read only").unwrap();
        assert_eq!(modes.begin_sql(), "BEGIN");
        assert_eq!(modes.savepoint_sql("s"), "SAVEPOINT s; SET TRANSACTION READ ONLY");
        assert_eq!(TransactionModes::default().savepoint_sql("s"), "SAVEPOINT s");
    }

    #[test]
    fn leaves_invalid_modes_to_the_server() {
        for text in ["isolation level none", "read", "isolation serializable", "snapshot 'x'", "serializable"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn reads_the_setting_as_well() {
        for (text, level) in [("'Repeatable  Read'", "REPEATABLE READ"), ("serializable", "SERIALIZABLE")] {
            let modes = TransactionModes::read_isolation_value(&mut Phrase::new(text)).unwrap();
            assert_eq!(modes.begin_sql(), format!("BEGIN ISOLATION LEVEL {level}"));
        }
        assert_eq!(TransactionModes::read_isolation_value(&mut Phrase::new("default")), None);
    }
}
