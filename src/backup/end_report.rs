//! What the script that dumps says about its work: lines on standard error that begin with its token.

/// The messages of the script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndReport {
    /// The version line of `pg_dump`.
    pub version: Option<String>,
    /// The reason why nothing was dumped.
    pub refusal: Option<DumpRefusal>,
    /// The tables with rows in the archive's list, each as `schema name owner`.
    pub tables_with_rows: Vec<String>,
    /// The end of all programs; `None` if the script was ended before.
    pub codes: Option<ExitCodes>,
}

/// The reason why nothing was dumped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DumpRefusal {
    /// There is no such program.
    Missing(String),
    /// `pg_dump` is older than the server: its major version.
    Old(String),
}

/// The exit codes of all programs, and the facts of the dump as they are at its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitCodes {
    pub(super) dump: i64,
    pub(super) pump: i64,
    pub(super) check: i64,
    pub(super) list: i64,
    pub(super) receiver: i64,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl EndReport {
    /// Adds a line without its token.
    pub(super) fn add_message(&mut self, message: &str) {
        let (word, rest) = message.split_once(' ').unwrap_or((message, ""));
        match word {
            "version" => self.version = Some(rest.to_owned()),
            "missing" => self.refusal = Some(DumpRefusal::Missing(rest.to_owned())),
            "old" => self.refusal = Some(DumpRefusal::Old(rest.to_owned())),
            "data" => self.tables_with_rows.push(rest.to_owned()),
            "end" => self.codes = parse_codes(rest),
            _ => {}
        }
    }
}

fn parse_codes(text: &str) -> Option<ExitCodes> {
    let words: Vec<&str> = text.split(' ').collect();
    let [dump, pump, check, list, receiver, bytes, sha256] = words.as_slice() else { return None };
    Some(ExitCodes {
        dump: dump.parse().ok()?,
        pump: pump.parse().ok()?,
        check: check.parse().ok()?,
        list: list.parse().ok()?,
        receiver: receiver.parse().ok()?,
        bytes: bytes.parse().ok()?,
        sha256: (*sha256).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_words_and_an_incomplete_end_is_none() {
        let mut report = EndReport::default();
        for message in ["version pg_dump (PostgreSQL) 16.4", "data public orders app", "end 0 0 0 0 0 7", "other x"] {
            report.add_message(message);
        }
        assert_eq!((report.version.as_deref(), report.codes.clone()), (Some("pg_dump (PostgreSQL) 16.4"), None));
        assert_eq!(report.tables_with_rows, ["public orders app"]);
        report.add_message("end 0 0 1 0 0 7 abc");
        assert_eq!(report.codes.map(|codes| (codes.check, codes.bytes)), Some((1, 7)));
    }
}
