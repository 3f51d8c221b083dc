//! Our own splitter and classifier of statements, held against squawk's tree over all SQL of the repository: its files,
//! the blocks of its documents, and the strings of its tests and cases.

use super::tree::{SyntaxKind as Kind, SyntaxNode, has_child, has_within, plain_text};
use crate::sql::{
    MoreText, SqlSource, StatementClass, classify_statement,
    split::{SplitPart, split_part},
};
use squawk_syntax::SourceFile;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Words with which a text of SQL begins.
const FIRST_WORDS: [&str; 24] = [
    "alter", "analyze", "begin", "call", "cluster", "comment", "commit", "copy", "create", "delete", "do", "drop",
    "grant", "insert", "lock", "reindex", "rollback", "select", "set", "start", "truncate", "update", "vacuum", "with",
];

/// Parts of texts that are not SQL, on purpose.
const WRONG_ON_PURPOSE: [&str; 1] = ["create tabel"];

/// The relation of a statement to transactions and to the rows behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Begin,
    Commit,
    Rollback,
    CopyFromStdin,
    /// It can't run in a transaction.
    Alone,
    Other,
    /// Our classifier refuses it, whatever it is.
    Refused,
}

fn role_by_class(statement: &str) -> Role {
    match classify_statement(statement) {
        StatementClass::Begin(_) | StatementClass::TransactionControl("BEGIN" | "START TRANSACTION") => Role::Begin,
        StatementClass::Commit(_) | StatementClass::TransactionControl("COMMIT AND CHAIN") => Role::Commit,
        StatementClass::TransactionControl("ROLLBACK" | "ABORT") => Role::Rollback,
        StatementClass::CopyFromStdin => Role::CopyFromStdin,
        StatementClass::NonTransactional { .. } => Role::Alone,
        StatementClass::Refused { .. } => Role::Refused,
        _ => Role::Other,
    }
}

fn role_by_tree(node: &SyntaxNode) -> Role {
    let is_off = |option: &str| plain_text(node).replace(' ', "").contains(&format!("{option}=false"));
    match node.kind() {
        Kind::BEGIN => Role::Begin,
        Kind::COMMIT_TRANSACTION => Role::Commit,
        Kind::ROLLBACK_TRANSACTION => Role::Rollback,
        Kind::COPY if has_within(node, Kind::COPY_FROM) && has_within(node, Kind::COPY_STDIN) => Role::CopyFromStdin,
        Kind::CREATE_INDEX | Kind::DROP_INDEX if has_child(node, Kind::CONCURRENTLY_KW) => Role::Alone,
        Kind::REINDEX
            if has_within(node, Kind::CONCURRENTLY_KW)
                && !["false )", "off )", "0 )"].iter().any(|off| plain_text(node).contains(off))
                || has_within(node, Kind::REINDEX_TARGET_SCHEMA)
                || has_within(node, Kind::REINDEX_TARGET_DATABASE)
                || has_within(node, Kind::REINDEX_TARGET_SYSTEM) =>
        {
            Role::Alone
        }
        Kind::CLUSTER if !has_within(node, Kind::PATH_REF) => Role::Alone,
        Kind::ALTER_TABLE if has_within(node, Kind::DETACH_CONCURRENTLY) => Role::Alone,
        Kind::CREATE_SUBSCRIPTION if is_off("create_slot") || is_off("connect") => Role::Other,
        Kind::ALTER_DATABASE if has_within(node, Kind::SET_TABLESPACE) => Role::Alone,
        Kind::ALTER_SUBSCRIPTION if subscribes_anew(&plain_text(node)) => Role::Alone,
        Kind::ALTER_SYSTEM
        | Kind::COMMIT_PREPARED
        | Kind::CREATE_DATABASE
        | Kind::CREATE_SUBSCRIPTION
        | Kind::CREATE_TABLESPACE
        | Kind::DROP_DATABASE
        | Kind::DROP_TABLESPACE
        | Kind::ROLLBACK_PREPARED
        | Kind::VACUUM => Role::Alone,
        _ => Role::Other,
    }
}

/// Returns whether an ALTER SUBSCRIPTION connects to the other server (PostgreSQL manual, ALTER SUBSCRIPTION).
fn subscribes_anew(text: &str) -> bool {
    let is_publication = ["add", "drop", "set"].iter().any(|verb| text.contains(&format!("{verb} publication")));
    (is_publication && !text.contains("refresh = false"))
        || text.contains(" refresh publication")
        || text.ends_with(" refresh")
        || ["failover", "two_phase"].iter().any(|option| text.contains(&format!("set ( {option}")))
}

/// Returns the beginnings and the roles of the statements, as we split and classify them.
fn read_by_us(text: &str, split: &SplitPart) -> Vec<(usize, Role)> {
    let statements = split.script.statements.iter();
    statements.map(|raw| (raw.span.start, role_by_class(raw.span.slice_of(text)))).collect()
}

/// Returns the same as squawk's tree has it, or `None` if squawk does not understand the text.
fn read_by_squawk(text: &str) -> Option<Vec<(usize, Role)>> {
    let root = SourceFile::parse(text).syntax_node();
    if has_within(&root, Kind::ERROR) {
        return None;
    }
    let statements = root.children().filter(|node| node.kind() != Kind::EMPTY_STMT);
    Some(statements.map(|node| (u32::from(node.text_range().start()) as usize, role_by_tree(&node))).collect())
}

