//! Parses the input `aftercare`: words, separated by commas or white space.

use super::value::InvalidValue;
use crate::{input::names::nearest_candidate, settings::AftercareTask};
use std::collections::BTreeSet;

const FORM: &str = "some of `analyze`, `validate` and `report`, separated by commas";

/// Parses the tasks.
///
/// # Errors
/// The first word that is none.
pub(crate) fn parse_aftercare(text: &str) -> Result<BTreeSet<AftercareTask>, InvalidValue> {
    let words = text.split(|letter: char| letter == ',' || letter.is_whitespace()).filter(|word| !word.is_empty());
    let tasks: BTreeSet<AftercareTask> = words.map(parse_task).collect::<Result<_, _>>()?;
    if tasks.is_empty() { Err(InvalidValue::new("has no word", FORM)) } else { Ok(tasks) }
}

fn parse_task(word: &str) -> Result<AftercareTask, InvalidValue> {
    AftercareTask::ALL.into_iter().find(|task| task.name() == word).ok_or_else(|| {
        let nearest = nearest_candidate(word, AftercareTask::ALL.iter().map(|task| task.name()));
        let hint = nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        InvalidValue::new(format!("has `{word}`, which is none of its words"), format!("{FORM}{hint}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list_of_words() {
        for text in ["analyze, report", "report analyze", "report,\nanalyze,", "report, report, analyze"] {
            assert_eq!(
                parse_aftercare(text).unwrap(),
                BTreeSet::from([AftercareTask::Analyze, AftercareTask::Report]),
                "{text}"
            );
        }
        for (text, cause, fix) in [
            (",", "has no word", "`validate`"),
            ("analyse", "has `analyse`", "did you mean `analyze`?"),
            ("vacuum", "has `vacuum`", "some of `analyze`"),
        ] {
            let invalid = parse_aftercare(text).unwrap_err();
            assert!(invalid.cause.contains(cause) && invalid.fix.contains(fix), "{text}: {invalid:?}");
        }
    }
}
