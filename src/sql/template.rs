//! A placeholder of another program, which the server can't parse.

/// A way to write a placeholder: how it begins and ends, and whose it is.
struct Kind {
    opening: &'static str,
    closing: &'static str,
    whose: &'static str,
}

const KINDS: [Kind; 7] = [
    Kind { opening: "${", closing: "}", whose: "Flyway, envsubst or a shell" },
    Kind { opening: "$(", closing: ")", whose: "sqlcmd or a shell" },
    Kind { opening: "#{", closing: "}", whose: "Ruby" },
    Kind { opening: "{{", closing: "}}", whose: "dbt, Jinja or Go's templates" },
    Kind { opening: "{%", closing: "%}", whose: "dbt or Jinja" },
    Kind { opening: "<%", closing: "%>", whose: "ERB" },
    Kind { opening: "{", closing: "}", whose: "a program that formats the text" },
];

/// Names the fix if what the server can't parse, at this byte of the text, is a placeholder.
pub(crate) fn fix(text: &str, byte: usize) -> Option<String> {
    let (placeholder, whose) = found(text, byte)?;
    Some(format!(
        "`{placeholder}` is a placeholder of {whose}, and files are sent as they are: write the value itself in its place, or \
         fill the files in by a step before this one"
    ))
}

fn found(text: &str, byte: usize) -> Option<(&str, &'static str)> {
    let line = text.get(byte..)?.lines().next()?;
    if let Some(variable) = psql_variable(line).filter(|_| !text.get(..byte).is_some_and(|text| text.ends_with(':'))) {
        return Some((variable, "psql, SQLAlchemy or Yii"));
    }
    // The server takes `a_$` for a name, and then can't parse `{`.
    let starts = [byte.checked_sub(1), Some(byte)].into_iter().flatten();
    let rests = starts.filter_map(|start| text.get(start..)?.lines().next());
    rests.into_iter().find_map(|rest| {
        KINDS.iter().find_map(|kind| {
            let inside = rest.strip_prefix(kind.opening)?;
            let end = inside.find(kind.closing)? + kind.opening.len() + kind.closing.len();
            Some((rest.get(..end)?, kind.whose))
        })
    })
}

/// `:name`, `:'name'` or `:"name"` at the start of the line.
fn psql_variable(line: &str) -> Option<&str> {
    let name = line.strip_prefix(':')?;
    let quote = name.chars().next().filter(|letter| matches!(letter, '\'' | '"'));
    let name = quote.map_or(name, |quote| name.strip_prefix(quote).unwrap_or(name));
    let length = name.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(name.len());
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

    /// The placeholder that is found where the sign `‸` stands, and whose it is.
    fn at(marked: &str) -> Option<(String, &'static str)> {
        let byte = marked.find('‸').unwrap();
        let text = marked.replace('‸', "");
        found(&text, byte).map(|(placeholder, whose)| (placeholder.to_owned(), whose))
    }

    #[test]
    fn names_the_placeholder_and_whose_it_is() {
        for (marked, placeholder, whose) in [
            ("create table ‸${schema}.t (i int);", "${schema}", "Flyway, envsubst or a shell"),
            ("create table a_$‸{env} (i int);", "${env}", "Flyway, envsubst or a shell"),
            ("select * from ‸{{ ref('a') }};\n}}", "{{ ref('a') }}", "dbt, Jinja or Go's templates"),
            ("grant all on t to ‸:role;", ":role", "psql, SQLAlchemy or Yii"),
            ("select ‸:'größe';", ":'größe'", "psql, SQLAlchemy or Yii"),
            ("use ‸$(DB)", "$(DB)", "sqlcmd or a shell"),
            ("‸<%= name %>", "<%= name %>", "ERB"),
            ("drop table ‸{table}", "{table}", "a program that formats the text"),
        ] {
            assert_eq!(at(marked), Some((placeholder.to_owned(), whose)), "{marked}");
        }
    }

    #[test]
    fn takes_nothing_else_for_one() {
        for marked in
            ["select a :‸: 5", "select ‸:", "select ‸:'a", "select ‸oops", "select ‸{", "select ‸", "selec‸t ä"]
        {
            assert_eq!(at(marked), None, "{marked}");
        }
    }
}
