//! Finds the session objects of a file without a transaction, and which of them a resumed run can restore.

use super::{
    execution::{Again, Lost, Piece, Statement, StatementKind},
    location::Source,
    session_objects::{self, Kept, MadeOf},
    span::Span,
    split::{Raw, split},
};

/// Marks the statements that a resumed run must repeat. Returns the objects that it could not restore: they were filled
/// later, or their rows came from data that the file has changed since.
pub(crate) fn keep(text: &str, units: &mut [Statement]) -> Vec<Lost> {
    let mut lost = Vec::new();
    // Backwards: an object that is built from another one needs that one for as long as it is needed itself.
    for at in (0..units.len()).rev() {
        let (again, gone) = needed(text, units, at);
        lost.extend(gone);
        if let Some(unit) = units.get_mut(at) {
            unit.again.extend(again);
        }
    }
    lost.reverse();
    lost
}

fn needed(text: &str, units: &[Statement], at: usize) -> (Vec<Again>, Vec<Lost>) {
    let (mut again, mut lost) = (Vec::new(), Vec::new());
    let (Some(unit), Some(rest)) = (units.get(at), units.get(at + 1..)) else { return (again, lost) };
    for (span, kept) in made(text, unit) {
        let uses: Vec<(usize, &Statement)> = (at + 2..)
            .zip(rest)
            .filter(|(_, later)| session_objects::mentions(later.span.of(text), &kept.name))
            .collect();
        let ends = |(number, later): &(usize, &Statement)| {
            let its_own = later.again.iter().map(|again| again.until.unwrap_or(usize::MAX)).max();
            its_own.unwrap_or_default().max(*number)
        };
        let Some(until) = uses.iter().map(ends).max() else { continue };
        again.push(Again { span, until: Some(until) });
        let reads = |(_, later): &&(usize, &Statement)| !session_objects::gives_up(later.span.of(text));
        let Some((number, used)) = uses.iter().rfind(reads) else { continue };
        let mut between = rest.iter().take(number - at - 2);
        let changed = unit.pieces != [Piece::Sql(span)] || between.any(|unit| changes_data(text, unit));
        if kept.made_of == MadeOf::Rows && changed {
            lost.push(Lost { name: kept.name, made: span, used: used.span });
        }
    }
    (again, lost)
}

/// Finds the session objects that each statement of the unit creates.
fn made(text: &str, unit: &Statement) -> Vec<(Span, Kept)> {
    let spans = unit.pieces.iter().filter_map(|piece| match piece {
        Piece::Sql(span) => Some(*span),
        Piece::Copy { .. } => None,
    });
    let source = |span: Span| Source { file: "", text: span.of(text) };
    let cut = |span: Span| {
        let script = split(source(span)).unwrap_or_default();
        let moved = move |raw: Raw| Span { start: span.start + raw.span.start, end: span.start + raw.span.end };
        script.statements.into_iter().map(moved)
    };
    spans.flat_map(cut).filter_map(|span| Some((span, session_objects::kept(span.of(text))?))).collect()
}

/// Reports whether later statements may read other data after this unit. Creating a session object changes no data.
fn changes_data(text: &str, unit: &Statement) -> bool {
    match unit.kind {
        StatementKind::Opaque => true,
        StatementKind::Transactional => session_objects::kept(unit.span.of(text)).is_none(),
        StatementKind::Session
        | StatementKind::CreateIndex { .. }
        | StatementKind::DropIndex { .. }
        | StatementKind::Repeatable => false,
    }
}
