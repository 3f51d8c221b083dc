//! The plan of all tenants: one digest, and each fault once.

use crate::fault::Fault;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeSet, fmt::Write as _};

/// The largest number of tenants that a message names.
const NAMED: usize = 5;

/// Lists tenants for a message, the first few by name.
#[must_use]
pub fn list_tenants(schemas: &BTreeSet<&str>) -> String {
    let mut text = if schemas.len() == 1 { "the schema ".to_owned() } else { format!("{} schemas: ", schemas.len()) };
    for (index, schema) in schemas.iter().take(NAMED).enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        write!(text, "{separator}`{schema}`").ok();
    }
    if schemas.len() > NAMED {
        text += ", …";
    }
    text
}

/// Returns the digest of the plans of all tenants, each with its schema.
#[must_use]
pub fn combined_digest<'p>(plans: impl Iterator<Item = (&'p str, &'p str)>) -> String {
    let mut hash = Sha256::new();
    hash.update(b"bastion-migrate tenants 1");
    for (schema, digest) in plans {
        for part in [schema, digest] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
    }
    format!("sha256:{}", hex::encode(hash.finalize()))
}

/// Merges the faults of tenants that have the same cause in the same place: each file is reported once, with the
/// tenants in which it failed.
#[must_use]
pub fn merge_faults(faults: Vec<(String, Fault)>) -> Vec<Fault> {
    let mut merged: Vec<(Fault, BTreeSet<String>)> = Vec::new();
    for (schema, fault) in faults {
        let same = merged.iter_mut().find(|(known, _)| is_same(known, &fault));
        match same {
            Some((_, schemas)) => drop(schemas.insert(schema)),
            None => merged.push((fault, [schema].into())),
        }
    }
    let with_tenants = |(fault, schemas): (Fault, BTreeSet<String>)| {
        let schemas: BTreeSet<&str> = schemas.iter().map(String::as_str).filter(|schema| !schema.is_empty()).collect();
        if schemas.is_empty() { fault } else { fault.detail(format!("in {}", list_tenants(&schemas))) }
    };
    merged.into_iter().map(with_tenants).collect()
}

/// Reports whether two faults are one to the reader: about the same place of a file, else with the same cause.
fn is_same(left: &Fault, right: &Fault) -> bool {
    let place = |fault: &Fault| fault.place.as_ref().map(|place| (place.file.clone(), place.line));
    left.code == right.code
        && match (place(left), place(right)) {
            (None, None) => left.cause == right.cause,
            (left, right) => left == right,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Code, FilePosition};

    fn fault(file: &str, cause: &str) -> Fault {
        Fault::new(Code::StatementFailed, cause).in_file(FilePosition::of_file(file))
    }

    #[test]
    fn a_file_that_fails_in_many_tenants_is_one_fault_which_names_the_first_of_them() {
        let tenants = ["g", "b", "c", "d", "e", "f", "a"];
        let faults = tenants.iter().map(|schema| ((*schema).to_owned(), fault("1.sql", schema))).collect();
        let merged = merge_faults(faults);
        assert_eq!(merged.len(), 1);
        assert_eq!(
            (merged[0].cause.as_str(), merged[0].detail.join("|").as_str()),
            ("g", "in 7 schemas: `a`, `b`, `c`, `d`, `e`, …")
        );
    }

    #[test]
    fn faults_of_other_files_or_other_kinds_stay_apart() {
        let other_kind = fault("1.sql", "x").code(Code::LockTimeout);
        let plain = |cause: &str| Fault::new(Code::StatementFailed, cause);
        let faults = [fault("1.sql", "x"), fault("2.sql", "x"), other_kind, plain("x"), plain("y"), plain("y")];
        let merged = merge_faults(faults.into_iter().map(|fault| ("t".to_owned(), fault)).collect());
        assert_eq!(merged.len(), 5);
        assert!(merged.iter().all(|fault| fault.detail == ["in the schema `t`"]), "{merged:?}");
    }

    #[test]
    fn without_tenants_a_fault_stays_as_it_is() {
        assert_eq!(merge_faults(vec![(String::new(), fault("1.sql", "x"))]), [fault("1.sql", "x")]);
    }

    #[test]
    fn the_digest_covers_schemas_and_plans() {
        let digest = |plans: &[(&'static str, &'static str)]| combined_digest(plans.iter().copied());
        let digests = [
            digest(&[("a", "1"), ("b", "1")]),
            digest(&[("a", "1")]),
            digest(&[("a1", "")]),
            digest(&[("b", "1"), ("a", "1")]),
        ];
        assert_eq!(digests.iter().collect::<BTreeSet<_>>().len(), 4);
        assert!(digests[0].starts_with("sha256:") && digests[0].len() == 71, "{}", digests[0]);
    }
}
