//! Properties of every SQL text, for `make fuzz` and the tests. Each function panics if one does not hold.

use super::{
    lexer::{TokenKind, Tokens},
    location::SqlSource,
    span::Span,
    split::{SplitScript, split_statements},
    statement::classify_statement,
};

/// Splits a text and checks the result: the statements are in order and don't overlap, nothing significant is between
/// them, and each is one statement by itself.
///
/// # Panics
/// If the result is wrong.
pub(crate) fn check_split(text: &str) {
    let source = SqlSource::of_file("0001_a.sql", text);
    let script = match split_statements(source) {
        Ok(script) => script,
        Err(faults) => {
            let last = text.matches('\n').count() + 1;
            let lines: Vec<_> = faults.iter().map(|fault| fault.place.as_ref().and_then(|place| place.line)).collect();
            let inside = |line: &Option<usize>| line.is_some_and(|line| (1..=last).contains(&line));
            assert!(!lines.is_empty() && lines.iter().all(inside), "refused in lines {lines:?} of {last}");
            return;
        }
    };
    assert_nothing_left_out(text, &script);
    for raw in &script.statements {
        let statement = raw.span.slice_of(text);
        // The lexer skips it at the beginning; anywhere else it is a letter, as in PostgreSQL.
        if statement.starts_with('\u{feff}') {
            return;
        }
        let second = split_statements(SqlSource { text: statement, ..source }).unwrap_or_default();
        let spans: Vec<Span> = second.statements.iter().map(|raw| raw.span).collect();
        assert_eq!(spans, [Span::whole(statement)], "{statement:?} by itself");
    }
    let (reassembled, texts) = (reassemble(text, &script), statement_texts(text, &script));
    let second = split_statements(SqlSource { text: &reassembled, ..source }).unwrap_or_default();
    assert_eq!(statement_texts(&reassembled, &second), texts, "written again: {reassembled:?}");
}

/// Returns each statement with its rows, without the line break after the last one.
fn statement_texts<'a>(text: &'a str, script: &SplitScript) -> Vec<(&'a str, Option<&'a str>)> {
    let rows = |data: Span| data.slice_of(text).trim_end_matches(['\n', '\r']);
    script.statements.iter().map(|raw| (raw.span.slice_of(text), raw.data.map(rows))).collect()
}

/// Returns a text with the same statements and rows, a line each.
fn reassemble(text: &str, script: &SplitScript) -> String {
    let mut reassembled = String::new();
    let texts = statement_texts(text, script);
    for (index, (statement, rows)) in (1..).zip(&texts) {
        reassembled.push_str(statement);
        reassembled.push('\n');
        // The last statement may be incomplete.
        if let Some(rows) = rows.filter(|rows| !rows.is_empty() || index < texts.len()) {
            reassembled.push_str(rows);
            reassembled.push_str("\n\\.\n");
        }
    }
    reassembled
}

/// Asserts that nothing significant is between the statements.
fn assert_nothing_left_out(text: &str, script: &SplitScript) {
    let mut spans: Vec<(Span, Option<Span>)> = script.statements.iter().map(|raw| (raw.span, raw.data)).collect();
    spans.extend(script.ignored.iter().map(|span| (*span, None)));
    spans.sort_by_key(|(span, _)| span.start);
    let mut position = 0;
    for (span, data) in spans {
        assert!(
            is_nothing(text_between(text, position, span.start)),
            "{:?} is left out",
            text.get(position..span.start)
        );
        assert!(!text_between(text, span.start, span.end).is_empty(), "an empty statement at {position}");
        position = span.end;
        if let Some(data) = data {
            let line = text_between(text, position, data.start);
            assert!(is_nothing(line), "{line:?} before the rows");
            assert!(!text_between(text, data.start, data.end).lines().any(|line| line == "\\."), "the rows go on");
            let rest = text.get(data.end..).unwrap_or_default();
            position = data.end + rest.strip_prefix("\\.").map_or(0, |_| rest.find('\n').unwrap_or(rest.len()));
        }
    }
    assert!(is_nothing(text_between(text, position, text.len())), "{:?} is left out", text.get(position..));
}

fn text_between(text: &str, start: usize, end: usize) -> &str {
    text.get(start..end).unwrap_or_else(|| panic!("{start}..{end} is no stretch of {} bytes", text.len()))
}

/// Reports whether PostgreSQL skips all of this: blanks, comments (`scan.l`) and semicolons.
fn is_nothing(text: &str) -> bool {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c', ';']);
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.find(['\n', '\r']).and_then(|end| comment.get(end..)).unwrap_or_default();
        } else if rest.starts_with("/*") {
            let Some(after) = after_comment(rest) else { return false };
            rest = after;
        } else {
            return rest.is_empty();
        }
    }
}

/// Returns the text after the comment that begins here; comments nest.
fn after_comment(text: &str) -> Option<&str> {
    let (mut rest, mut depth) = (text, 0_usize);
    loop {
        if let Some(inner) = rest.strip_prefix("/*") {
            (rest, depth) = (inner, depth + 1);
        } else if let Some(outer) = rest.strip_prefix("*/") {
            (rest, depth) = (outer, depth - 1);
            if depth == 0 {
                return Some(rest);
            }
        } else {
            let mut characters = rest.chars();
            characters.next()?;
            rest = characters.as_str();
        }
    }
}

/// Classifies each statement of a text and checks that blanks, comments, letter case and the semicolon don't change its
/// class.
///
/// # Panics
/// If they do.
pub(crate) fn check_classification(text: &str) {
    let script = split_statements(SqlSource::of_file("0001_a.sql", text)).unwrap_or_default();
    for statement in script.statements.iter().map(|raw| raw.span.slice_of(text)) {
        // As above.
        if statement.starts_with('\u{feff}') {
            return;
        }
        let class = classify_statement(statement);
        let variants = [
            rewrite_spacing(statement, " ", str::to_owned),
            rewrite_spacing(statement, "\t/* ; */--'\n\n", str::to_owned),
            rewrite_spacing(statement, "\n", str::to_ascii_uppercase),
            rewrite_spacing(statement, "\r\n", str::to_ascii_lowercase),
            statement.trim_end_matches(';').to_owned(),
            format!("-- x\n/* /* */ */ {statement} -- y"),
        ];
        for variants in variants {
            assert_eq!(classify_statement(&variants), class, "{variants:?} and {statement:?}");
        }
    }
}

/// Returns the statement with other blanks between its words, and with its words transformed.
fn rewrite_spacing(statement: &str, blank: &str, word: impl Fn(&str) -> String) -> String {
    let (mut rewritten, mut in_string, mut spacing) = (String::new(), false, String::new());
    for token in Tokens::new(statement) {
        let text = token.span.slice_of(statement);
        if !token.is_significant() {
            spacing.push_str(text);
            continue;
        }
        // A line break between two strings would join them.
        rewritten.push_str(if spacing.is_empty() || in_string { &spacing } else { blank });
        spacing.clear();
        in_string = matches!(token.kind, TokenKind::Literal { .. });
        rewritten.push_str(&if token.kind == TokenKind::Ident { word(text) } else { text.to_owned() });
    }
    rewritten
}
