//! Splits a command line into words.

use super::value::InvalidValue;

/// Splits as POSIX shells do (Shell Command Language, 2.2): at white space, except in quotes and after a `\`. Nothing is
/// expanded.
pub(crate) fn split_words(text: &str) -> Result<Vec<String>, InvalidValue> {
    shell_words::split(text).map_err(|_open| {
        InvalidValue::new(
            "has an opening quotation mark without a closing one",
            "words separated by spaces, with each quotation mark closed, as in `docker compose run --rm web`",
        )
    })
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
        for text in ["'a", "a 'b c", "\"a", "\"a\\", "\"a\\\""] {
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
