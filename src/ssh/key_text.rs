//! The text of a private key: extracts it from its surroundings and normalises it to the way OpenSSH writes keys.
//! Secrets pass through forms, editors, YAML, JSON, shells and other programs, which change line ends and widths, encode
//! the file in base64, and add byte order marks, indentation, quotation marks or words before the key.

use super::openssh_key::MAGIC;
use crate::{
    fault::{Code, Fault},
    secret::Secret,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use zeroize::Zeroizing;

/// Line width of OpenSSH; Terraform writes 64, Python's cryptography 76. `ssh-keygen` reads any.
const OPENSSH_LINE_WIDTH: usize = 70;

/// Line width of PEM (RFC 7468, 2).
const PEM_LINE_WIDTH: usize = 64;

/// Longest text that may be a path, in bytes; the shortest key is longer.
const MAX_PATH_LENGTH: usize = 200;

/// Begin of the first line of every key file.
const BEGIN: &str = "-----BEGIN ";

/// The headers of an encrypted PEM file (RFC 1421).
const PEM_HEADERS: [&str; 2] = ["Proc-Type:", "DEK-Info:"];

/// Returns the key alone, in lines as OpenSSH writes them; a text without a complete key is only trimmed. The text may be
/// the base64 of a key file, or have its line breaks as `\n` or as spaces.
pub(super) fn normalise_key(key: &Secret) -> Secret {
    let text = key.expose();
    if let Some(found) = find_key(text) {
        return found;
    }
    let decoded = decode_file(text);
    decoded.as_ref().and_then(|file| find_key(file.expose())).unwrap_or_else(|| {
        let lines: Vec<&str> = text.split(['\n', '\r']).map(trim_line).filter(|line| !line.is_empty()).collect();
        Secret::new(lines.join("\n"))
    })
}

/// Returns the texts that reveal the key although they are not in the input: the lines of a key file that was given in
/// base64, or with other line breaks.
#[must_use]
pub fn hidden_forms(key: &Secret) -> Option<Secret> {
    let normalised = normalise_key(key);
    let is_key = normalised.expose().starts_with(BEGIN);
    (is_key && normalised.expose().trim() != key.expose().trim()).then_some(normalised)
}

/// Returns the text of a file whose base64 this is.
fn decode_file(text: &str) -> Option<Secret> {
    let letters = Zeroizing::new(text.split_whitespace().map(trim_line).collect::<String>());
    let bytes = STANDARD_NO_PAD.decode(letters.trim_end_matches('=')).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.contains(BEGIN).then(|| Secret::new(text))
}

/// Returns the first complete key in a text.
fn find_key(text: &str) -> Option<Secret> {
    let is_escaped = text.contains("-----\\n") || text.contains("-----\\r\\n");
    let unescaped = Zeroizing::new(match is_escaped {
        true => text.replace("\\r\\n", "\n").replace("\\n", "\n"),
        false => text.to_owned(),
    });
    unescaped.split(BEGIN).skip(1).find_map(frame_key)
}

/// Returns the key whose first line continues with this text.
fn frame_key(text: &str) -> Option<Secret> {
    let (label, rest) = text.split_once("-----")?;
    if !label.ends_with("PRIVATE KEY") || label.contains('\n') {
        return None;
    }
    let last = format!("-----END {label}-----");
    let (body, _) = rest.split_once(&last)?;
    let width = if label.contains("OPENSSH") { OPENSSH_LINE_WIDTH } else { PEM_LINE_WIDTH };
    let lines = Zeroizing::new(format!("{BEGIN}{label}-----\n{}{last}\n", rewrap_body(body, width).as_str()));
    Some(Secret::new(lines.as_str()))
}

/// Returns the headers, and the base64 in lines of this width.
fn rewrap_body(body: &str, width: usize) -> Zeroizing<String> {
    let words: Vec<&str> =
        body.split(|letter: char| letter.is_whitespace()).map(trim_line).filter(|word| !word.is_empty()).collect();
    let mut headers = String::new();
    let mut letters = Zeroizing::new(String::new());
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if PEM_HEADERS.contains(word) {
            headers.push_str(&[word, " ", rest.next().copied().unwrap_or_default(), "\n"].concat());
        } else {
            letters.push_str(word);
        }
    }
    if !headers.is_empty() {
        headers.push('\n');
    }
    let mut wrapped = Zeroizing::new(headers);
    let mut column = 0;
    for letter in letters.chars() {
        wrapped.push(letter);
        column += 1;
        if column == width {
            wrapped.push('\n');
            column = 0;
        }
    }
    if column > 0 {
        wrapped.push('\n');
    }
    wrapped
}

/// Trims what no key contains: white space of any kind, zero-width characters, and quotation marks.
fn trim_line(line: &str) -> &str {
    line.trim_matches(|letter: char| {
        letter.is_whitespace() || "\u{feff}\u{200b}\u{200c}\u{200d}\u{2060}\"'`".contains(letter)
    })
}

fn is_begin_line(line: &str) -> bool {
    line.starts_with(BEGIN) && line.ends_with("PRIVATE KEY-----") && !line.contains("-----END ")
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
    if text.contains(BEGIN) && text.contains("PRIVATE KEY-----") {
        return Some(invalid_key("its last line is missing, or is not that of its first line: it is cut off"));
    }
    let decoded = STANDARD.decode(text.split_whitespace().collect::<String>()).unwrap_or_default();
    if decoded.starts_with(MAGIC) {
        return Some(invalid_key("its first and its last line are missing"));
    }
    if decoded.windows(BEGIN.len()).any(|bytes| bytes == BEGIN.as_bytes()) {
        let fix = "encode the file anew (`base64 -w0 FILE`), or put the file itself into the secret";
        return Some(invalid_key("it is base64 of a key file that is cut off or is not a private key").fix(fix));
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
        assert_eq!(normalised_text(&key.replace('\n', " ")), key);
    }

    #[test]
    fn finds_a_key_in_every_encoding_of_its_file() {
        for kind in ["OPENSSH ", "RSA ", "ENCRYPTED ", ""] {
            let key = framed(kind, "YWJj\nZGVm");
            let expected = normalised_text(&key);
            let json = key.replace('\n', "\\n");
            let wide = STANDARD.encode(&key);
            let narrow: Vec<String> =
                wide.as_bytes().chunks(76).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
            for text in [
                json.clone(),
                format!("\"{json}\""),
                key.replace('\n', "\\r\\n"),
                key.replace('\n', " "),
                key.replace('\n', ""),
                wide.clone(),
                wide.trim_end_matches('=').to_owned(),
                format!("  {}\r\n", narrow.join("\r\n  ")),
                STANDARD.encode(&json),
            ] {
                assert_eq!(normalised_text(&text), expected, "{text}");
                assert_eq!(hidden_forms(&Secret::new(text)).map(|key| key.expose().to_owned()), Some(expected.clone()));
            }
            assert_eq!(hidden_forms(&Secret::new(expected)), None);
        }
        assert_eq!(hidden_forms(&Secret::new("hunter2")), None);
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
            (STANDARD.encode(&key.as_bytes()[..key.len() - 20]), "base64 of a key file that is cut off"),
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
