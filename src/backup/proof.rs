//! The proof of a dump: nothing but the whole of it passes.

use super::{
    dump_receiver::ReceivedDump,
    end_report::{DumpRefusal, EndReport, ExitCodes},
};
use crate::{
    fault::{Code, Fault},
    run::process::ExitStatus,
    settings::Site,
    sql::QualifiedName,
};

/// The end of a dump, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpEnding<'d> {
    /// The exit of the script.
    pub exit: ExitStatus,
    /// The messages of the script.
    pub report: &'d EndReport,
    /// The last lines of its other output.
    pub last_lines: &'d [String],
    /// The bytes that arrived here; `None` if a command at the site read them.
    pub received: Option<ReceivedDump>,
}

/// A dump that is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenDump {
    /// The proof, as a phrase.
    pub phrase: String,
    /// The dump at its origin.
    pub dump: ReceivedDump,
}

/// Proves that the dump is complete: `pg_dump` succeeded, `pg_restore` has read all of it, every table with rows is in its
/// list, and each byte arrived.
///
/// # Errors
/// `backup-refused` if nothing could be dumped; `backup-failed`.
pub fn prove_dump<'t>(
    ending: &DumpEnding<'_>,
    tables: impl Iterator<Item = &'t QualifiedName>,
    site: &Site,
    server_major: u32,
) -> Result<ProvenDump, Fault> {
    let DumpEnding { exit, report, last_lines, received } = ending;
    if let Some(refusal) = &report.refusal {
        return Err(refusal_fault(refusal, site, server_major));
    }
    let with_lines = |fault: Fault| last_lines.iter().cloned().fold(fault, Fault::detail);
    let failed = |cause: String| with_lines(Fault::new(Code::BackupFailed, cause));
    let Some(codes) = &report.codes else {
        return Err(failed(format!("the dump was broken off: it {}", describe_exit(*exit))));
    };
    if let Some(cause) = failed_program(codes, last_lines) {
        return Err(failed(cause));
    }
    if let Some(ReceivedDump { bytes, sha256 }) = received
        && (*bytes, sha256) != (codes.bytes, &codes.sha256)
    {
        let dumped = codes.bytes;
        return Err(failed(format!("the dump did not arrive as it was sent: {bytes} bytes of {dumped}")));
    }
    let mut count = 0;
    for table in tables {
        count += 1;
        if !is_listed(table, &report.tables_with_rows) {
            let cause =
                format!("the dump does not contain the rows of {}: it was dropped or renamed meanwhile", label(table));
            return Err(failed(cause));
        }
    }
    let rows = match count {
        0 => String::new(),
        1 => ", with the rows of 1 table".to_owned(),
        count => format!(", with the rows of {count} tables"),
    };
    let version = report.version.as_deref().unwrap_or("pg_dump");
    let phrase = format!("pg_restore has read all of it{rows}; made by {version}");
    Ok(ProvenDump { phrase, dump: ReceivedDump { bytes: codes.bytes, sha256: codes.sha256.clone() } })
}

fn failed_program(codes: &ExitCodes, last_lines: &[String]) -> Option<String> {
    // A program that writes to a pipe ends with its reader: the receiver is the cause.
    if codes.receiver != 0 && codes.receiver != KILLED {
        return Some(format!("the command in `to` ended with code {}", codes.receiver));
    }
    if codes.dump != 0 {
        let error = last_lines.iter().rev().find(|line| line.starts_with("pg_dump: error:"));
        let error = error.map(|line| line.replacen("pg_dump: error:", ":", 1));
        let end = describe_exit(ExitStatus::from_code(codes.dump));
        return Some(format!("pg_dump {end}{}", error.unwrap_or_default()));
    }
    if codes.pump != 0 {
        return Some("the dump could not be passed on from pg_dump".to_owned());
    }
    if codes.check != 0 || codes.list != 0 {
        return Some("pg_restore can't read the dump".to_owned());
    }
    (codes.receiver != 0).then(|| "the command in `to` was killed".to_owned())
}

/// Exit code that a shell reports for a process that was ended by SIGKILL (POSIX, 2.8.2).
const KILLED: i64 = 137;

fn describe_exit(exit: ExitStatus) -> String {
    match exit {
        ExitStatus::Exited(code) => format!("ended with code {code}"),
        ExitStatus::Signalled(signal) => format!("was ended by signal {signal}"),
        ExitStatus::OutOfMemory => "was killed because there was not enough memory".to_owned(),
    }
}

/// Returns the name for people.
fn label(table: &QualifiedName) -> String {
    let schema = table.schema.as_deref().map(|schema| format!("{schema}.")).unwrap_or_default();
    format!("{schema}{}", table.name)
}