/// Returns the text with blanks in place of the rows behind each COPY, which squawk does not know.
fn without_rows(text: &str, split: &SplitPart) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for rows in split.script.statements.iter().filter_map(|raw| raw.data) {
        let end = text.get(rows.end..).and_then(|rest| rest.find('\n')).map_or(text.len(), |line| rows.end + line);
        bytes[rows.start..end].fill(b' ');
    }
    String::from_utf8(bytes).expect("whole rows were replaced")
}

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the directory is readable") {
        let path = entry.expect("the entry is readable").path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Returns the string literals of a Rust source, without their escapes.
fn strings_in_rust(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut characters = source.chars().peekable();
    let mut before = ' ';
    while let Some(character) = characters.next() {
        let is_raw = matches!(before, '#' | 'r');
        before = character;
        if character != '"' {
            continue;
        }
        let mut text = String::new();
        while let Some(character) = characters.next().filter(|character| *character != '"') {
            let escaped = if character == '\\' && !is_raw { characters.next() } else { None };
            match escaped {
                None => text.push(character),
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                // The white space behind a continued line.
                Some('\n') => while characters.next_if(|next| next.is_whitespace()).is_some() {},
                Some(other) => text.push(other),
            }
        }
        found.push(text);
    }
    found
}

fn strings_in_yaml(value: &serde_yaml::Value, found: &mut Vec<String>) {
    match value {
        serde_yaml::Value::String(text) => found.push(text.clone()),
        serde_yaml::Value::Sequence(values) => values.iter().for_each(|value| strings_in_yaml(value, found)),
        serde_yaml::Value::Mapping(entries) => entries.values().for_each(|value| strings_in_yaml(value, found)),
        _ => {}
    }
}

fn blocks_in_markdown(document: &str) -> Vec<String> {
    document.split("```sql").skip(1).filter_map(|block| block.split("```").next()).map(str::to_owned).collect()
}

/// The place of a text in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// A file of SQL, or a block of a document.
    File,
    /// A string of a Rust source or of a case, which may also be a message.
    String,
}

/// Returns all texts of the repository that begin like SQL, each once.
fn all_sql() -> BTreeSet<(String, Place)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for directory in ["tests", "examples", "docs", "src"] {
        files_below(&root.join(directory), &mut files);
    }
    let mut texts = Vec::new();
    let mut strings = Vec::new();
    for path in files {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        match path.extension().and_then(|extension| extension.to_str()) {
            // Parts of one query, none of which is a statement.
            Some("sql") if path.to_string_lossy().contains("schema/question") => {}
            Some("sql") => texts.push(text),
            Some("md") => texts.extend(blocks_in_markdown(&text)),
            Some("rs") => strings.extend(strings_in_rust(&text)),
            Some("yaml" | "yml") => {
                if let Ok(value) = serde_yaml::from_str(&text) {
                    strings_in_yaml(&value, &mut strings);
                }
            }
            _ => {}
        }
    }
    let begins_like_sql = |text: &String| {
        let code = text.lines().find(|line| !line.trim().is_empty() && !line.trim_start().starts_with("--"));
        let word = code.and_then(|line| line.split_whitespace().next()).unwrap_or_default().to_ascii_lowercase();
        FIRST_WORDS.contains(&word.trim_end_matches(';')) && code.is_some_and(|line| line.trim().contains([' ', ';']))
    };
    // A sign for what is left out marks a message.
    let texts = texts.into_iter().map(|text| (text, Place::File));
    let strings = strings.into_iter().map(|text| (text, Place::String));
    texts.chain(strings).filter(|(text, _)| begins_like_sql(text) && !text.contains('…')).collect()
}

#[test]
fn our_splitter_and_classifier_agree_with_squawk() {
    let (mut compared, mut statements, mut differences) = (0, 0, Vec::new());
    for (text, place) in all_sql() {
        let split = split_part(SqlSource::of_file("a.sql", &text), MoreText::Nothing);
        if !split.faults.is_empty() || super::nesting::is_too_deep(&text) {
            continue;
        }
        let Some(theirs) = read_by_squawk(&without_rows(&text, &split)) else {
            // A text with placeholders is SQL only when they are filled in.
            if place == Place::File
                && !text.contains(['{', '$'])
                && !WRONG_ON_PURPOSE.iter().any(|part| text.contains(part))
            {
                differences.push(format!("squawk does not understand {text}"));
            }
            continue;
        };
        let ours = read_by_us(&text, &split);
        compared += 1;
        statements += ours.len();
        let is_same = ours.len() == theirs.len()
            && ours
                .iter()
                .zip(&theirs)
                .all(|(our, their)| our.0 == their.0 && (our.1 == their.1 || our.1 == Role::Refused));
        if !is_same {
            differences.push(format!("{text}\n  ours   {ours:?}\n  squawk {theirs:?}"));
        }
    }
    assert!(compared > 500, "only {compared} texts with {statements} statements were compared");
    assert!(differences.is_empty(), "{} of {compared} differ:\n{}", differences.len(), differences.join("\n"));
}
