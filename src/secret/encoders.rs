//! Encoders that programs apply to a text on its way into a log, for tests. They share no code with the redactor.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// An encoder and its name.
pub(super) type Encoder = (&'static str, fn(&str) -> String);

/// Characters that `encodeURIComponent` encodes.
const URI_COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Characters that Go encodes in user and password.
const GO_USERINFO: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=');

/// Characters that browsers encode in user and password (WHATWG URL, 1.3).
const WHATWG_USERINFO: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'=')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'|')
    .add(b'%');

pub(super) const ALL: &[Encoder] = &[
    ("as it is", str::to_owned),
    ("percent", |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()),
    ("percent in lower case", |text| {
        each_byte(text, |byte| format!("%{byte:02x}"), |byte| !byte.is_ascii_alphanumeric())
    }),
    ("every byte percent", |text| each_byte(text, |byte| format!("%{byte:02X}"), |_| true)),
    ("encodeURIComponent", |text| utf8_percent_encode(text, URI_COMPONENT).to_string()),
    ("user-info of WHATWG", |text| utf8_percent_encode(text, WHATWG_USERINFO).to_string()),
    ("user-info of Go", |text| utf8_percent_encode(text, GO_USERINFO).to_string()),
    ("quote_plus", |text| utf8_percent_encode(text, URI_COMPONENT).to_string().replace("%20", "+")),
    ("JavaScript's escape", |text| {
        each_unit(
            text,
            |unit| match unit {
                0..0x100 => format!("%{unit:02X}"),
                _ => format!("%u{unit:04X}"),
            },
            is_plain,
        )
    }),
    ("JSON", json_escape),
    ("JSON in ASCII", |text| each_unit(&json_escape(text), |unit| format!("\\u{unit:04x}"), |unit| unit < 0x80)),
    ("JSON with escaped slashes", |text| json_escape(text).replace('/', "\\/")),
    ("JSON for HTML", |text| {
        ["&", "<", ">", "'"]
            .iter()
            .fold(json_escape(text), |text, sign| text.replace(sign, &format!("\\u{:04x}", sign.as_bytes()[0])))
    }),
    ("every unit of UTF-16", |text| each_unit(text, |unit| format!("\\u{unit:04X}"), |_| false)),
    ("Python's ascii", |text| python_ascii(text)),
    ("Python's repr of bytes", |text| {
        each_byte(
            &backslash_escape(text, "'"),
            |byte| format!("\\x{byte:02x}"),
            |byte| !byte.is_ascii_graphic() && byte != b' ',
        )
    }),
    ("Rust's Debug", |text| format!("{text:?}")),
    ("Rust's escape_unicode", |text| text.escape_unicode().to_string()),
    ("JavaScript in apostrophes", |text| backslash_escape(text, "'")),
    ("a template of JavaScript", |text| backslash_escape(text, "`$")),
    ("every byte hexadecimal", |text| each_byte(text, |byte| format!("\\x{byte:02x}"), |_| true)),
    ("every byte octal", |text| each_byte(text, |byte| format!("\\{byte:03o}"), |_| true)),
    ("Haskell", haskell_escape),
    ("a backslash before every sign", |text| {
        text.chars()
            .map(|letter| if letter.is_alphanumeric() { letter.to_string() } else { format!("\\{letter}") })
            .collect()
    }),
    ("apostrophes of a shell", |text| text.replace('\'', r"'\''")),
    ("Python's shlex", |text| text.replace('\'', r#"'"'"'"#)),
    ("doubled apostrophes", |text| text.replace('\'', "''")),
    ("doubled quotation marks", |text| text.replace('"', "\"\"")),
    ("doubled dollars", |text| text.replace('$', "$$")),
    ("doubled percents", |text| text.replace('%', "%%")),
    ("PowerShell", |text| prefix_punctuation(text, '`')),
    ("cmd", |text| prefix_punctuation(text, '^')),
    ("LDAP", |text| each_byte(text, |byte| format!("\\{byte:02x}"), |byte| !byte.is_ascii_alphanumeric())),
    ("HTML", |text| html_escape(text, "&quot;", "&#39;")),
    ("HTML in hexadecimal", |text| html_escape(text, "&#34;", "&#x27;")),
    ("XML", |text| html_escape(text, "&quot;", "&apos;")),
    ("every character decimal", |text| text.chars().map(|letter| format!("&#{};", u32::from(letter))).collect()),
    ("every character hexadecimal", |text| text.chars().map(|letter| format!("&#x{:x};", u32::from(letter))).collect()),
    ("entities with names", |text| {
        text.chars()
            .map(|letter| match letter {
                '&' => "&amp;".to_owned(),
                'ä' => "&auml;".to_owned(),
                'ü' => "&uuml;".to_owned(),
                '€' => "&euro;".to_owned(),
                '@' => "&commat;".to_owned(),
                '/' => "&sol;".to_owned(),
                ':' => "&colon;".to_owned(),
                '\\' => "&bsol;".to_owned(),
                '%' => "&percnt;".to_owned(),
                other => other.to_string(),
            })
            .collect()
    }),
    ("quoted-printable", |text| {
        each_byte(
            text,
            |byte| format!("={byte:02X}"),
            |byte| !byte.is_ascii_graphic() && !b" \n".contains(&byte) || byte == b'=',
        )
    }),
    ("base64", |text| STANDARD.encode(text)),
    ("base64 without padding", |text| STANDARD_NO_PAD.encode(text)),
    ("base64 for URLs", |text| URL_SAFE.encode(text)),
    ("base64 for URLs without padding", |text| URL_SAFE_NO_PAD.encode(text)),
    ("base64 in lines", |text| {
        let digits = STANDARD.encode(text);
        let lines: Vec<&str> =
            digits.as_bytes().chunks(16).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
        lines.join("\n")
    }),
    ("base64 of UTF-16", |text| STANDARD.encode(text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())),
    ("base32", base32_encode),
    ("hexadecimal", |text| each_byte(text, |byte| format!("{byte:02x}"), |_| true)),
    ("hexadecimal in capitals", |text| each_byte(text, |byte| format!("{byte:02X}"), |_| true)),
    ("hexadecimal with colons", |text| each_byte(text, |byte| format!("{byte:02x}:"), |_| true)),
    ("hexadecimal with spaces", |text| each_byte(text, |byte| format!("{byte:02x} "), |_| true)),
    ("an array of C", |text| each_byte(text, |byte| format!("0x{byte:02x}, "), |_| true)),
];

fn each_byte(text: &str, escape: impl Fn(u8) -> String, is_escaped: impl Fn(u8) -> bool) -> String {
    let bytes = text.bytes().map(|byte| match is_escaped(byte) {
        true => escape(byte),
        false => char::from(byte).to_string(),
    });
    bytes.collect()
}

fn each_unit(text: &str, escape: impl Fn(u16) -> String, is_plain: impl Fn(u16) -> bool) -> String {
    let unit = |unit: u16| match u8::try_from(unit) {
        Ok(byte) if is_plain(unit) => char::from(byte).to_string(),
        _ => escape(unit),
    };
    text.encode_utf16().map(unit).collect()
}

fn is_plain(unit: u16) -> bool {
    u8::try_from(unit).is_ok_and(|byte| byte.is_ascii_alphanumeric())
}

fn json_escape(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("a text has a form in JSON");
    quoted.get(1..quoted.len() - 1).expect("a text is quoted in JSON").to_owned()
}

/// Puts backslashes before backslashes and these signs.
fn backslash_escape(text: &str, signs: &str) -> String {
    let letter = |letter: char| match letter {
        '\\' => "\\\\".to_owned(),
        '\t' => "\\t".to_owned(),
        _ if signs.contains(letter) => format!("\\{letter}"),
        _ => letter.to_string(),
    };
    text.chars().map(letter).collect()
}

fn python_ascii(text: &str) -> String {
    let letter = |letter: char| match u32::from(letter) {
        0x20..0x7f => letter.to_string(),
        9 => "\\t".to_owned(),
        number @ 0..0x100 => format!("\\x{number:02x}"),
        number @ 0x100..0x10000 => format!("\\u{number:04x}"),
        number => format!("\\U{number:08x}"),
    };
    backslash_escape(text, "'").replace("\\t", "\t").chars().map(letter).collect()
}

fn haskell_escape(text: &str) -> String {
    let mut after_number = false;
    let letter = |letter: char| {
        let gap = if after_number && letter.is_ascii_digit() { "\\&" } else { "" };
        let plain = letter.is_ascii_graphic() || letter == ' ';
        after_number = !plain;
        match letter {
            '\\' | '"' => format!("\\{letter}"),
            _ if plain => format!("{gap}{letter}"),
            _ => format!("\\{}", u32::from(letter)),
        }
    };
    text.chars().map(letter).collect()
}

fn prefix_punctuation(text: &str, sign: char) -> String {
    let letter = |letter: char| match letter.is_ascii_punctuation() {
        true => format!("{sign}{letter}"),
        false => letter.to_string(),
    };
    text.chars().map(letter).collect()
}

fn html_escape(text: &str, quotation: &str, apostrophe: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', quotation).replace('\'', apostrophe)
}

fn base32_encode(text: &str) -> String {
    let (mut digits, mut bit_buffer, mut count) = (String::new(), 0_u32, 0);
    for byte in text.bytes().chain([0]) {
        bit_buffer = bit_buffer << 8 | u32::from(byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            digits.push(char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[(bit_buffer >> count & 31) as usize]));
        }
    }
    digits
}
