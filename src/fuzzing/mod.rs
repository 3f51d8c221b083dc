//! Properties that hold for any input. `make fuzz` generates inputs and looks for one that violates them; the kept
//! inputs (`tests/fuzz/corpus`) are replayed by a test here. Properties of private items are asserted in their modules.

mod listings;
mod redactor;
mod url;

use crate::{github, postgres, proxy, sql, ssh};

/// A fuzz target: panics if a property does not hold for these bytes.
pub type FuzzTarget = fn(&[u8]);

/// All targets by name; the program and the corpus have the same name.
pub const TARGETS: [(&str, FuzzTarget); 10] = [
    ("splitter", splitter),
    ("classifier", classifier),
    ("redactor", redactor),
    ("backend", backend),
    ("startup", startup),
    ("url", url),
    ("known_hosts", known_hosts),
    ("listings", listings),
    ("commands", commands),
    ("outputs", outputs),
];

/// Splits a SQL text into its statements.
pub fn splitter(bytes: &[u8]) {
    as_sql_text(bytes).into_iter().for_each(sql::fuzzing::check_split);
}

/// Classifies each statement of a SQL text.
pub fn classifier(bytes: &[u8]) {
    as_sql_text(bytes).into_iter().for_each(sql::fuzzing::check_classification);
}

/// Redacts a text that contains two secrets.
pub fn redactor(bytes: &[u8]) {
    if let [one, other, pieces @ ..] = split_texts(bytes).as_slice() {
        redactor::check_redaction(one, other, pieces);
    }
}

/// Passes a server's bytes through the proxy's recorder and through the message filter, in chunks.
pub fn backend(bytes: &[u8]) {
    if let Some((pieces, bytes)) = bytes.split_first_chunk::<4>() {
        proxy::fuzzing::check_pass_through(bytes, pieces);
        postgres::fuzzing::check_filter(bytes, pieces);
    }
}

/// Parses a client's first packet, and writes packets from texts.
pub fn startup(bytes: &[u8]) {
    proxy::fuzzing::check_first_packet(bytes);
    proxy::fuzzing::check_written_packets(&split_texts(bytes));
}

/// Parses a database URL, and URLs composed of parts.
pub fn url(bytes: &[u8]) {
    let texts = split_texts(bytes);
    texts.iter().for_each(|text| url::check_masking(text));
    if let [user, before, after, rest, ..] = texts.as_slice() {
        url::check_password_hidden(user, before, after, rest);
        url::check_round_trip(user, before, after);
    }
}

/// Checks a server's name and port against a `known_hosts` file, and the bytes as its certificate.
pub fn known_hosts(bytes: &[u8]) {
    ssh::fuzzing::check_host_certificate(bytes);
    if let Some((port, rest)) = bytes.split_first_chunk::<2>()
        && let [host, lines, ..] = split_texts(rest).as_slice()
    {
        ssh::fuzzing::check_host_key_pins(lines, host, u16::from_be_bytes(*port).max(1));
    }
}

/// Parses a tool's output, the rows of its ledger, and a recipe.
pub fn listings(bytes: &[u8]) {
    if let Some((code, rest)) = bytes.split_first()
        && let [output, rows, recipe, ..] = split_texts(rest).as_slice()
    {
        listings::check_listings(i64::from(*code), output, rows);
        listings::check_recipe(recipe, output);
    }
}

/// Writes workflow commands with a file name, a title and a message.
pub fn commands(bytes: &[u8]) {
    if let [file, title, message, ..] = split_texts(bytes).as_slice() {
        github::fuzzing::write_commands(file, title, message);
    }
}

/// Writes outputs: the first text holds the delimiters to draw, one per line, the others are the values.
pub fn outputs(bytes: &[u8]) {
    if let [delimiters, values @ ..] = split_texts(bytes).as_slice() {
        let delimiters: Vec<String> = delimiters.split('\n').map(str::to_owned).collect();
        github::fuzzing::write_outputs(values, &delimiters);
    }
}

/// Returns the bytes as the text of a SQL file: UTF-8 without NUL and without a byte order mark, which is removed
/// before.
fn as_sql_text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0') && !text.starts_with('\u{feff}'))
}

/// Splits the bytes into texts at 0xff, which occurs in no text.
fn split_texts(bytes: &[u8]) -> Vec<String> {
    bytes.split(|byte| *byte == 0xff).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    #[test]
    fn the_properties_hold_for_all_kept_inputs() {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
        for (name, target) in TARGETS {
            let corpus = kept.join(name);
            let inputs = fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
            let paths: Vec<_> = inputs.map(|entry| entry.unwrap().path()).collect();
            assert!(!paths.is_empty(), "{name} has no corpus");
            for path in paths {
                eprintln!("{}", path.display());
                target(&fs::read(path).unwrap());
            }
        }
    }

    #[test]
    fn every_target_has_a_program_and_every_program_a_target() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/Cargo.toml");
        let manifest = fs::read_to_string(manifest).unwrap();
        let programs = manifest.split("[[bin]]\nname = \"").skip(1).filter_map(|rest| rest.split('"').next());
        assert_eq!(programs.collect::<Vec<_>>(), TARGETS.map(|(name, _)| name));
    }
}
