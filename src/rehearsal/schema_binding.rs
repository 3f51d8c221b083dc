//! The binding of a migration to its rehearsal: the same plan, the same schema, and not too long ago.

use crate::{
    fault::{Code, Fault},
    run::ImageFacts,
    schema::SchemaDescription,
    settings::{ApprovedRehearsal, SchemaMark},
};
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

/// Returns the mark of a schema. It does not depend on the order of the parts.
#[must_use]
pub fn schema_mark(schema: &SchemaDescription) -> SchemaMark {
    mark_of(&schema.parts())
}

fn mark_of(parts: &[String]) -> SchemaMark {
    let sum = parts.iter().fold(0, |sum, part| sum ^ hash_of(part));
    SchemaMark { sum, parts: u64::try_from(parts.len()).unwrap_or(u64::MAX) }
}

/// Returns the first 128 bits of the SHA-256.
fn hash_of(part: &str) -> u128 {
    let mut first = [0; 16];
    first.copy_from_slice(Sha256::digest(part).as_slice().split_at(16).0);
    u128::from_be_bytes(first)
}

/// A plan that a rehearsal was about.
#[derive(Debug, Clone, Copy)]
pub struct RehearsedPlan<'p> {
    /// Its digest.
    pub digest: &'p str,
    /// The image of the tool.
    pub image: Option<&'p ImageFacts>,
}

/// Compares a plan and the schema of its database with the rehearsal that the run depends on.
///
/// # Errors
/// `rehearsal-outdated`, with the reason.
pub fn check_rehearsal(
    plan: RehearsedPlan<'_>,
    schema: &SchemaDescription,
    rehearsal: &ApprovedRehearsal,
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    check_parts(plan, &schema.parts(), rehearsal, now)
}

fn check_parts(
    plan: RehearsedPlan<'_>,
    parts: &[String],
    rehearsal: &ApprovedRehearsal,
    now: DateTime<Utc>,
) -> Result<(), Fault> {
    let outdated = |cause: String| Err(Fault::new(Code::RehearsalOutdated, cause));
    // The plan of another image is another one, whatever it does.
    let image = plan.image.map(|image| ApprovedRehearsal::image_mark(&image.id)).unwrap_or_default();
    if image != rehearsal.image {
        let now = plan
            .image
            .map_or_else(|| "there is none".to_owned(), |image| format!("it is `{}` ({})", image.reference, image.id));
        let then = if rehearsal.image.is_empty() { "no image" } else { rehearsal.image.as_str() };
        return outdated(format!("the rehearsal was with the image {then}, and now {now}"));
    }
    let plan_digest = plan.digest;
    if plan_digest != rehearsal.plan {
        return outdated(format!("the plan is {plan_digest}, and `expect-rehearsal` is about {}", rehearsal.plan));
    }
    let mark = mark_of(parts);
    if mark != rehearsal.schema {
        return outdated(format!(
            "the schema has changed since the rehearsal: {}",
            describe_change(parts, mark, rehearsal.schema)
        ));
    }
    if now > rehearsal.valid_until {
        let until = rehearsal.valid_until.format("%Y-%m-%d %H:%M:%S UTC");
        return outdated(format!("the rehearsal was valid until {until} (`max-age` of `rehearse`)"));
    }
    Ok(())
}

/// Names the part that was added, or two of them. With more changes at once, only their number can be told apart.
fn describe_change(parts: &[String], now: SchemaMark, then: SchemaMark) -> String {
    let difference = now.sum ^ then.sum;
    if now.parts == then.parts + 1
        && let Some(added) = parts.iter().find(|part| hash_of(part) == difference)
    {
        return format!("`{}` is new", first_line(added));
    }
    if now.parts == then.parts + 2
        && let Some((first, second)) = find_pair(parts, difference)
    {
        return format!("`{}` and `{}` are new", first_line(first), first_line(second));
    }
    match now.parts.cmp(&then.parts) {
        std::cmp::Ordering::Equal => format!("as many of its {} parts are new as are gone", now.parts),
        _ => format!("it had {} columns and other objects, and now it has {}", then.parts, now.parts),
    }
}

