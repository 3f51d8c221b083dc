//! The words of a command that connects its standard input and output to the first machine, as those of OpenSSH's
//! `ProxyCommand` (`ssh_config(5)`, TOKENS): `%h` is its host, `%p` its port, `%%` a percent sign.

/// Returns the words for this target.
pub(super) fn fill_in_target(words: &[String], host: &str, port: u16) -> Vec<String> {
    words.iter().map(|word| fill_in(word, host, port)).collect()
}

/// Returns the first token that stands for nothing, if there is one.
#[must_use]
pub fn unknown_token(words: &[String]) -> Option<String> {
    words.iter().find_map(|word| {
        let mut letters = word.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                continue;
            }
            match letters.next() {
                Some('h' | 'p' | '%') => {}
                Some(other) => return Some(format!("%{other}")),
                None => return Some("%".to_owned()),
            }
        }
        None
    })
}

/// Fills in the tokens of a word. A token that is unknown stays as it is.
fn fill_in(word: &str, host: &str, port: u16) -> String {
    let mut filled = String::new();
    let mut letters = word.chars();
    while let Some(letter) = letters.next() {
        match (letter, letter == '%') {
            (_, false) => filled.push(letter),
            (_, true) => match letters.next() {
                Some('h') => filled.push_str(host),
                Some('p') => filled.push_str(&port.to_string()),
                Some('%') | None => filled.push('%'),
                Some(other) => filled.extend(['%', other]),
            },
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn fills_in_the_tokens_of_a_proxy_command() {
        let command = words(&["ssh", "-W", "%h:%p", "100%%", "%x", "%"]);
        let filled = words(&["ssh", "-W", "db.internal:5433", "100%", "%x", "%"]);
        assert_eq!(fill_in_target(&command, "db.internal", 5433), filled);
    }

    #[test]
    fn finds_a_token_that_stands_for_nothing() {
        assert_eq!(unknown_token(&words(&["a%%h", "%h%p"])), None);
        assert_eq!(unknown_token(&words(&["%h", "%r@%h"])).as_deref(), Some("%r"));
        assert_eq!(unknown_token(&words(&["50%"])).as_deref(), Some("%"));
    }
}
