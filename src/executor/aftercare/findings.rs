//! What should be mended in the database, each with the SQL that mends it. The server writes the SQL, so every name is
//! quoted by its own rules.

use super::catalog_facts::{CatalogFacts, IS_UNVALIDATED, OWNER, SETTINGS, USER_SCHEMA};
use crate::{
    ledger::TRUSTED_ROLES,
    postgres::{INDEX_BUILD_RUNNING, OwnQuery, Row, RowTag, Rows},
    run::{CareFinding, CareFindingKind},
};

/// Maximum number of findings of one kind.
const MAX_OF_KIND: usize = 50;

/// Returns the query for the findings, in one round trip. The SQL of a finding may run code of the object's owner, so
/// only objects count that belong to our role or one that it is a member of.
pub(super) fn findings_query() -> OwnQuery {
    let sql = include_str!("findings.sql")
        .replace("{tag}", &RowTag::CareFinding.to_string())
        .replace("{trusted_roles}", TRUSTED_ROLES)
        .replace("{user_schema}", USER_SCHEMA)
        .replace("{owner}", OWNER)
        .replace("{is_unvalidated}", IS_UNVALIDATED)
        .replace("{build_running}", INDEX_BUILD_RUNNING)
        .replace("{limit}", &MAX_OF_KIND.to_string());
    OwnQuery::read_only(sql).preceded_by(SETTINGS)
}

/// Reads the response. Of duplicate indexes only those count that were built since `before`; without it, none.
pub(super) fn parse_findings(rows: &Rows, before: Option<&CatalogFacts>) -> Vec<CareFinding> {
    let mut findings: Vec<CareFinding> = Vec::new();
    for row in rows.tagged(RowTag::CareFinding) {
        let Some(finding) = parse_finding(row) else { continue };
        let is_wanted = finding.kind != CareFindingKind::DuplicateIndex || is_new_duplicate(row, before);
        let of_kind = findings.iter().filter(|other| other.kind == finding.kind).count();
        // An index may be the same as several others.
        let is_known = findings.iter().any(|other| other.sql == finding.sql);
        if is_wanted && !is_known && of_kind < MAX_OF_KIND {
            findings.push(finding);
        }
    }
    findings
}

fn parse_finding(row: Row<'_>) -> Option<CareFinding> {
    let [kind, _, _, object, problem, sql] = row.columns().map(Option::unwrap_or_default);
    let kind = CareFindingKind::ALL.into_iter().find(|known| known.name() == kind)?;
    let [object, problem, sql] = [object, problem, sql].map(str::to_owned);
    Some(CareFinding { kind, object, problem, sql })
}

/// Returns whether the index of this row is new, and the other one is to stay. Of two new ones, the older stays.
fn is_new_duplicate(row: Row<'_>, before: Option<&CatalogFacts>) -> bool {
    let (Some(before), Some(index), Some(other)) = (before, row.parse::<u32>(1), row.parse::<u32>(2)) else {
        return false;
    };
    !before.has_index(index) && (before.has_index(other) || other < index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duplicate(index: &str, other: &str) -> Vec<Option<String>> {
        let sql = format!("DROP INDEX CONCURRENTLY public.i{index}");
        RowTag::CareFinding.row(&["duplicate-index", index, other, &format!("public.i{index}"), "the same", &sql])
    }

    fn objects(rows: Vec<Vec<Option<String>>>) -> Vec<String> {
        let before = CatalogFacts::from_rows(&Rows::from_iter([RowTag::CareIndex.row(&["90"])]));
        let findings = parse_findings(&rows.into_iter().collect(), Some(&before));
        findings.into_iter().map(|finding| finding.object).collect()
    }

    #[test]
    fn of_indexes_that_are_the_same_one_is_left() {
        assert_eq!(objects(vec![duplicate("7", "90"), duplicate("90", "7")]), ["public.i7"]);
        assert_eq!(objects(vec![duplicate("7", "8"), duplicate("8", "7")]), ["public.i8"]);
        let three = ["7", "8", "90"].iter().flat_map(|one| ["7", "8", "90"].iter().map(move |two| (*one, *two)));
        let pairs = three.filter(|(one, two)| one != two).map(|(one, two)| duplicate(one, two)).collect();
        assert_eq!(objects(pairs), ["public.i7", "public.i8"]);
    }

    #[test]
    fn old_duplicates_and_unknown_kinds_are_no_findings() {
        assert!(parse_findings(&Rows::from_iter([duplicate("7", "90")]), None).is_empty());
        assert_eq!(objects(vec![RowTag::CareFinding.row(&["else", "7", "90", "a", "b", "c"])]), [""; 0]);
    }

    #[test]
    fn every_placeholder_of_the_query_is_filled() {
        let sql = findings_query().to_string();
        assert!(!sql.contains('{') && !sql.contains('}'), "{sql}");
    }
}
