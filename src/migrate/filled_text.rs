//! Fills in the placeholders of a file. Positions in the filled-in text are mapped back to the file: a value has no line
//! break, so only columns differ.

use super::{options_file::keeps_placeholders, section_fault::section_fault};
use crate::{
    fault::{Fault, FilePosition},
    layout::{FilledIn, Layout},
    settings::{Placeholders, Visibility},
    sql::SqlSource,
};
use sha2::{Digest as _, Sha256};
use std::path::Path;

/// The values that took the places of a file's placeholders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replacements {
    /// In the order of the file.
    replaced: Vec<Replacement>,
    /// What a digest of a plan covers: the checksum of the file and its public values.
    identity: Vec<String>,
}

/// A value in the place of a placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Replacement {
    /// 1-based.
    line: usize,
    /// 1-based, in characters of the filled-in line.
    column: usize,
    /// The length of the value, in characters.
    length: usize,
    /// The text of the file.
    placeholder: String,
}

/// The file, and the values for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filling<'a> {
    /// The path as the user wrote it.
    pub(super) file: &'a str,
    /// The path that can be opened.
    pub(super) path: &'a Path,
    pub(super) layout: Layout,
    pub(super) placeholders: &'a Placeholders,
}

impl Filling<'_> {
    /// Returns the text with values in the places of its placeholders. Bytes that are no text stay as they are, for the
    /// parser to refuse.
    ///
    /// # Errors
    ///
    /// `file-template` for a placeholder without a value.
    pub(super) fn fill_in(self, bytes: Vec<u8>) -> Result<(Vec<u8>, Replacements), Vec<Fault>> {
        let Self { file, path, layout, placeholders } = self;
        if !layout.has_placeholders() || keeps_placeholders(path, layout) {
            return Ok((bytes, Replacements::default()));
        }
        let Ok(text) = std::str::from_utf8(&bytes) else { return Ok((bytes, Replacements::default())) };
        let value_of = |name: &str| placeholders.get(name).map(|placeholder| placeholder.value.expose().to_owned());
        let filled = layout
            .fill_in(text, &value_of)
            .map_err(|problem| vec![section_fault(SqlSource::of_file(file, text), problem)])?;
        if filled.is_empty() {
            return Ok((bytes, Replacements::default()));
        }
        let replacements = Replacements::new(text, &filled, placeholders);
        let mut text = text.to_owned();
        for part in filled.iter().rev() {
            text.replace_range(part.range.clone(), &part.text);
        }
        Ok((text.into_bytes(), replacements))
    }
}

impl Replacements {
    fn new(text: &str, filled: &[FilledIn], placeholders: &Placeholders) -> Self {
        let (mut replaced, mut line, mut column, mut at) = (Vec::new(), 1, 1, 0);
        for part in filled {
            let between = text.get(at..part.range.start).unwrap_or_default();
            match between.rfind('\n') {
                Some(newline) => {
                    line += between.matches('\n').count();
                    column = 1 + between.get(newline + 1..).unwrap_or_default().chars().count();
                }
                None => column += between.chars().count(),
            }
            let (length, placeholder) = (part.text.chars().count(), text.get(part.range.clone()).unwrap_or_default());
            replaced.push(Replacement { line, column, length, placeholder: placeholder.to_owned() });
            column += length;
            at = part.range.end;
        }
        let names = filled.iter().flat_map(|part| &part.names);
        // A digest that covers a secret would be a way to try values.
        let values = names.filter_map(|name| placeholders.get(name)).map(|placeholder| match placeholder.visibility {
            Visibility::Public => format!("{}={}", placeholder.name, placeholder.value.expose()),
            Visibility::Hidden => placeholder.name.clone(),
        });
        let identity = std::iter::once(hex::encode(Sha256::digest(text))).chain(values).collect();
        Self { replaced, identity }
    }

    /// Reports whether the file had no placeholder.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replaced.is_empty()
    }

    /// Returns the texts that a digest of a plan covers; none if nothing was filled in.
    #[must_use]
    pub fn identity(&self) -> &[String] {
        &self.identity
    }

    /// Returns the fault with its position in the file, not in the filled-in text.
    pub(super) fn restore_fault(&self, fault: Fault) -> Fault {
        Fault { place: fault.place.clone().map(|place| self.restore_place(place)), ..fault }
    }

    /// Returns the position in the file of a position in the filled-in text.
    pub(super) fn restore_place(&self, place: FilePosition) -> FilePosition {
        let (Some(line), Some(column)) = (place.line, place.column) else { return place };
        let on_line: Vec<&Replacement> = self.replaced.iter().filter(|part| part.line == line).collect();
        if on_line.is_empty() {
            return place;
        }
        let excerpt = place.excerpt.as_ref().map(|excerpt| {
            excerpt.map_line(|text, offset| {
                let shown_column = text.get(..offset).unwrap_or(text).chars().count() + 1;
                restore_line(&on_line, text, (column.saturating_sub(shown_column), shown_column))
            })
        });
        FilePosition { column: Some(restored_column(&on_line, column)), excerpt, ..place }
    }
}

