//! Markdown tables, aligned for reading as plain text.

/// A table with a head and rows.
#[derive(Debug)]
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    /// Creates a table with this head.
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self(vec![head.map(str::to_owned).to_vec()])
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.push(cells.into_iter().collect());
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        let columns = self.0.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.0
                .iter()
                .filter_map(move |row: &Vec<String>| row.get(column))
                .map(|cell: &String| cell.chars().count())
                .max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
        };
        let rule = widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|");
        let mut lines: Vec<String> = self.0.iter().map(line).collect();
        lines.insert(1, format!("|{rule}|"));
        println!("{}\n", lines.join("\n"));
    }
}

/// Prints a topic's title and how it is measured.
pub(crate) fn heading(title: &str, how: &str) {
    println!("## {title}\n\n{how}\n");
}
