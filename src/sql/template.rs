//! Placeholders of other programs, which the server can't parse.

/// A notation for placeholders: its delimiters and the programs that use it.
struct PlaceholderSyntax {
    opening: &'static str,
    closing: &'static str,
    program: &'static str,
}

const PLACEHOLDER_SYNTAXES: [PlaceholderSyntax; 7] = [
    PlaceholderSyntax { opening: "${", closing: "}", program: "Flyway, envsubst or a shell" },
    PlaceholderSyntax { opening: "$(", closing: ")", program: "sqlcmd or a shell" },
    PlaceholderSyntax { opening: "#{", closing: "}", program: "Ruby" },
    PlaceholderSyntax { opening: "{{", closing: "}}", program: "dbt, Jinja or Go's templates" },
    PlaceholderSyntax { opening: "{%", closing: "%}", program: "dbt or Jinja" },
    PlaceholderSyntax { opening: "<%", closing: "%>", program: "ERB" },
    PlaceholderSyntax { opening: "{", closing: "}", program: "a program that formats the text" },
];

/// Returns the fix if the text that the server can't parse, at this byte, is a placeholder.
pub(crate) fn placeholder_fix(text: &str, byte: usize) -> Option<String> {
    let (placeholder, program) = find_placeholder(text, byte)?;
    Some(format!(
        "`{placeholder}` is a placeholder of {program}, and files are sent unchanged: write the value itself in its place, or \
         fill in the files in a step before this one"
    ))
}

fn find_placeholder(text: &str, byte: usize) -> Option<(&str, &'static str)> {
    let line = text.get(byte..)?.lines().next()?;
    if let Some(variable) = psql_variable(line).filter(|_| !text.get(..byte).is_some_and(|text| text.ends_with(':'))) {
        return Some((variable, "psql, SQLAlchemy or Yii"));
    }
    // The server reads `a_$` as a name, and then can't parse `{`.
    let starts = [byte.checked_sub(1), Some(byte)].into_iter().flatten();
    let lines = starts.filter_map(|start| text.get(start..)?.lines().next());
    lines.into_iter().find_map(|rest| {
        PLACEHOLDER_SYNTAXES.iter().find_map(|kind| {
            let inside = rest.strip_prefix(kind.opening)?;
            let end = inside.find(kind.closing)? + kind.opening.len() + kind.closing.len();
            Some((rest.get(..end)?, kind.program))
        })
    })
}

/// Returns the `:name`, `:'name'` or `:"name"` at the start of the line.
fn psql_variable(line: &str) -> Option<&str> {
    let name = line.strip_prefix(':')?;
    let quote = name.chars().next().filter(|character| matches!(character, '\'' | '"'));
    let name = quote.map_or(name, |quote| name.strip_prefix(quote).unwrap_or(name));
    let length = name.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(name.len());
    let quotes = match quote {
        Some(quote) if name.get(length..)?.starts_with(quote) => 2,
        Some(_) => return None,
        None => 0,
    };
    line.get(..1 + length + quotes).filter(|_| length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the placeholder found at the sign `‸`, and the programs that use it.
    fn placeholder_at(marked: &str) -> Option<(String, &'static str)> {
        let byte = marked.find('‸').unwrap();
        let text = marked.replace('‸', "");
        find_placeholder(&text, byte).map(|(placeholder, program)| (placeholder.to_owned(), program))
    }

    #[test]
    fn names_the_placeholder_and_its_program() {
        for (marked, placeholder, program) in [
            ("create table ‸${schema}.t (i int);", "${schema}", "Flyway, envsubst or a shell"),
            ("create table a_$‸{env} (i int);", "${env}", "Flyway, envsubst or a shell"),
            ("select * from ‸{{ ref('a') }};\n}}", "{{ ref('a') }}", "dbt, Jinja or Go's templates"),
            ("grant all on t to ‸:role;", ":role", "psql, SQLAlchemy or Yii"),
            ("select ‸:'größe';", ":'größe'", "psql, SQLAlchemy or Yii"),
            ("use ‸$(DB)", "$(DB)", "sqlcmd or a shell"),
            ("‸<%= name %>", "<%= name %>", "ERB"),
            ("drop table ‸{table}", "{table}", "a program that formats the text"),
        ] {
            assert_eq!(placeholder_at(marked), Some((placeholder.to_owned(), program)), "{marked}");
        }
    }

    #[test]
    fn ignores_text_that_is_not_a_placeholder() {
        for marked in
            ["select a :‸: 5", "select ‸:", "select ‸:'a", "select ‸oops", "select ‸{", "select ‸", "selec‸t ä"]
        {
            assert_eq!(placeholder_at(marked), None, "{marked}");
        }
    }
}
