//! What a tool lists of its migrations.

/// How a tool's listing is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listing {
    /// `[X]  app.0001_initial` for what is applied and `[ ]  app.0002_more` for what is not, in the order of application
    /// (Django's `showmigrations --plan`).
    Checkboxes,
}

/// One migration in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As the tool names it.
    pub name: String,
    /// Whether the tool takes it for applied.
    pub applied: bool,
}

impl Listing {
    /// Reads the lines that the tool said; others may be among them.
    pub fn read<'a>(self, lines: impl Iterator<Item = &'a str>) -> Vec<Listed> {
        match self {
            Self::Checkboxes => lines.filter_map(checkbox).collect(),
        }
    }
}

fn checkbox(line: &str) -> Option<Listed> {
    let (applied, rest) = match (line.strip_prefix("[X]"), line.strip_prefix("[ ]")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return None,
    };
    // With more verbosity, what it depends on and when it was applied stand behind the name.
    let name = rest.split_whitespace().next()?;
    Some(Listed { name: name.to_owned(), applied })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_django_lists_and_nothing_around_it() {
        let said =
            "Loading .env\n[X]  auth.0001_initial\n[ ]  orders.0002_backfill ... (orders.0001_initial)\n[?] x\n[ ]\n";
        let listed = Listing::Checkboxes.read(said.lines());
        let shown: Vec<(&str, bool)> = listed.iter().map(|one| (one.name.as_str(), one.applied)).collect();
        assert_eq!(shown, [("auth.0001_initial", true), ("orders.0002_backfill", false)]);
    }
}
