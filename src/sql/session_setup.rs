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
pub(crate) fn mark_session_setup(text: &str, units: &mut [Statement]) -> Vec<UnrecoverableObject> {
    let mut lost = Vec::new();
    // Backwards: an object that is built from another one needs that one for as long as it is needed itself.
    for at in (0..units.len()).rev() {
        let (again, gone) = setup_needed_after(text, units, at);
        lost.extend(gone);
        if let Some(unit) = units.get_mut(at) {
            unit.session_setup.extend(again);
        }
    }
    lost.reverse();
    lost
}

fn setup_needed_after(text: &str, units: &[Statement], at: usize) -> (Vec<SessionSetup>, Vec<UnrecoverableObject>) {
    let (mut again, mut lost) = (Vec::new(), Vec::new());
    let (Some(unit), Some(rest)) = (units.get(at), units.get(at + 1..)) else { return (again, lost) };
    for (span, kept) in objects_created_by(text, unit) {
        let uses: Vec<(usize, &Statement)> = (at + 2..)
            .zip(rest)
            .filter(|(_, later)| session_objects::mentions_name(later.span.slice_of(text), &kept.name))
            .collect();
        let ends = |(number, later): &(usize, &Statement)| {
            let its_own = later.session_setup.iter().map(|again| again.needed_until.unwrap_or(usize::MAX)).max();
            its_own.unwrap_or_default().max(*number)
        };
        let Some(until) = uses.iter().map(ends).max() else { continue };
        again.push(SessionSetup { span, needed_until: Some(until) });
        let reads = |(_, later): &&(usize, &Statement)| !session_objects::only_discards(later.span.slice_of(text));
        let Some((number, used)) = uses.iter().rfind(reads) else { continue };
        let mut between = rest.iter().take(number - at - 2);
        let changed = unit.chunks != [SqlChunk::Query(span)] || between.any(|unit| changes_data(text, unit));
        if kept.made_of == MadeOf::Rows && changed {
            lost.push(UnrecoverableObject { name: kept.name, created: span, last_used: used.span });
        }
    }
    (again, lost)
}

/// Finds the session objects that each statement of the unit creates.
fn objects_created_by(text: &str, unit: &Statement) -> Vec<(Span, SessionObject)> {
    let spans = unit.chunks.iter().filter_map(|piece| match piece {
        SqlChunk::Query(span) => Some(*span),
        SqlChunk::Copy { .. } => None,
    });
    let source = |span: Span| SqlSource { file: "", text: span.slice_of(text) };
    let cut = |span: Span| {
        let script = split_statements(source(span)).unwrap_or_default();
        let moved =
            move |raw: RawStatement| Span { start: span.start + raw.span.start, end: span.start + raw.span.end };
        script.statements.into_iter().map(moved)
    };
    spans
        .flat_map(cut)
        .filter_map(|span| Some((span, session_objects::object_created_by(span.slice_of(text))?)))
        .collect()
}

/// Reports whether later statements may read other data after this unit. Creating a session object changes no data.
fn changes_data(text: &str, unit: &Statement) -> bool {
    match unit.kind {
        StatementKind::Opaque => true,
        StatementKind::Transactional => session_objects::object_created_by(unit.span.slice_of(text)).is_none(),
        StatementKind::Session
        | StatementKind::CreateIndex { .. }
        | StatementKind::DropIndex { .. }
        | StatementKind::Repeatable => false,
    }
}
