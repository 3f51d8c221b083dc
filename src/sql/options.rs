//! Options in parentheses, `(a, b = value, c value)`.

use super::{
    identifier::fold_identifier,
    phrase::{Part, Phrase},
};

/// The value of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    /// No value, or any other one.
    On,
    /// A value that means no.
    Off,
}

/// Reports whether one of these options is off in the list at the end, `WITH (…)`.
pub(crate) fn is_switched_off(phrase: &mut Phrase<'_>, names: &[&str]) -> bool {
    let options = phrase.filter_map(|part| match part {
        Part::Group(options) => Some(options),
        Part::Word(_) | Part::Other(_) => None,
    });
    options.last().is_some_and(|options| names.iter().any(|name| find_option(options, name) == Some(Switch::Off)))
}

/// Returns the value of this option in a list `(a, b = value, c value)`, if it is there (`defGetBoolean` in
/// PostgreSQL's sources).
pub(crate) fn find_option(list: &str, name: &str) -> Option<Switch> {
    let mut phrase = Phrase::inside_group(list);
    while let Some(part) = phrase.next() {
        let found = fold_identifier(part.text()).is_some_and(|option_name| option_name == name);
        if matches!(phrase.peek(), Some(Part::Other("="))) {
            phrase.by_ref().next();
        }
        let value = phrase.by_ref().take_while(|part| !matches!(part, Part::Other(","))).last();
        if found {
            let value = value.map(|part| part.text().trim_matches('\'').to_ascii_lowercase());
            let is_off = matches!(value.as_deref(), Some("false" | "off" | "0"));
            return Some(if is_off { Switch::Off } else { Switch::On });
        }
    }
    None
}
