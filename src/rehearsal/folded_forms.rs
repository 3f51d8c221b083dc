//! The statements of a loop in a SQL file, folded into one.

use super::{forecast_check::RehearsedScript, observation::sum_of_known, statement_kind::StatementKindOnCopy};
use crate::{run::RehearsedStatement, sql::statement_form};
use std::collections::HashMap;

/// Folds statements about rows that have one form, one migration and one verdict. The order stays: the worst first.
#[must_use]
pub fn fold_forms(statements: Vec<RehearsedStatement>, scripts: &[RehearsedScript<'_>]) -> Vec<RehearsedStatement> {
    let by_index: HashMap<usize, &RehearsedScript<'_>> =
        scripts.iter().map(|script| (script.index(), script)).collect();
    let (mut folded, mut known): (Vec<RehearsedStatement>, HashMap<_, usize>) = (Vec::new(), HashMap::new());
    for statement in statements {
        let text = by_index.get(&statement.seen.migration.index).map(|script| script.text_of(statement.seen.statement));
        let rows =
            text.filter(|text| StatementKindOnCopy::of(text) <= StatementKindOnCopy::Rows && statement.error.is_none());
        let Some(text) = rows else {
            folded.push(statement);
            continue;
        };
        let key = (statement.seen.migration.index, statement.verdict, statement_form(text));
        match known.get(&key).and_then(|at| folded.get_mut(*at)) {
            Some(first) => add(first, &statement),
            None => {
                known.insert(key, folded.len());
                folded.push(statement);
            }
        }
    }
    folded
}

fn add(first: &mut RehearsedStatement, other: &RehearsedStatement) {
    first.times += other.times;
    first.took_ms += other.took_ms;
    first.rows = sum_of_known(first.rows, other.rows);
    first.wal_bytes = sum_of_known(first.wal_bytes, other.wal_bytes);
}