/// Returns whether the table is in the archive's list. A line of the list is `schema name owner`; line breaks in names
/// are spaces there (`pg_dump`, `sanitize_line`).
fn is_listed(table: &QualifiedName, lines: &[String]) -> bool {
    let name = format!("{} {} ", table.schema.as_deref().unwrap_or_default(), table.name).replace(['\n', '\r'], " ");
    lines.iter().any(|line| line.starts_with(&name))
}

fn refusal_fault(refusal: &DumpRefusal, site: &Site, server_major: u32) -> Fault {
    let (place, fix) = match site {
        Site::Server => (
            "on the server".to_owned(),
            format!(
                "install the client of PostgreSQL {server_major} or newer on the server, as in `apt-get install \
                 postgresql-client-{server_major}`; if it is not in the login's PATH, add its directory in `setup`"
            ),
        ),
        Site::Image(image) => (
            format!("in `{}`", image.reference),
            format!(
                "set `image` of `backup` to one with the client of PostgreSQL {server_major}, as in `postgres:{server_major}`"
            ),
        ),
    };
    let cause = match refusal {
        DumpRefusal::Missing(program) => format!("there is no `{program}` {place}"),
        DumpRefusal::Old(version) => {
            format!("pg_dump {version} {place} is older than the server, which is PostgreSQL {server_major}")
        }
    };
    Fault::new(Code::BackupRefused, cause).fix(fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(messages: &[&str]) -> EndReport {
        let mut report = EndReport::default();
        messages.iter().for_each(|message| report.add_message(message));
        report
    }

    fn proven(messages: &[&str], received: Option<(u64, &str)>, lines: &[&str]) -> Result<String, String> {
        let report = report(messages);
        let last_lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        let received = received.map(|(bytes, sha256)| ReceivedDump { bytes, sha256: sha256.to_owned() });
        let ending = DumpEnding { exit: ExitStatus::Exited(0), report: &report, last_lines: &last_lines, received };
        let tables = [QualifiedName { schema: Some("public".to_owned()), name: "orders".to_owned() }];
        prove_dump(&ending, tables.iter(), &Site::Server, 15).map(|proven| proven.phrase).map_err(|fault| fault.cause)
    }

    const VERSION: &str = "version pg_dump (PostgreSQL) 15.3";
    const LISTED: &str = "data public orders app";

    #[test]
    fn a_complete_dump_is_proven() {
        let phrase = "pg_restore has read all of it, with the rows of 1 table; made by pg_dump (PostgreSQL) 15.3";
        let messages = [VERSION, LISTED, "end 0 0 0 0 0 7 abc"];
        assert_eq!(proven(&messages, Some((7, "abc")), &[]), Ok(phrase.to_owned()));
        assert_eq!(proven(&messages, None, &[]), Ok(phrase.to_owned()));
    }

    #[test]
    fn nothing_less_passes() {
        let no_error: &[&str] = &[];
        let refused = "pg_dump: error: query failed: ERROR:  permission denied for table orders";
        for (messages, received, lines, cause) in [
            (vec![VERSION], Some((7, "abc")), no_error, "the dump was broken off: it ended with code 0"),
            (vec![LISTED, "end 0 0 0 0 0 8 abc"], Some((7, "abc")), no_error, "7 bytes of 8"),
            (vec![LISTED, "end 0 0 0 0 0 7 abd"], Some((7, "abc")), no_error, "did not arrive as it was sent"),
            (vec!["end 0 0 0 0 0 7 abc"], Some((7, "abc")), no_error, "does not contain the rows of public.orders"),
            (vec!["data public orders2 app", "end 0 0 0 0 0 7 abc"], None, no_error, "does not contain the rows"),
            (vec![LISTED, "end 0 0 1 0 0 7 abc"], None, no_error, "pg_restore can't read the dump"),
            (vec![LISTED, "end 0 0 0 1 0 7 abc"], None, no_error, "pg_restore can't read the dump"),
            (vec![LISTED, "end 137 0 1 1 137 7 abc"], None, no_error, "pg_dump was ended by signal 9"),
            (
                vec!["end 1 0 1 1 0 7 abc"],
                None,
                &[refused],
                "pg_dump ended with code 1: query failed: ERROR:  permission",
            ),
            (vec![LISTED, "end 141 141 1 1 3 7 abc"], None, no_error, "the command in `to` ended with code 3"),
            (vec!["missing pg_dump"], None, no_error, "there is no `pg_dump` on the server"),
            (
                vec!["old 14"],
                None,
                no_error,
                "pg_dump 14 on the server is older than the server, which is PostgreSQL 15",
            ),
        ] {
            let refusal = proven(&messages, received, lines).unwrap_err();
            assert!(refusal.contains(cause), "{messages:?}: {refusal}");
        }
    }
}
