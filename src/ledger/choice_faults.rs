//! The faults of a choice that would lead to a wrong ledger.

use super::{Ledger, catalog::CatalogTable};
use crate::{
    fault::{Code, Fault},
    layout::{Application, Layout, SourceTool, Table},
};

pub(super) fn ledger_moved_fault(existing: &Table, expected: &Table) -> Fault {
    Fault::new(
        Code::LedgerElsewhere,
        format!("there is no ledger `{expected}`, and there is one at `{existing}`: a new one would count everything as not applied"),
    )
    .fix(format!(
        "set `ledger-table: {existing}` to go on with that one, or `ledger-table: {expected}` if these files were never applied here"
    ))
}

pub(super) fn list_names(layouts: &[Layout]) -> String {
    layouts.iter().map(|layout| layout.name()).collect::<Vec<_>>().join(" or ")
}

/// Returns the fault for a table that is not the ledger for which it was taken.
pub(super) fn wrong_shape_fault(layout: Layout, found: &CatalogTable) -> Fault {
    let cause = format!(
        "the table `{}` is not a ledger of the layout `{}`: it has the columns {}",
        found.table,
        layout.name(),
        found.columns.join(", ")
    );
    Fault::new(Code::LedgerShape, cause)
}

pub(super) fn ambiguous_application_fault(layouts: &[Layout], application: &Application) -> Fault {
    let name = |layout: &Layout| format!("`{}`", layout.name());
    let tool = application.layout.name();
    let others: Vec<String> = layouts
        .iter()
        .filter(|layout| **layout != application.layout)
        .map(|layout| format!("`layout: {}`", layout.name()))
        .collect();
    let cause = format!(
        "the files fit the layouts {}, the database has a ledger of none of them, and `{}` shows that an application uses {tool}",
        layouts.iter().map(name).collect::<Vec<_>>().join(" and "),
        application.file,
    );
    Fault::new(Code::LayoutAmbiguous, cause).fix(format!(
        "set `layout: {tool}` if the application applies these files, too, or {} if only this step does",
        others.join(" or ")
    ))
}

pub(super) fn ambiguous_files_fault(layouts: &[Layout]) -> Fault {
    let names: Vec<String> = layouts.iter().map(|layout| format!("`{}`", layout.name())).collect();
    let inputs: Vec<String> = layouts.iter().map(|layout| format!("`layout: {}`", layout.name())).collect();
    let cause = format!(
        "the files fit the layouts {}, the database has a ledger of none of them, and no configuration of such a tool was found",
        names.join(" and ")
    );
    Fault::new(Code::LayoutAmbiguous, cause).fix(format!("set {}", inputs.join(" or ")))
}

/// Returns the fault for two ledgers with rows, each of which the files fit.
#[must_use]
pub fn two_ledgers_fault(ledger: &Ledger, other: Layout, other_table: &Table) -> Fault {
    let (name, other_name) = (ledger.layout.name(), other.name());
    let cause = format!(
        "the files fit two ledgers that have rows, `{}` of {name} and `{other_table}` of {other_name}",
        ledger.table
    );
    Fault::new(Code::LayoutAmbiguous, cause).fix(format!(
        "set `layout: {name}` and `ledger-table: {}`, or `layout: {other_name}` and `ledger-table: {other_table}`",
        ledger.table
    ))
}

/// Returns the fault for an empty ledger in a database where another ledger has rows.
#[must_use]
pub fn refuse_foreign(ledger: &Ledger, tool: &str, foreign_table: &Table) -> Fault {
    let own_table = &ledger.table;
    let fault = Fault::new(
        Code::LedgerForeign,
        format!(
            "the ledger `{own_table}` has no rows, and `{foreign_table}`, the ledger of {tool}, has some: the objects that these files create may exist already"
        ),
    );
    let layout_of_tool = if tool == "bastion-migrate" { Some(Layout::default()) } else { Layout::by_name(tool) };
    let go_on = match layout_of_tool {
        Some(layout) => {
            format!("set `layout: {}` and `ledger-table: {foreign_table}` to go on with that ledger", layout.name())
        }
        None => format!("go on with {tool} if it is what applies these files"),
    };
    let take_over = match SourceTool::by_name(tool).filter(|_| ledger.layout == Layout::default()) {
        Some(_) => format!(
            "; if it has applied these files and is no longer used, run `command: baseline` with `from: {tool} {foreign_table}`, which \
             records what it has"
        ),
        None => String::new(),
    };
    fault.fix(format!(
        "{go_on}{take_over}; if that ledger belongs to other migrations than these, set `layout: {}` and `ledger-table: {own_table}`",
        ledger.layout.name()
    ))
}
