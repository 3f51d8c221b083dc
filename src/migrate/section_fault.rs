//! The fault of a mark or a template that can't be read.

use crate::{
    fault::{Code, Fault},
    layout::{SectionProblem, SectionProblemKind},
    sql::SqlSource,
};

/// Returns the fault at its place in the file.
pub(super) fn section_fault(source: SqlSource<'_>, problem: SectionProblem) -> Fault {
    let code = match problem.kind {
        SectionProblemKind::Marks => Code::FileMarks,
        SectionProblemKind::Template => Code::FileTemplate,
    };
    let fault = Fault::new(code, format!("`{}` {}", source.file, problem.cause)).fix(problem.fix);
    fault.in_file(source.place_at_byte(problem.at))
}
