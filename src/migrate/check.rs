//! The SQL of the checks that a file demands, and the faults of those that fail.

use super::migration::Migration;
use crate::{
    fault::{Code, Fault},
    postgres::quote_literal,
    sql::{CheckMoment, FileCheck},
};

/// The SQLSTATE raised by a check that fails. Class BM is unused (PostgreSQL manual, appendix A).
const CHECK_FAILED: &str = "BM006";

/// The beginning of the message of a check that fails; the line follows.
const MESSAGE: &str = "bastion-migrate: the check on line ";

/// The longest part of a row in the message, in characters.
const MAX_ROW_LENGTH: usize = 500;

/// The code of a check stands on a line of its own, by which the server names it (PostgreSQL manual, 43.5.6). The code of
/// our guards is on line 1.
const FIRST_CODE_LINE: usize = 2;

/// Returns the SQL of the checks at this moment, each followed by a semicolon. It runs with the search path of the file,
/// so it qualifies everything of its own.
pub(super) fn checks_sql(checks: &[FileCheck], moment: CheckMoment) -> String {
    let numbered = (FIRST_CODE_LINE..).zip(checks);
    numbered.filter(|(_, check)| check.moment == moment).map(|(line, check)| check_sql(check, line)).collect()
}

/// A row passes if all of its columns are true; a query without rows passes, too.
fn check_sql(check: &FileCheck, code_line: usize) -> String {
    let FileCheck { query, line, .. } = check;
    let is_true = "pg_catalog.bool_and(columns.value OPERATOR(pg_catalog.=) 'true'::pg_catalog.jsonb)";
    let passes = format!("SELECT {is_true} FROM pg_catalog.jsonb_each(pg_catalog.to_jsonb(checked)) AS columns");
    let head = format!(
        "SELECT pg_catalog.left(pg_catalog.to_jsonb(checked)::pg_catalog.text, {MAX_ROW_LENGTH}) FROM ({query}"
    );
    let tail = format!(") AS checked WHERE NOT COALESCE(({passes}), false) LIMIT 1");
    // The query may end with a comment, so a line break follows; as a character it would shift the lines of the code.
    let failing = format!("pg_catalog.concat({}, pg_catalog.chr(10), {})", quote_literal(&head), quote_literal(&tail));
    let message = quote_literal(&format!("{MESSAGE}{line} returned "));
    let above = "\n".repeat(code_line.saturating_sub(1));
    let code = format!(
        "{above}DECLARE failing pg_catalog.text; BEGIN EXECUTE {failing} INTO failing; IF failing IS NOT NULL THEN RAISE EXCEPTION \
         USING ERRCODE = '{CHECK_FAILED}', MESSAGE = pg_catalog.concat({message}, failing); END IF; END"
    );
    format!("DO {}; ", quote_literal(&code))
}

/// Returns the fault of a check at its place in the file; any other fault as it is.
pub(super) fn with_check_place(fault: Fault, migration: &Migration) -> Fault {
    let Some(check) = failing_check(&fault, &migration.checks) else { return fault };
    let mut place = migration.whole_file();
    place.line = Some(check.line);
    let fault = Fault { detail: vec![check.query.clone()], ..fault }.in_file(place);
    let (moment, result) = match check.moment {
        CheckMoment::Before => ("before", "nothing of the file was executed"),
        CheckMoment::After => ("after", "the file was rolled back"),
    };
    let row = fault.cause.strip_prefix(MESSAGE).and_then(|rest| rest.split_once(" returned ")).map(|(_, row)| row);
    match row.filter(|_| fault.sqlstate.as_deref() == Some(CHECK_FAILED)) {
        Some(row) => {
            let cause = format!("the check {moment} the file returned {row}: {result}");
            Fault { cause, ..fault }.code(Code::CheckFailed)
        }
        None => Fault { cause: format!("the check {moment} the file failed: {}", fault.cause), ..fault },
    }
}

/// Returns the check whose code was executed, according to the context of the error.
fn failing_check<'c>(fault: &Fault, checks: &'c [FileCheck]) -> Option<&'c FileCheck> {
    let context = fault.detail.iter().rev().flat_map(|detail| detail.lines().rev());
    let line = context.filter_map(|line| line.split_once("PL/pgSQL function inline_code_block line ")).next()?.1;
    let digits: String = line.chars().take_while(char::is_ascii_digit).collect();
    checks.get(digits.parse::<usize>().ok()?.checked_sub(FIRST_CODE_LINE)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_one_statement_whatever_its_query_contains() {
        let check = |query: &str| FileCheck { moment: CheckMoment::After, query: query.to_owned(), line: 7 };
        let sql = checks_sql(&[check("select 'it''s' = $$a$$ -- x"), check(r"select '\'")], CheckMoment::After);
        assert_eq!(
            crate::sql::split::statement_spans(
                crate::sql::SqlSource::of_file("a.sql", &sql),
                crate::sql::Span::whole(&sql)
            )
            .count(),
            2,
            "{sql}"
        );
        assert_eq!(checks_sql(&[check("select true")], CheckMoment::Before), "");
    }
}
