//! SQL text: its tokens, its statements and their effect on a transaction. Touches no file and no database.

mod classified_statement;
pub(crate) mod directive;
mod execution;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod identifier;
mod lasting_settings;
mod lexer;
mod location;
mod options;
mod phrase;
mod refusal;
mod session_effects;
mod session_objects;
mod session_setup;
mod span;
pub(crate) mod split;
mod statement;
mod statement_class;
pub(crate) mod template;
mod transaction_mode;
mod transaction_options;

pub use execution::{Execution, SqlChunk, Statement, StatementKind, UnrecoverableObject};
pub use identifier::QualifiedName;
pub(crate) use lasting_settings::leaves_traces;
pub(crate) use lexer::Tokens;
pub use location::SqlSource;
pub(crate) use phrase::Phrase;
pub use span::Span;
pub(crate) use statement::classify_statement;
pub(crate) use statement_class::StatementClass;
pub(crate) use transaction_mode::decide_execution;
pub use transaction_options::TransactionModes;