fn find_pair(parts: &[String], difference: u128) -> Option<(&str, &str)> {
    let by_hash: std::collections::HashMap<u128, &str> =
        parts.iter().map(|part| (hash_of(part), part.as_str())).collect();
    by_hash
        .iter()
        .find_map(|(hash, part)| Some((*part, *by_hash.get(&(hash ^ difference))?)))
        .filter(|(one, other)| one != other)
}

fn first_line(part: &str) -> &str {
    part.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn check(then: &[&str], now: &[&str], at: &str) -> Result<(), String> {
        let rehearsal = ApprovedRehearsal {
            plan: "sha256:1".to_owned(),
            schema: mark_of(&parts(then)),
            image: String::new(),
            valid_until: time("2026-11-30T20:00:00Z"),
        };
        let plan = RehearsedPlan { digest: "sha256:1", image: None };
        check_parts(plan, &parts(now), &rehearsal, time(at)).map_err(|fault| fault.cause)
    }

    const EARLY: &str = "2026-11-30T19:00:00Z";

    #[test]
    fn the_same_schema_in_any_order_holds_for_a_time() {
        assert_eq!(check(&["a", "b"], &["b", "a"], EARLY), Ok(()));
        let late = check(&["a"], &["a"], "2026-11-30T20:00:01Z").unwrap_err();
        assert!(late.contains("2026-11-30 20:00:00 UTC"), "{late}");
    }

    #[test]
    fn what_appeared_since_is_named() {
        let old = ["CREATE TABLE a", "a: id int"];
        let one = check(&old, &["CREATE TABLE a", "a: id int", "a: note text"], EARLY).unwrap_err();
        assert!(one.ends_with("`a: note text` is new"), "{one}");
        let two = check(&old, &["CREATE TABLE a", "a: id int", "a: x int", "a: y int"], EARLY).unwrap_err();
        assert!(two.contains("`a: x int`") && two.ends_with("are new"), "{two}");
        let gone = check(&old, &["CREATE TABLE a"], EARLY).unwrap_err();
        assert!(gone.ends_with("it had 2 columns and other objects, and now it has 1"), "{gone}");
        let other = check(&old, &["CREATE TABLE a", "a: id bigint"], EARLY).unwrap_err();
        assert!(other.contains("as many of its 2 parts"), "{other}");
    }

    #[test]
    fn another_plan_is_the_first_reason() {
        let rehearsal = ApprovedRehearsal {
            plan: "sha256:1".to_owned(),
            schema: SchemaMark::default(),
            image: String::new(),
            valid_until: time("2020-01-01T00:00:00Z"),
        };
        let plan = RehearsedPlan { digest: "sha256:2", image: None };
        let fault = check_parts(plan, &parts(&["a"]), &rehearsal, time(EARLY)).unwrap_err();
        assert_eq!(fault.cause, "the plan is sha256:2, and `expect-rehearsal` is about sha256:1");
    }

    #[test]
    fn another_image_is_named_even_if_its_plan_is_the_same() {
        let image = |id: &str| ImageFacts { reference: "shop:2".to_owned(), id: id.to_owned(), digest: None };
        let rehearsal = ApprovedRehearsal {
            plan: "sha256:1".to_owned(),
            schema: mark_of(&parts(&["a"])),
            image: ApprovedRehearsal::image_mark("sha256:0123456789abcdef0123"),
            valid_until: time("2026-11-30T20:00:00Z"),
        };
        let check = |image: Option<&ImageFacts>| {
            let plan = RehearsedPlan { digest: "sha256:1", image };
            check_parts(plan, &parts(&["a"]), &rehearsal, time(EARLY)).map_err(|fault| fault.cause)
        };
        assert_eq!(check(Some(&image("sha256:0123456789abcdef0123"))), Ok(()));
        let other = check(Some(&image("sha256:fedc"))).unwrap_err();
        assert_eq!(other, "the rehearsal was with the image 0123456789abcdef, and now it is `shop:2` (sha256:fedc)");
        assert_eq!(
            check(None).unwrap_err(),
            "the rehearsal was with the image 0123456789abcdef, and now there is none"
        );
    }
}
