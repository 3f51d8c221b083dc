//! Parses the accepted risk: a word, or a mapping.

use super::{
    mapping::{MappingReader, YamlOrigin, fault_about, scalar_text},
    value,
};
use crate::{
    fault::{Code, Fault},
    settings::{DestructionPolicy, QueryDisplay, Risk, RiskSettings},
};
use serde_yaml::Value;

const KEYS: [&str; 4] = ["max", "destructive", "show-queries", "plan-max-age"];

const RISKS: [(&str, Risk); 3] =
    [(Risk::Low.name(), Risk::Low), (Risk::Medium.name(), Risk::Medium), (Risk::High.name(), Risk::High)];

const DESTRUCTION: [(&str, DestructionPolicy); 3] = [
    ("refuse", DestructionPolicy::Refuse),
    ("if-empty", DestructionPolicy::IfEmpty),
    ("warn", DestructionPolicy::Warn),
];

const QUERIES: [(&str, QueryDisplay); 2] = [("false", QueryDisplay::FirstWords), ("true", QueryDisplay::Whole)];

/// Parses the input: the highest risk that is accepted, or a mapping.
pub(crate) fn parse_risk(value: &Value, origin: &YamlOrigin, faults: &mut Vec<Fault>) -> Option<RiskSettings> {
    let Value::Mapping(mapping) = value else { return parse_max(value, origin, faults) };
    let mut fields = MappingReader::new(mapping, origin.title.clone(), origin.positions.first().cloned());
    fields.reject_unknown_keys(&KEYS);
    let defaults = RiskSettings::default();
    let settings = RiskSettings {
        max: fields.read_value("max", |text| value::parse_choice(text, &RISKS)),
        destructive: fields
            .read_value("destructive", |text| value::parse_choice(text, &DESTRUCTION))
            .unwrap_or(defaults.destructive),
        queries: fields
            .read_value("show-queries", |text| value::parse_choice(text, &QUERIES))
            .unwrap_or(defaults.queries),
        plan_max_age: fields.read_value("plan-max-age", value::parse_positive_duration),
        ..defaults
    };
    let MappingReader { faults: found, .. } = fields;
    let is_valid = found.is_empty();
    faults.extend(found);
    is_valid.then_some(settings)
}

/// Parses the short form, the highest risk alone.
fn parse_max(value: &Value, origin: &YamlOrigin, faults: &mut Vec<Fault>) -> Option<RiskSettings> {
    let text = scalar_text(value).ok().flatten();
    let max = text.as_deref().and_then(|text| value::parse_choice(text.trim(), &RISKS).ok());
    if max.is_none() {
        let cause = "it is neither `low`, `medium` nor `high`, nor a mapping";
        let fault = fault_about(Code::InputInvalid, &origin.title, origin.positions.first(), cause);
        faults.push(fault.fix("write it as `risk: medium`, or as `risk: { max: medium, destructive: refuse }`"));
    }
    Some(RiskSettings { max: Some(max?), ..RiskSettings::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn parse_text(text: &str) -> (Option<RiskSettings>, Vec<Fault>) {
        let origin = YamlOrigin { title: "`risk`".to_owned(), positions: Vec::new() };
        let mut faults = Vec::new();
        (parse_risk(&serde_yaml::from_str(text).unwrap(), &origin, &mut faults), faults)
    }

    #[test]
    fn the_risk_is_a_word_or_a_mapping() {
        let max = |max| RiskSettings { max: Some(max), ..RiskSettings::default() };
        for (text, expected) in [
            ("low", max(Risk::Low)),
            ("medium", max(Risk::Medium)),
            ("\" high \"", max(Risk::High)),
            ("{}", RiskSettings::default()),
            ("{ max: high }", max(Risk::High)),
            (
                "{ destructive: if-empty }",
                RiskSettings { destructive: DestructionPolicy::IfEmpty, ..RiskSettings::default() },
            ),
            (
                "{ max: low, destructive: refuse, show-queries: true, plan-max-age: 2h }",
                RiskSettings {
                    max: Some(Risk::Low),
                    destructive: DestructionPolicy::Refuse,
                    queries: QueryDisplay::Whole,
                    plan_max_age: Some(Duration::from_secs(7200)),
                    ..RiskSettings::default()
                },
            ),
        ] {
            assert_eq!(parse_text(text), (Some(expected), Vec::new()), "{text}");
        }
    }

    #[test]
    fn reports_faults_of_the_value() {
        for (text, cause) in [
            ("none", "`risk`: it is neither `low`, `medium` nor `high`, nor a mapping"),
            ("Low", "neither `low`"),
            ("[low]", "neither `low`"),
            ("7", "neither `low`"),
            ("\"\"", "neither `low`"),
            ("{ max: none }", "`max` is `none`: it is not one of the accepted values"),
            ("{ max: [low] }", "`max` must be text"),
            ("{ destructive: allow }", "`destructive` is `allow`"),
            ("{ show-queries: yes please }", "`show-queries` is `yes please`"),
            ("{ destructiv: warn }", "there is no key `destructiv`"),
            ("{ plan-max-age: 0 }", "`plan-max-age` is `0`: it leaves no time at all"),
            ("{ plan-max-age: tomorrow }", "`plan-max-age` is `tomorrow`"),
        ] {
            let (parsed, faults) = parse_text(text);
            assert!(parsed.is_none() && faults.len() == 1 && faults[0].cause.contains(cause), "{text}: {faults:#?}");
        }
        assert_eq!(parse_text("{ max: none, show-queries: x }").1.len(), 2, "all faults are reported at once");
    }
}