/// Returns the column in the file: a value counts as the beginning of its placeholder.
fn restored_column(on_line: &[&Replacement], column: usize) -> usize {
    let (mut gained, mut lost) = (0, 0);
    for part in on_line.iter().take_while(|part| part.column <= column) {
        if column < part.column + part.length {
            return part.column + gained - lost;
        }
        gained += part.placeholder.chars().count();
        lost += part.length;
    }
    column + gained - lost
}

/// Returns the line with its placeholders, and the byte of a column in it. The text begins behind this many hidden
/// characters.
fn restore_line(on_line: &[&Replacement], text: &str, (hidden, column): (usize, usize)) -> (String, usize) {
    let mut characters = text.chars();
    let (mut restored, mut read, mut offset) = (String::new(), 0, None);
    for part in on_line.iter().filter(|part| part.column > hidden) {
        let start = part.column - hidden - 1;
        while read < start {
            let Some(character) = characters.next() else { break };
            offset = offset.or((read + 1 == column).then_some(restored.len()));
            restored.push(character);
            read += 1;
        }
        if read < start {
            break;
        }
        offset = offset.or((start < column && column <= start + part.length).then_some(restored.len()));
        characters.by_ref().take(part.length).for_each(drop);
        read += part.length;
        restored.push_str(&part.placeholder);
    }
    for character in characters {
        offset = offset.or((read + 1 == column).then_some(restored.len()));
        restored.push(character);
        read += 1;
    }
    let end = restored.len();
    (restored, offset.unwrap_or(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fault::Excerpt, secret::Secret, settings::Placeholder};

    fn placeholders() -> Placeholders {
        let placeholder = |name: &str, value: &str, visibility| Placeholder {
            name: name.to_owned(),
            value: Secret::new(value),
            visibility,
        };
        Placeholders::new(vec![
            placeholder("long", "a_very_long_schema", Visibility::Public),
            placeholder("empty", "", Visibility::Public),
            placeholder("password", "pässword", Visibility::Hidden),
        ])
    }

    fn filled(text: &str) -> (String, Replacements) {
        let filling = Filling {
            file: "V1__a.sql",
            path: Path::new("/nowhere/V1__a.sql"),
            layout: Layout::by_name("flyway").unwrap(),
            placeholders: &placeholders(),
        };
        let (bytes, replacements) = filling.fill_in(text.as_bytes().to_vec()).unwrap();
        (String::from_utf8(bytes).unwrap(), replacements)
    }

    /// Returns the place in the file of the first occurrence of a word in the filled-in text.
    fn place_of(text: &str, word: &str) -> (usize, usize, String) {
        let (filled, replacements) = filled(text);
        let source = SqlSource::of_file("V1__a.sql", &filled);
        let place = replacements.restore_place(source.place_at_byte(filled.find(word).unwrap()));
        (place.line.unwrap(), place.column.unwrap(), place.excerpt.unwrap().render())
    }

    #[test]
    fn positions_are_those_of_the_file() {
        let text = "select 1;\ncreate table ${long}.${empty}t (ö int), '${password}', oops;\nselect ${long};\n";
        let line = "create table ${long}.${empty}t (ö int), '${password}', oops;";
        for word in ["oops", "t (", "create", "', oops", "select a_very"] {
            let (line_number, column, excerpt) = place_of(text, word);
            let in_file = text.find(word.split(" a_very").next().unwrap()).unwrap();
            if word.starts_with("select") {
                assert_eq!((line_number, column), (3, 1));
                continue;
            }
            let before = text.get(..in_file).unwrap().rsplit('\n').next().unwrap();
            assert_eq!((line_number, column), (2, before.chars().count() + 1), "{word}");
            assert_eq!(excerpt, format!("{line}\n{}^", " ".repeat(column - 1)), "{word}");
        }
        for (word, column) in [("very_long", 14), ("pässword", 42), ("word", 42)] {
            assert_eq!(place_of(text, word).1, column, "{word}");
        }
    }

    #[test]
    fn other_lines_and_files_without_placeholders_keep_their_places() {
        let (text, replacements) = filled("select '${long}';\nselect x;\n");
        let place = SqlSource::of_file("V1__a.sql", &text).place_at_byte(text.find('x').unwrap());
        assert_eq!(replacements.restore_place(place.clone()), place);
        assert!(filled("select 1;").1.is_empty());
        let cut = FilePosition { excerpt: Some(Excerpt::new("x", 1)), ..place };
        assert_eq!(Replacements::default().restore_place(cut.clone()), cut);
    }

    #[test]
    fn a_digest_covers_public_values_and_no_hidden_ones() {
        let (_, replacements) = filled("${long} ${password}");
        assert_eq!(replacements.identity()[1..], ["long=a_very_long_schema", "password"]);
    }
}
