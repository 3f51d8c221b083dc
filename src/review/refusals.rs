//! The policy: the statements of a weighed plan that the settings refuse.

use crate::{
    fault::{Code, Fault},
    run::{Content, DestroyedObject, PlanReview, Risk, StatementReview},
    settings::{DestructionPolicy, RiskSettings},
};

/// Returns a fault for each statement that has a higher risk than is accepted, and for each loss that is refused.
#[must_use]
pub fn refusals(review: &PlanReview, settings: &RiskSettings) -> Vec<Fault> {
    let too_high = review.statements.iter().filter_map(|statement| risk_fault(statement, settings.max?));
    let losses = review.statements.iter().flat_map(|statement| {
        let refused = statement.destroys.iter().filter(|object| is_refused(object, settings.destructive));
        refused.map(|object| loss_fault(statement, object, settings.destructive))
    });
    losses.chain(too_high).collect()
}

fn is_refused(object: &DestroyedObject, policy: DestructionPolicy) -> bool {
    let is_loss = match policy {
        DestructionPolicy::Warn => false,
        DestructionPolicy::IfEmpty => object.content != Content::Nothing,
        DestructionPolicy::Refuse => true,
    };
    is_loss && object.allowed.is_none()
}

fn loss_fault(statement: &StatementReview, object: &DestroyedObject, policy: DestructionPolicy) -> Fault {
    let word = match policy {
        DestructionPolicy::IfEmpty => "if-empty",
        DestructionPolicy::Refuse | DestructionPolicy::Warn => "refuse",
    };
    let DestroyedObject { what, facts, .. } = object;
    let cause = format!("{} destroys data, and `risk` has `destructive: {word}`: {what} ({facts})", subject(statement));
    let fix = format!("keep the data, or allow its loss: `allow: \"{what}: the reason\"`");
    place(Fault::new(Code::Destructive, cause).fix(fix), statement)
}

fn risk_fault(statement: &StatementReview, max: Risk) -> Option<Fault> {
    if statement.risk <= max {
        return None;
    }
    let (risk, max) = (statement.risk.name(), max.name());
    let cause = format!("{} has the risk `{risk}`, and `risk` accepts at most `{max}`", subject(statement));
    let fix = format!("change the statement as its reasons suggest, or accept it with `max: {risk}` in `risk`");
    let fault = statement.reasons.iter().fold(Fault::new(Code::RiskTooHigh, cause).fix(fix), Fault::detail);
    let fault =
        statement.in_the_way.iter().fold(fault, |fault, session| fault.detail(format!("in the way: {session}")));
    Some(place(fault, statement))
}

/// Returns the statement as the subject of a sentence.
fn subject(statement: &StatementReview) -> String {
    format!("{}: `{}`", statement.migration.label(), statement.summary)
}

fn place(fault: Fault, statement: &StatementReview) -> Fault {
    statement.place.iter().cloned().fold(fault, Fault::in_file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fault::FilePosition, run::MigrationId};

    fn dropping(content: Content, allowed: Option<&str>) -> PlanReview {
        let what = "drop users.legacy_email".to_owned();
        let object = DestroyedObject {
            qualified: "drop public.users.legacy_email".to_owned(),
            facts: "120 M rows, 38 GB".to_owned(),
            allowed: allowed.map(str::to_owned),
            what,
            content,
        };
        let statement = StatementReview {
            migration: MigrationId { name: "0003_drop".to_owned(), ..MigrationId::default() },
            place: Some(FilePosition::of_file("migrations/0003_drop.sql")),
            summary: "ALTER TABLE users DROP COLUMN legacy_email".to_owned(),
            destroys: vec![object],
            risk: Risk::High,
            reasons: vec!["It destroys data.".to_owned()],
            in_the_way: vec!["pid 7".to_owned()],
            ..StatementReview::default()
        };
        PlanReview { risk: Risk::High, statements: vec![statement], notes: Vec::new() }
    }

    fn codes(review: &PlanReview, max: Option<Risk>, destructive: DestructionPolicy) -> Vec<Code> {
        let settings = RiskSettings { max, destructive, ..RiskSettings::default() };
        refusals(review, &settings).into_iter().map(|fault| fault.code).collect()
    }

    #[test]
    fn a_loss_is_refused_unless_it_is_allowed_or_nothing_is_lost() {
        use DestructionPolicy::{IfEmpty, Refuse, Warn};
        for (content, allowed, policy, expected) in [
            (Content::Something, None, Warn, &[][..]),
            (Content::Something, None, IfEmpty, &[Code::Destructive]),
            (Content::Something, None, Refuse, &[Code::Destructive]),
            (Content::Unknown, None, IfEmpty, &[Code::Destructive]),
            (Content::Nothing, None, IfEmpty, &[]),
            (Content::Nothing, None, Refuse, &[Code::Destructive]),
            (Content::Something, Some("nobody reads it"), IfEmpty, &[]),
            (Content::Something, Some("nobody reads it"), Refuse, &[]),
        ] {
            assert_eq!(
                codes(&dropping(content, allowed), None, policy),
                expected,
                "{content:?} {allowed:?} {policy:?}"
            );
        }
    }

    #[test]
    fn a_risk_above_the_accepted_one_is_refused() {
        let review = dropping(Content::Something, None);
        for (max, expected) in [
            (None, &[][..]),
            (Some(Risk::High), &[]),
            (Some(Risk::Medium), &[Code::RiskTooHigh]),
            (Some(Risk::Low), &[Code::RiskTooHigh]),
        ] {
            assert_eq!(codes(&review, max, DestructionPolicy::Warn), expected, "{max:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_statement_the_loss_and_the_line_to_paste() {
        let settings =
            RiskSettings { max: Some(Risk::Low), destructive: DestructionPolicy::Refuse, ..RiskSettings::default() };
        let faults = refusals(&dropping(Content::Something, None), &settings);
        let [loss, risk] = faults.as_slice() else { panic!("{faults:?}") };
        assert_eq!(
            loss.cause,
            "0003_drop: `ALTER TABLE users DROP COLUMN legacy_email` destroys data, and `risk` has `destructive: refuse`: \
             drop users.legacy_email (120 M rows, 38 GB)"
        );
        assert!(loss.fix.contains("`allow: \"drop users.legacy_email: the reason\"`"), "{}", loss.fix);
        assert!(risk.fix.contains("`max: high`"), "{}", risk.fix);
        assert_eq!(risk.detail, ["It destroys data.", "in the way: pid 7"]);
        assert!(faults.iter().all(|fault| fault.place.is_some()));
    }
}
