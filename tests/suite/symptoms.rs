//! The pages for a run that failed: each text that they quote is one that the program can print, and each fault code is in
//! their index. `WRITE_INDEX=1 cargo test --test suite symptoms::` writes the index.

use bastion_migrate::fault::{Class, Code};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The section with texts of GitHub and its runner.
const FOREIGN_SECTION: &str = "Before the first line of the action";

/// Texts of GitHub and PostgreSQL elsewhere on the page, and the mask.
const FOREIGN: [&str; 5] = ["***", "syntax error at or near …", "Skip output … since it may contain secret", "#", "@"];

/// The distance within which the parts of a text stand in its source, with the code that fills in the values.
const REACH: usize = 500;

const MARK: &str = "<!-- Written out of the fault codes. -->\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A row of a table: what is seen, and the codes that the row links.
#[derive(Debug)]
struct Row {
    texts: Vec<String>,
    codes: Vec<String>,
}

fn rows(page: &str) -> Vec<Row> {
    let sections = page.split("\n## ").skip(1).filter(|section| !section.starts_with(FOREIGN_SECTION));
    let lines = sections.flat_map(str::lines).filter(|line| line.starts_with("| ") && !line.starts_with("| what"));
    lines
        .map(|line| {
            let cell = line.split(" | ").next().unwrap_or_default();
            let quoted = cell.split('`').skip(1).step_by(2);
            let texts =
                quoted.filter(|text| !FOREIGN.contains(text) && !text.starts_with('@')).map(str::to_owned).collect();
            let links = line.split("(errors.md#").skip(1).filter_map(|rest| rest.split(')').next());
            Row { texts, codes: links.map(str::to_owned).collect() }
        })
        .collect()
}

/// Returns the sources of messages as one line each, without backticks and without the breaks of long texts.
fn sources() -> Vec<(PathBuf, String)> {
    let (mut open, mut found) = (vec![root().join("src")], Vec::new());
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of sources can be read") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "yaml") {
                let text = fs::read_to_string(&path).expect("a source is UTF-8");
                let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().replace("\\\n", " ");
                let words: Vec<&str> = text.split_whitespace().collect();
                found.push((path, words.join(" ").replace(['`', '\\'], "")));
            }
        }
    }
    found
}

/// Returns whether the parts of a text stand in this source, one behind the other.
fn contains(source: &str, text: &str) -> bool {
    let mut parts = text.split('…').map(str::trim).filter(|part| !part.is_empty());
    let Some(first) = parts.next() else { return false };
    let rest: Vec<&str> = parts.collect();
    source.match_indices(first).any(|(at, _)| {
        let window: String = source.get(at + first.len()..).unwrap_or_default().chars().take(REACH).collect();
        let mut left = window.as_str();
        rest.iter().all(|part| match left.split_once(part) {
            Some((_, after)) => {
                left = after;
                true
            }
            None => false,
        })
    })
}

/// Returns what is wrong with a page: a text that no source has, or a code that does not exist.
fn mistakes(page: &str) -> Vec<String> {
    let sources = sources();
    let mut wrong = Vec::new();
    for row in rows(page) {
        let unknown = row.texts.iter().filter(|text| !sources.iter().any(|(_, source)| contains(source, text)));
        wrong.extend(unknown.map(|text| format!("the program never prints `{text}`")));
        let is_code = |name: &&String| Code::ALL.iter().any(|code| code.name() == name.as_str());
        wrong.extend(row.codes.iter().filter(|name| !is_code(name)).map(|name| format!("there is no code `{name}`")));
    }
    wrong
}

#[test]
fn every_symptom_is_a_text_that_the_program_prints() {
    let page = read("docs/troubleshooting.md");
    assert!(rows(&page).len() > 60, "{}", rows(&page).len());
    assert_eq!(mistakes(&page), [""; 0]);
}

#[test]
fn a_symptom_that_was_reworded_is_found() {
    let page = |cell: &str, code: &str| {
        format!("\n## Seen\n\n| what you see | cause |\n| {cell} | x ([c](errors.md#{code})) |\n")
    };
    assert_eq!(mistakes(&page("`… refuses the connection`", "bastion-refused")), [""; 0]);
    let reworded = mistakes(&page("`… denies the connection`", "bastion-refused"));
    assert_eq!(reworded, ["the program never prints `… denies the connection`"]);
    let swapped = mistakes(&page("`which shows … no key is pinned for`", "host-key-unpinned"));
    assert_eq!(swapped.len(), 1, "{swapped:?}");
    assert_eq!(mistakes(&page("`no database is given`", "input-mising")), ["there is no code `input-mising`"]);
}

/// These are the faults of somebody who sets it up for the first time.
#[test]
fn every_failure_to_connect_and_every_refused_input_has_a_symptom() {
    let page = read("docs/troubleshooting.md");
    let first = Code::ALL.iter().filter(|code| code.class() == Class::Connection || code.name().starts_with("input-"));
    let missing: Vec<&str> =
        first.map(|code| code.name()).filter(|name| !page.contains(&format!("(errors.md#{name})"))).collect();
    assert_eq!(missing, [""; 0]);
}

/// Returns a row for each code: where it happens, its exit code, the usual fix.
fn index() -> String {
    let row = |code: &Code| {
        let fix = code.fix().replace('|', "\\|");
        format!("| [{code}](#{code}) | {} | {} | {fix} |\n", code.class().exit_code(), code.stage().name())
    };
    let mut rows: Vec<String> = Code::ALL.iter().map(row).collect();
    rows.sort();
    format!("\n| code | exit | stage | usual fix |\n|---|---:|---|---|\n{}\n", rows.concat())
}

#[test]
fn the_index_of_fault_codes_matches_the_code() {
    let page = || {
        let text = read("docs/errors.md");
        let mut parts = text.splitn(3, MARK).map(str::to_owned);
        [(); 3].map(|()| parts.next().expect("the index stands between two marks"))
    };
    let [before, _, after] = page();
    #[expect(clippy::disallowed_methods, reason = "set by a developer who runs the test")]
    if env::var("WRITE_INDEX").is_ok() {
        fs::write(root().join("docs/errors.md"), [before, index(), after].join(MARK)).unwrap();
    }
    let [_, written, _] = page();
    assert_eq!(written, index(), "docs/errors.md is out of date; WRITE_INDEX=1 writes it");
}
