//! Splits a command line into words.

use super::value::InvalidValue;

/// Splits as a shell does: at white space, except in quotes (`'` keeps everything as it is, `"` knows `\"` and `\\`)
/// and after a `\`. Nothing is expanded (POSIX, Shell Command Language, 2.2).
pub(crate) fn split_words(text: &str) -> Result<Vec<String>, InvalidValue> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => word.get_or_insert_default().push_str(&read_single_quoted(&mut letters)?),
            '"' => word.get_or_insert_default().push_str(&read_double_quoted(&mut letters)?),
            '\\' => word.get_or_insert_default().push(letters.next().ok_or_else(|| unclosed_quote("\\"))?),
            blank if blank.is_whitespace() => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

fn read_single_quoted(letters: &mut std::str::Chars<'_>) -> Result<String, InvalidValue> {
    let (quoted, rest) = letters.as_str().split_once('\'').ok_or_else(|| unclosed_quote("'"))?;
    *letters = rest.chars();
    Ok(quoted.to_owned())
}

fn read_double_quoted(letters: &mut std::str::Chars<'_>) -> Result<String, InvalidValue> {
    let mut quoted = String::new();
    loop {
        match letters.next().ok_or_else(|| unclosed_quote("\""))? {
            '"' => return Ok(quoted),
            '\\' => match letters.next().ok_or_else(|| unclosed_quote("\""))? {
                escaped @ ('"' | '\\') => quoted.push(escaped),
                other => quoted.extend(['\\', other]),
            },
            letter => quoted.push(letter),
        }
    }
}

fn unclosed_quote(mark: &str) -> InvalidValue {
    InvalidValue::new(
        format!("ends after a {mark} that is open"),
        "words separated by spaces, with each quotation mark closed, as in `docker compose run --rm web`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn splits_as_a_shell_does() {
        for (text, expected) in [
            ("docker compose run --rm web", &["docker", "compose", "run", "--rm", "web"][..]),
            ("  uv\trun \n", &["uv", "run"]),
            (r#"a 'b  c' "d  e" f\ g"#, &["a", "b  c", "d  e", "f g"]),
            (r#"--x='1 2'"3" "" ''"#, &["--x=1 23", "", ""]),
            (r#""\"\\\n" '\'"#, &[r#""\\n"#, r"\"]),
            ("$HOME `x` *", &["$HOME", "`x`", "*"]),
            ("", &[]),
        ] {
            assert_eq!(split_words(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn rejects_an_open_quote() {
        for text in ["'a", "a 'b c", "\"a", "\"a\\", "\"a\\\"", "a\\"] {
            assert!(split_words(text).unwrap_err().cause.contains("open"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_every_word_in_quotes(expected in vec("[^']*", 0..5)) {
            let text: Vec<String> = expected.iter().map(|word| format!("'{word}'")).collect();
            prop_assert_eq!(split_words(&text.join(" ")), Ok(expected));
        }
    }
}
