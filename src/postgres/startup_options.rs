//! The syntax of `options` in a start-up packet, and of libpq's PGOPTIONS.

/// Encodes settings as `-c name=value …`, which PostgreSQL splits at white space without a backslash before it.
pub(crate) fn encode_options(settings: &[(String, String)]) -> String {
    let settings: Vec<String> =
        settings.iter().map(|(name, value)| format!("-c {}={}", escape_option(name), escape_option(value))).collect();
    settings.join(" ")
}

fn escape_option(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_space(letter) || letter == '\\' {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

/// Decodes the settings: `-c name=value`, `-cname=value` and `--name=value`, whose name may have `-` in place of `_`
/// (PostgreSQL, `pg_split_opts` and `process_postgres_switches`).
///
/// # Errors
/// The first word that is no setting.
pub(crate) fn decode_options(options: &str) -> Result<Vec<(String, String)>, String> {
    let (mut settings, mut words) = (Vec::new(), split_words(options).into_iter());
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("-c"), word.strip_prefix("--")) {
            (Some(""), _) => words.next(),
            (Some(setting), _) | (None, Some(setting)) => Some(setting.to_owned()),
            (None, None) => None,
        };
        match setting.as_deref().and_then(|setting| setting.split_once('=')) {
            Some((name, value)) if !name.is_empty() => settings.push((name.replace('-', "_"), value.to_owned())),
            _ => return Err(word),
        }
    }
    Ok(settings)
}

fn split_words(text: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => word.extend(letters.next()),
            _ if is_space(letter) => words.push(std::mem::take(&mut word)),
            _ => word.push(letter),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// Returns whether PostgreSQL's `isspace` counts it.
fn is_space(letter: char) -> bool {
    letter.is_ascii_whitespace() || letter == '\x0b'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(settings: &[(&str, &str)]) -> Vec<(String, String)> {
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn escapes_settings_as_the_server_unescapes_them() {
        let settings = pairs(&[("lock_timeout", "5000"), ("search_path", "a b,\\c\t\x0b")]);
        assert_eq!(encode_options(&settings), "-c lock_timeout=5000 -c search_path=a\\ b,\\\\c\\\t\\\x0b");
        assert_eq!(encode_options(&[]), "");
    }

    #[test]
    fn decodes_every_form_of_a_setting() {
        let decoded = decode_options("-c a=1  -cb.c=2 --work-mem=4MB\t-c search_path=x,\\ y -c d=e=f").unwrap();
        assert_eq!(
            decoded,
            pairs(&[("a", "1"), ("b.c", "2"), ("work_mem", "4MB"), ("search_path", "x, y"), ("d", "e=f")])
        );
        assert_eq!(decode_options(""), Ok(Vec::new()));
    }

    #[test]
    fn names_the_first_word_that_is_no_setting() {
        for (options, word) in
            [("-c a=1 -B 16", "-B"), ("-c", "-c"), ("-c a", "-c"), ("--a", "--a"), ("x", "x"), ("-c =1", "-c")]
        {
            assert_eq!(decode_options(options), Err(word.to_owned()), "{options}");
        }
    }

    proptest! {
        #[test]
        fn decodes_what_was_encoded(settings in prop::collection::vec(("[a-z_]{1,9}", "[^\0]{0,9}"), 0..5)) {
            prop_assert_eq!(decode_options(&encode_options(&settings)), Ok(settings));
        }
    }
}
