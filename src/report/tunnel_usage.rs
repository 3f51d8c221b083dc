//! Instructions for the following steps of a job: connecting to the database through a tunnel.

use super::{markdown::code_html, run_report::RunReport};

/// Returns a `psql` command for each address of the tunnel; empty for other commands.
pub(super) fn access_table(report: &RunReport) -> String {
    let (Some(tunnel), Some(database)) = (&report.tunnel, &report.database) else { return String::new() };
    let at = |host: &str, port: u16| {
        let role = quote_conninfo(&database.role);
        code_html(&format!("psql \"host={host} port={port} user={role} dbname={}\"", quote_conninfo(&database.name)))
    };
    let runner = format!("| on the runner | {} |\n", at(&tunnel.host, tunnel.port));
    let network = match tunnel.alias.as_str() {
        "" => String::new(),
        alias => format!("| in the job's network | {} |\n", at(alias, database.port)),
    };
    format!("### How to connect\n\n| A step | |\n|---|---|\n{runner}{network}\n")
}

/// Quotes a value of a connection string, if it needs quotes.
fn quote_conninfo(value: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-.@".contains(letter);
    match !value.is_empty() && value.chars().all(plain) {
        true => value.to_owned(),
        false => format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_only_values_that_psql_would_misread() {
        assert_eq!(
            ["shop", "two words", r"o'b\c", ""].map(quote_conninfo),
            ["shop", "'two words'", r"'o\'b\\c'", "''"]
        );
    }
}
