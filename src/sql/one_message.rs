//! Files that are sent in one message without a transaction around it.

use super::{
    execution::{Execution, SqlChunk, Statement, StatementKind},
    span::Span,
    transaction_mode::{ClassifiedFile, Decision, OwnTransactions},
    transaction_options::TransactionModes,
};

/// Decides to send a file in one message without a transaction around it, as this tool sends it; `None` if a
/// transaction would be left open, or rows of a COPY can't be part of the message.
pub(crate) fn one_message_decision(file: &ClassifiedFile<'_>, tool: &str) -> Option<Decision> {
    let has_rows = file.statements.iter().any(|statement| statement.raw.data.is_some());
    if has_rows || !OwnTransactions::find_blocks(file.statements).unpaired.is_empty() {
        return None;
    }
    let span = Span { start: 0, end: file.length };
    let statement = Statement {
        span,
        kind: StatementKind::Opaque,
        chunks: vec![SqlChunk::Query(span)],
        modes: TransactionModes::default(),
        session_setup: Vec::new(),
    };
    let why = format!("it begins or ends transactions itself, so it is sent in one message, as {tool} sends it");
    Some(Decision {
        execution: Execution::PerStatement { statements: vec![statement], lost: Vec::new(), why },
        modes: TransactionModes::default(),
        replaced: Vec::new(),
        note: None,
    })
}
