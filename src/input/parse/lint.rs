//! Parses the lint: a word, or a mapping.

use super::{
    mapping::{MappingReader, YamlOrigin, fault_about, scalar_text},
    value::{self, InvalidValue},
};
use crate::{
    fault::{Code, Fault},
    input::names::nearest_candidate,
    settings::{LintLevel, LintSettings},
};
use serde_yaml::Value;
use squawk_linter::Rule;

const KEYS: [&str; 4] = ["level", "also", "except", "small-table"];

const LEVELS: [(&str, LintLevel); 3] =
    [("off", LintLevel::Off), ("warn", LintLevel::Warn), ("error", LintLevel::Error)];

/// The largest table that may count as small. Reading or rewriting a larger one takes seconds.
const MAX_SMALL_TABLE: u64 = 1_000_000;

/// Parses the input.
pub(crate) fn parse_lint(value: &Value, origin: &YamlOrigin, faults: &mut Vec<Fault>) -> Option<LintSettings> {
    let position = origin.positions.first().cloned();
    let Value::Mapping(mapping) = value else {
        let level = scalar_text(value).ok().flatten().map(|text| value::parse_choice(text.trim(), &LEVELS));
        let Some(Ok(level)) = level else {
            let cause = "it is neither `off`, `warn` or `error`, nor a mapping";
            let fault = fault_about(Code::InputInvalid, &origin.title, position.as_ref(), cause);
            faults
                .push(fault.fix("write it as `lint: warn`, or as `lint: { level: error, except: [ban-drop-column] }`"));
            return None;
        };
        return Some(LintSettings { level, ..LintSettings::default() });
    };
    let mut fields = MappingReader::new(mapping, origin.title.clone(), position);
    fields.reject_unknown_keys(&KEYS);
    let default = LintSettings::default();
    let level = fields.read_value("level", |text| value::parse_choice(text, &LEVELS)).unwrap_or(default.level);
    let small_table = fields.read_value("small-table", parse_small_table).unwrap_or(default.small_table);
    let also = read_rules(&mut fields, mapping.get("also"), "also");
    let except = read_rules(&mut fields, mapping.get("except"), "except");
    if let Some(rule) = also.iter().find(|rule| except.contains(rule)) {
        fields.add_invalid(&format!("`{rule}` is in `also` and in `except`"), "take it out of one of them");
    }
    let MappingReader { faults: found, .. } = fields;
    let is_valid = found.is_empty();
    faults.extend(found);
    is_valid.then_some(LintSettings { level, also, except, small_table })
}

fn parse_small_table(text: &str) -> Result<u64, InvalidValue> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(rows) if is_number && rows <= MAX_SMALL_TABLE => Ok(rows),
        _ => Err(InvalidValue::new("is not a number of rows", format!("a number from 0 to {MAX_SMALL_TABLE}"))),
    }
}

/// Reads a list of rules, or a text with their names between commas or white space.
fn read_rules(fields: &mut MappingReader<'_>, value: Option<&Value>, key: &str) -> Vec<Rule> {
    let names: Option<Vec<String>> = match value {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Sequence(list)) => list.iter().map(|name| scalar_text(name).ok().flatten()).collect(),
        Some(Value::String(text)) => {
            let names = text.split(|letter: char| letter == ',' || letter.is_whitespace());
            Some(names.filter(|name| !name.is_empty()).map(str::to_owned).collect())
        }
        Some(_) => None,
    };
    let Some(names) = names else {
        let example = format!("write it as in `{key}: [ban-drop-column]`");
        fields.add_invalid(&format!("`{key}` is not a list of rules"), example);
        return Vec::new();
    };
    let mut rules = Vec::new();
    for name in names {
        match parse_rule(&name) {
            Ok(rule) => rules.push(rule),
            Err(InvalidValue { cause, fix }) => {
                fields.add_invalid(&format!("`{key}` has `{name}`, which {cause}"), fix);
            }
        }
    }
    rules
}

/// Parses the name of a rule.
pub(crate) fn parse_rule(name: &str) -> Result<Rule, InvalidValue> {
    let all = squawk_linter::Linter::with_rules(&[], &[]).rules;
    Rule::try_from(name.trim()).map_err(|_unknown| {
        let names: Vec<String> = all.iter().map(ToString::to_string).collect();
        let fix = match nearest_candidate(name, names.iter().map(String::as_str)) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => "take one from https://squawkhq.com/docs/rules".to_owned(),
        };
        InvalidValue::new("is not a rule of squawk", fix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> (Option<LintSettings>, Vec<Fault>) {
        let origin = YamlOrigin { title: "`lint`".to_owned(), positions: Vec::new() };
        let mut faults = Vec::new();
        (parse_lint(&serde_yaml::from_str(text).unwrap(), &origin, &mut faults), faults)
    }

    #[test]
    fn the_lint_is_a_word_or_a_mapping() {
        let level = |level| LintSettings { level, ..LintSettings::default() };
        for (text, expected) in [
            ("off", level(LintLevel::Off)),
            ("warn", level(LintLevel::Warn)),
            ("error", level(LintLevel::Error)),
            ("{}", level(LintLevel::Warn)),
            ("{ level: error }", level(LintLevel::Error)),
            (
                "{ also: prefer-text-field, except: [ban-drop-column, renaming-table], small-table: 500 }",
                LintSettings {
                    also: vec![Rule::PreferTextField],
                    except: vec![Rule::BanDropColumn, Rule::RenamingTable],
                    small_table: 500,
                    ..LintSettings::default()
                },
            ),
        ] {
            assert_eq!(parse_text(text), (Some(expected), Vec::new()), "{text}");
        }
    }

    #[test]
    fn reports_faults_of_the_lint() {
        for (text, cause, fix) in [
            ("strict", "neither `off`, `warn` or `error`, nor a mapping", "lint: warn"),
            ("[error]", "nor a mapping", "lint: warn"),
            ("{ levle: warn }", "there is no key `levle`", "did you mean `level`?"),
            ("{ level: strict }", "`level` is `strict`", "`off`, `warn` or `error`"),
            ("{ small-table: many }", "`small-table` is `many`", "a number from 0 to"),
            ("{ small-table: \"+5\" }", "is not a number of rows", "a number from 0 to"),
            ("{ small-table: 1000001 }", "is not a number of rows", "a number from 0 to"),
            ("{ except: ban-drop-colum }", "which is not a rule of squawk", "did you mean `ban-drop-column`?"),
            ("{ except: { a: b } }", "`except` is not a list of rules", "except: [ban-drop-column]"),
            ("{ except: zzz }", "which is not a rule of squawk", "squawkhq.com"),
            ("{ also: ban-drop-index, except: ban-drop-index }", "in `also` and in `except`", "one of them"),
        ] {
            let (parsed, faults) = parse_text(text);
            assert!(parsed.is_none() && faults.len() == 1, "{text}: {faults:#?}");
            assert!(faults[0].cause.contains(cause) && faults[0].fix.contains(fix), "{text}: {faults:#?}");
        }
    }
}
