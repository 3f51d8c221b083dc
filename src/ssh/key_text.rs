//! The text of a private key: extracts it from its surroundings and normalises it to the way OpenSSH writes keys.
//! Secrets pass through forms, editors, YAML and other programs, which change line ends and widths and add byte order
//! marks, indentation, quotation marks or words before the key.

use super::openssh_key::MAGIC;
use crate::{
    fault::{Code, Fault},
    secret::Secret,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Line width of OpenSSH; Terraform writes 64, Python's cryptography 76. `ssh-keygen` reads any.
const OPENSSH_LINE_WIDTH: usize = 70;

/// Longest text that may be a path, in bytes; the shortest key is longer.
const MAX_PATH_LENGTH: usize = 200;

/// Returns the key alone, in lines as OpenSSH writes them; a text without a complete key is only trimmed.
pub(super) fn normalise_key(key: &Secret) -> Secret {
    let lines: Vec<&str> = key.expose().split(['\n', '\r']).map(trim_line).collect();
    let begin = lines.iter().position(|line| is_begin_line(line));
    let frame = begin.and_then(|begin| {
        let last = lines.get(begin)?.replacen("BEGIN", "END", 1);
        let length = lines.iter().skip(begin).position(|line| *line == last)?;
        lines.get(begin..=begin + length)
    });
    Secret::new(match frame {
        Some([first, body @ .., last]) if first.contains("OPENSSH") => rewrap_openssh(first, body, last),
        Some(lines) => join_lines(lines),
        None => join_lines(&lines),
    })
}

/// Trims what no key contains: white space of any kind, zero-width characters, and quotation marks.
fn trim_line(line: &str) -> &str {
    line.trim_matches(|letter: char| {
        letter.is_whitespace() || "\u{feff}\u{200b}\u{200c}\u{200d}\u{2060}\"'`".contains(letter)
    })
}

fn is_begin_line(line: &str) -> bool {
    line.starts_with("-----BEGIN ") && line.ends_with("PRIVATE KEY-----") && !line.contains("-----END ")
}

/// Joins the lines, with the blank line that follows PEM headers (RFC 1421) and no other.
fn join_lines(lines: &[&str]) -> String {
    let mut text = String::new();
    let mut in_headers = false;
    for line in lines.iter().filter(|line| !line.is_empty()) {
        let is_header = line.contains(": ");
        if in_headers && !is_header {
            text.push('\n');
        }
        in_headers = is_header;
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn rewrap_openssh(first: &str, body: &[&str], last: &str) -> String {
    let letters: Vec<char> =
        body.iter().flat_map(|line| line.chars()).filter(|letter| !letter.is_whitespace()).collect();
    let lines = letters.chunks(OPENSSH_LINE_WIDTH).map(|line| line.iter().collect());
    [first.to_owned()].into_iter().chain(lines).chain([last.to_owned(), String::new()]).collect::<Vec<_>>().join("\n")
}

/// Checks the first and last line of a text normalised by [`normalise_key`]. Other content that people paste instead of
/// a private key has other such lines.
///
/// # Errors
/// `key-invalid`, which repeats nothing of the text.
pub(super) fn check_key_frame(text: &str) -> Result<(), Fault> {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    if is_begin_line(first) {
        return if text.lines().last() == Some(&first.replacen("BEGIN", "END", 1)) {
            Ok(())
        } else {
            Err(invalid_key("its last line is missing: it is cut off"))
        };
    }
    Err(explain_other_content(text, first)
        .unwrap_or_else(|| invalid_key("its first line is not -----BEGIN … PRIVATE KEY-----")))
}

/// Explains a text of a known kind that is not a private key.
fn explain_other_content(text: &str, first: &str) -> Option<Fault> {
    let is_one_word = text.split_whitespace().nth(1).is_none();
    let is_public = ["ssh-", "ecdsa-", "sk-", "---- BEGIN SSH2 PUBLIC"].iter().any(|start| first.starts_with(start));
    if first.starts_with("PuTTY-User-Key-File") {
        return Some(
            invalid_key("it is in PuTTY's own form").fix("convert it: PuTTYgen, Conversions, Export OpenSSH key"),
        );
    }
    if first.starts_with("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY") {
        let fix = "make a new key (`ssh-keygen -t ed25519`), or export this one from the program that made it in OpenSSH's form";
        return Some(invalid_key("it is in the form of SSH Tectia").fix(fix));
    }
    if is_public || first.contains("PUBLIC KEY") {
        let fix = "put the other file of the pair into the secret, the one whose name does not end in .pub";
        return Some(invalid_key("it is a public key").fix(fix));
    }
    if first.contains("BEGIN CERTIFICATE") {
        return Some(invalid_key("it is a certificate, not the key that belongs to it"));
    }
    if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----\\n") {
        let fix = "store it with real line breaks: a JSON text has to be decoded before it goes into the secret \
                   (`jq -r`, `printf '%b'`)";
        return Some(invalid_key("its line breaks are written as `\\n`").fix(fix));
    }
    if text.contains("-----BEGIN ") && text.contains("-----END ") {
        let fix =
            "put the whole private key file into the secret, line by line; in a shell the variable needs double quotes";
        return Some(invalid_key("its line breaks are lost: it is one long line").fix(fix));
    }
    let decoded = STANDARD.decode(text.split_whitespace().collect::<String>()).unwrap_or_default();
    if decoded.starts_with(MAGIC) {
        return Some(invalid_key("its first and its last line are missing"));
    }
    if decoded.windows(b"-----BEGIN ".len()).any(|bytes| bytes == b"-----BEGIN ") {
        let fix = "put the file itself into the secret, or decode it in a step before (`base64 -d`)";
        return Some(invalid_key("it is base64 of a key file").fix(fix));
    }
    let begins = |starts: &[&str]| starts.iter().any(|start| first.starts_with(start));
    let is_path = begins(&["/", "~", "./", "../", "id_"]) || first.contains('\\') || first.ends_with(".pem");
    (is_one_word && is_path && first.len() < MAX_PATH_LENGTH).then(|| {
        let why = "it is the path of a file, not the key itself";
        invalid_key(why).fix("put the whole private key file into the secret in place of its path")
    })
}

/// Returns a fault about the key.
pub(super) fn invalid_key(why: &str) -> Fault {
    Fault::new(Code::KeyInvalid, format!("`ssh-private-key` can't be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZWQyNTUxOQAAACBVuZ3f";

    fn framed(kind: &str, lines: &str) -> String {
        format!("-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----\n")
    }

    fn normalised_text(text: &str) -> String {
        normalise_key(&Secret::new(text)).expose().to_owned()
    }

    #[test]
    fn rewraps_lines_of_any_width_to_that_of_openssh() {
        let (first, second) = BODY.split_at(OPENSSH_LINE_WIDTH);
        let expected = framed("OPENSSH ", &format!("{first}\n{second}"));
        for width in [1, 64, 70, 76, 1000] {
            let letters: Vec<char> = BODY.chars().collect();
            let lines: Vec<String> = letters.chunks(width).map(|line| line.iter().collect()).collect();
            for end in ["\n", "\r\n", "\r", " \n", "\n\n"] {
                assert_eq!(normalised_text(&framed("OPENSSH ", &lines.join(end))), expected, "{width} {end:?}");
            }
        }
    }

    #[test]
    fn removes_the_text_around_a_key() {
        for kind in ["OPENSSH ", "RSA ", "ENCRYPTED ", ""] {
            let key = framed(kind, "YWJj\nZGVm");
            let expected = normalised_text(&key);
            let indented: String = key.lines().map(|line| format!("\u{a0}   {line}\n")).collect();
            for text in [
                format!("\u{feff}{key}"),
                format!("\"{}\"", key.trim()),
                format!("my key:\n\n{key}\nssh-ed25519 AAAA me@host\n"),
                format!("Bag Attributes\n    friendlyName: x\n{key}"),
                format!("-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----\n{key}"),
                indented,
            ] {
                assert_eq!(normalised_text(&text), expected, "{text}");
            }
        }
    }

    #[test]
    fn keeps_pem_headers_and_the_blank_line_after_them() {
        let key = framed("RSA ", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0011\n\nYWJj");
        assert_eq!(normalised_text(&key), key);
        assert_eq!(normalised_text(&key.replace('\n', "\r\n    ")), key);
        assert_eq!(normalised_text(&key.replace('\n', "\n\n")), key);
    }

    #[test]
    fn explains_other_content_in_place_of_a_key() {
        let key = framed("OPENSSH ", BODY);
        for (text, why) in [
            ("PuTTY-User-Key-File-3: ssh-ed25519".to_owned(), "PuTTY's own form"),
            ("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nx".to_owned(), "SSH Tectia"),
            ("ssh-ed25519 AAAA me@host".to_owned(), "a public key"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----".to_owned(), "a public key"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----".to_owned(), "a certificate"),
            (key.trim().replace('\n', "\\n"), "written as `\\n`"),
            (key.trim().replace('\n', " "), "one long line"),
            (key.trim().replace('\n', ""), "one long line"),
            (STANDARD.encode(&key), "base64 of a key file"),
            (BODY.to_owned(), "first and its last line are missing"),
            ("~/.ssh/id_ed25519".to_owned(), "the path of a file"),
            ("/home/me/.ssh/deploy".to_owned(), "the path of a file"),
            ("C:\\Users\\me\\.ssh\\id_rsa".to_owned(), "the path of a file"),
            ("id_rsa".to_owned(), "the path of a file"),
            ("deploy.pem".to_owned(), "the path of a file"),
            (key.lines().take(2).collect::<Vec<_>>().join("\n"), "cut off"),
            ("hunter2".to_owned(), "its first line is not"),
        ] {
            let fault = check_key_frame(&normalised_text(&text)).unwrap_err();
            assert_eq!(fault.code, Code::KeyInvalid);
            assert!(fault.cause.contains(why), "{text}: {}", fault.cause);
            let shown = format!("{fault:?}");
            assert!(text.split_whitespace().all(|word| word.len() < 9 || !shown.contains(word)), "{shown}");
        }
        assert_eq!(check_key_frame(&normalised_text(&key)), Ok(()));
    }
}
