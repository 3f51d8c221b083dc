//! Finds the session objects of a file without a transaction, and which of them a resumed run can restore.

use super::{
    execution::{SessionSetup, SqlChunk, Statement, StatementKind, UnrecoverableObject},
    location::SqlSource,
    session_objects::{self, MadeOf, SessionObject},
    span::Span,
    split::{RawStatement, split_statements},
};

/// Marks the statements that a resumed run must repeat. Returns the objects that it could not restore: they were filled
/// later, or their rows came from data that the file has changed since.
pub(crate) fn mark_session_setup(text: &str, statements: &mut [Statement]) -> Vec<UnrecoverableObject> {
    let mut lost = Vec::new();
    // Backwards: an object that is built from another one needs that one for as long as it is needed itself.
    for index in (0..statements.len()).rev() {
        let (setup, unrecoverable) = setup_needed_after(text, statements, index);
        lost.extend(unrecoverable);
        if let Some(statement) = statements.get_mut(index) {
            statement.session_setup.extend(setup);
        }
    }
    lost.reverse();
    lost
}

fn setup_needed_after(
    text: &str,
    statements: &[Statement],
    index: usize,
) -> (Vec<SessionSetup>, Vec<UnrecoverableObject>) {
    let (mut setup, mut lost) = (Vec::new(), Vec::new());
    let (Some(creator), Some(rest)) = (statements.get(index), statements.get(index + 1..)) else {
        return (setup, lost);
    };
    for (span, object) in objects_created_by(text, creator) {
        let uses: Vec<(usize, &Statement)> = (index + 2..)
            .zip(rest)
            .filter(|(_, later_statement)| {
                session_objects::mentions_name(later_statement.span.slice_of(text), &object.name)
            })
            .collect();
        let last_use = |(number, later_statement): &(usize, &Statement)| {
            let last_needed =
                later_statement.session_setup.iter().map(|setup| setup.needed_until.unwrap_or(usize::MAX)).max();
            last_needed.unwrap_or_default().max(*number)
        };
        let Some(needed_until) = uses.iter().map(last_use).max() else { continue };
        setup.push(SessionSetup { span, needed_until: Some(needed_until) });
        let is_read = |(_, later_statement): &&(usize, &Statement)| {
            !session_objects::only_discards(later_statement.span.slice_of(text))
        };
        let Some((number, used)) = uses.iter().rfind(is_read) else { continue };
        let mut statements_between = rest.iter().take(number - index - 2);
        let changed = creator.chunks != [SqlChunk::Query(span)]
            || statements_between.any(|statement| changes_data(text, statement));
        if object.made_of == MadeOf::Rows && changed {
            lost.push(UnrecoverableObject { name: object.name, created: span, last_used: used.span });
        }
    }
    (setup, lost)
}

/// Finds the session objects that each statement of the unit creates.
fn objects_created_by(text: &str, statement: &Statement) -> Vec<(Span, SessionObject)> {
    let spans = statement.chunks.iter().filter_map(|chunk| match chunk {
        SqlChunk::Query(span) => Some(*span),
        SqlChunk::Copy { .. } => None,
    });
    let source = |span: Span| SqlSource::of_file("", span.slice_of(text));
    let cut = |span: Span| {
        let script = split_statements(source(span)).unwrap_or_default();
        let shifted =
            move |raw: RawStatement| Span { start: span.start + raw.span.start, end: span.start + raw.span.end };
        script.statements.into_iter().map(shifted)
    };
    spans
        .flat_map(cut)
        .filter_map(|span| Some((span, session_objects::object_created_by(span.slice_of(text))?)))
        .collect()
}

/// Reports whether later statements may read other data after this unit. Creating a session object changes no data.
fn changes_data(text: &str, statement: &Statement) -> bool {
    match statement.kind {
        StatementKind::Opaque => true,
        StatementKind::Transactional => session_objects::object_created_by(statement.span.slice_of(text)).is_none(),
        StatementKind::Session
        | StatementKind::CreateIndex { .. }
        | StatementKind::DropIndex { .. }
        | StatementKind::Repeatable => false,
    }
}
