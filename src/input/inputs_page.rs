//! The table of `docs/inputs.md`, for the tests that hold it against the program.

pub(super) const INPUTS_PAGE: &str = include_str!("../../docs/inputs.md");

/// A row of the table.
pub(super) struct InputRow {
    pub(super) name: &'static str,
    /// The environment variables below the name.
    pub(super) variables: Vec<&'static str>,
    pub(super) kind: &'static str,
    pub(super) default: &'static str,
    /// Where the input has an effect, as written.
    pub(super) scope: &'static str,
}

/// Returns the rows of all groups, in their order.
pub(super) fn input_rows() -> Vec<InputRow> {
    let section = INPUTS_PAGE.split("\n## ").find(|section| section.starts_with("Inputs\n")).expect("there is a table");
    section.lines().filter(|line| line.starts_with("| `")).map(input_row).collect()
}

fn input_row(line: &'static str) -> InputRow {
    let mut cells = line.split('|').skip(1).map(str::trim);
    let mut cell = || cells.next().expect("a row has a cell for each column");
    let mut names = cell().split("<br>").map(without_backticks);
    let name = names.next().expect("the first cell has a name");
    let (kind, default, _example, scope) = (cell(), without_backticks(cell()), cell(), cell());
    InputRow { name, variables: names.collect(), kind, default, scope }
}

fn without_backticks(cell: &'static str) -> &'static str {
    cell.trim_matches('`')
}
