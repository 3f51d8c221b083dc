//! SQL text: its tokens, its statements and their effect on a transaction. Touches no file and no database.

mod classified_statement;
mod directive;
mod execution;
mod file_check;
mod file_parser;
mod form;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod identifier;
mod lasting_settings;
mod lexer;
mod location;
mod one_message;
mod options;
mod path_reset;
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
mod word_search;

pub use execution::{Execution, SqlChunk, Statement, StatementKind, UnrecoverableObject};
pub use file_check::{CheckMoment, FileCheck};
pub(crate) use file_parser::{Detail, FileDecision, FileParser, FilePart, FileRules};
pub use form::statement_form;
pub use identifier::QualifiedName;
pub(crate) use identifier::fold_identifier;
pub(crate) use lexer::{TokenKind, Tokens};
pub(crate) use location::FilePlaces;
pub use location::{SqlSource, TextStart};
pub(crate) use phrase::{Part, Phrase};
pub(crate) use session_setup::mark_session_setup;
pub use span::Span;
pub(crate) use split::MoreText;
pub(crate) use statement::classify_statement;
pub(crate) use statement_class::StatementClass;
pub(crate) use transaction_mode::Decision;
pub use transaction_options::TransactionModes;
