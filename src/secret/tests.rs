//! Tests of what the redactor hides, and of what it leaves alone.

use super::{
    encoders::{ALL, Encoder},
    prefilter::PrefilterResult,
    *,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;

#[test]
fn hides_a_secret_in_every_encoding() {
    let secret = Secret::new("p@ss w\"rd/ü:1");
    let redactor = Redactor::new([&secret]);
    let encoded = STANDARD.encode(b"user:p@ss w\"rd/\xc3\xbc:1@host");
    for text in [
        "plain p@ss w\"rd/ü:1 end".to_owned(),
        "url p%40ss%20w%22rd%2F%C3%BC%3A1 end".to_owned(),
        "url p%40ss%20w%22rd%2f%c3%bc%3a1 end".to_owned(),
        r#"json "p@ss w\"rd/ü:1" end"#.to_owned(),
        "xml p@ss w&quot;rd/ü:1 end".to_owned(),
    ] {
        let redacted = redactor.redact(&text);
        assert!(redacted.contains("***") && !redacted.contains("rd"), "{redacted}");
    }
    assert!(redactor.redact(&encoded).contains("***"), "{encoded}");
}

#[test]
fn hides_the_parts_that_the_runner_hides() {
    let hidden = |secret: &str, text: &str| Redactor::new([&Secret::new(secret)]).redact(text).into_owned();
    assert_eq!(hidden("\"quoted pass\"", "quoted pass"), "***");
    assert_eq!(hidden("\"short\"", "short"), "short");
    assert_eq!(hidden("first1&second", "first1& or second"), "*** or ***");
    assert_eq!(hidden("first1&+a&second", "first1&+ or a&second"), "*** or ***");
    assert_eq!(hidden("a&b", "a& or b"), "a& or b");
    assert_eq!(hidden(r#"back\sl"ash"#, r#"back\sl\"ash"#), "***");
}

#[test]
fn hides_a_short_secret_in_base32() {
    let redactor = Redactor::new([&Secret::new("a1:b!")]);
    for text in ["user=MEYTUYRB", "x GBQTCOTCEE====== y", "AAMEYTUYRBAA"] {
        assert!(redactor.redact(text).contains("***"), "{text}");
    }
}

#[test]
fn hides_a_secret_that_can_be_decoded_in_several_ways() {
    let hidden = |secret: &str, text: &str| Redactor::new([&Secret::new(secret)]).redact(text).into_owned();
    assert_eq!(hidden("!''aa", r#"x !'\"'\"''\"'\"'aa y"#), "x *** y");
    assert_eq!(hidden("äAÄßääA😀A", r"x w6RBw4TDn8Okw6RB\10\&8J+YgEE= y"), "x ***= y");
}

#[test]
fn hides_every_line_of_a_key() {
    let key = Secret::new("-----BEGIN KEY-----\nabcdefgh\nijklmnop\n-----END KEY-----\n");
    assert_eq!(Redactor::new([&key]).redact("x ijklmnop y"), "x *** y");
}

#[test]
fn merges_touching_hits_and_keeps_the_rest() {
    let (a, b) = (Secret::new("alpha"), Secret::new("beta"));
    assert_eq!(Redactor::new([&a, &b]).redact("alphabeta, alpha!"), "***, ***!");
    assert_eq!(Redactor::new([]).redact("alpha"), "alpha");
}

#[test]
fn leaves_the_text_readable_when_a_secret_is_too_short_to_hide() {
    let secret = Secret::new("a ");
    assert!(!secret.can_be_hidden() && Secret::new("abc").can_be_hidden());
    assert_eq!(Redactor::new([&secret]).redact("database a"), "database a");
}

#[test]
fn debug_shows_nothing() {
    assert_eq!(format!("{:?}", Secret::new("alpha")), "***");
}

/// Secrets as people choose them, as generators make them, and as testers would.
const EIGHT: [&str; 8] = [
    "correct horse battery staple",
    r#"p@ss w"rd/ü:1"#,
    r"back\slash\n%41'quote",
    "50%+more&less<that>;{}[]",
    "Grüße€😀ßäöü",
    "aB3$xY9!kL5#mN7^",
    r#"''"" \\ `id` $(x)"#,
    "AKIAIOSFODNN7EXAMPLE/wJalrXUtnFEMI+K7MDENG",
];

/// Describes the leak of a text that contains the encoded secret, if it is not hidden but for a few signs at its ends.
fn describe_leak(redactor: &Redactor, secret: &str, inner: Encoder, outer: Encoder) -> Option<String> {
    let (before, after) = ("see postgres:user=", ", and so on");
    let text = (outer.1)(&format!("{before}{}{after}", (inner.1)(secret)));
    let allowed = (outer.1)(&format!("{before}0x, ={after}")).len() + 12;
    let redacted = redactor.redact(&text);
    let visible = redacted.replace("***", "").len();
    let is_hidden = redacted.contains("***") && visible <= allowed;
    let names = format!("{} in {}", inner.0, outer.0);
    (!is_hidden).then(|| format!("{secret:?}, {names}: {visible} > {allowed}:\n  {text}\n  {redacted}\n"))
}

#[test]
fn hides_eight_secrets_in_every_encoding_and_some_in_two() {
    let mut leaks = Vec::new();
    for (at, secret) in EIGHT.iter().enumerate() {
        let redactor = Redactor::new([&Secret::new(*secret)]);
        let outer_encoders = if at % 4 == 1 { ALL } else { &ALL[..1] };
        let forms = ALL.iter().flat_map(|inner| outer_encoders.iter().map(move |outer| (*inner, *outer)));
        leaks.extend(forms.filter_map(|(inner, outer)| describe_leak(&redactor, secret, inner, outer)));
    }
    assert!(leaks.is_empty(), "{} forms:\n{}", leaks.len(), leaks.concat());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn hides_any_secret_in_any_two_encodings(
        first in "[!-~äß€😀]", middle in "[ -~\\t\u{1}äÄß€😀¤é]{3,24}", last in "[!-~üÃ¤]",
        inner in proptest::sample::select(ALL), outer in proptest::sample::select(ALL),
    ) {
        let secret = format!("{first}{middle}{last}");
        let leak = describe_leak(&Redactor::new([&Secret::new(secret.clone())]), &secret, inner, outer);
        prop_assert!(leak.is_none(), "{}", leak.unwrap_or_default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_text_that_needs_no_scan_has_nothing_to_find(
        secret in "[ -~ä]{3,20}", pieces in proptest::collection::vec("[ -~\t\r\n]{0,12}|[a-f0-9]{2}[ :,]|[A-Z2-7]{1,9}|[a-zA-Z0-9+/]{1,13}", 0..9),
        inner in proptest::sample::select(ALL), part in 0_usize..20, after in "[a-z.;\r\n]{0,9}",
    ) {
        let Some(search) = Redactor::new([&Secret::new(secret.clone())]).0.search() else { return Ok(()) };
        let part: String = secret.chars().skip(part).collect();
        let text = pieces.concat() + &(inner.1)(&part) + &after;
        if search.is_free(text.as_bytes()) {
            let signs = search.prefilter.scan_text(&search.needles, text.as_bytes());
            let nothing = PrefilterResult { plain: signs.plain, ..PrefilterResult::default() };
            let is_long = text.len() >= search.needles.shortest;
            prop_assert!(!is_long || signs == nothing, "{:?} in {:?}: {:?}", secret, text, signs);
            prop_assert!(search.needles.find_unescaped(text.as_bytes()).is_empty(), "{:?} in {:?}", secret, text);
        }
    }
}

#[test]
fn a_secret_at_the_end_of_a_window_is_redacted() {
    let redactor = Redactor::new(&[Secret::new("hunter2 & co")]);
    for before in [13, 7, 1, 0].map(|bytes| WINDOW_SIZE - bytes) {
        for written in ["hunter2 & co", "hunter2%20%26%20co", "hunter2 &amp; co"] {
            let (start, end) = ("x".repeat(before), "y".repeat(WINDOW_SIZE));
            let text = redactor.redact(&format!("{start}{written}{end}")).into_owned();
            assert!(text == format!("{start}***{end}"), "{written} after {before} bytes");
        }
    }
}

#[test]
fn a_secret_that_is_obtained_later_is_hidden_by_every_clone() {
    let redactor = Redactor::new([&Secret::new("first-secret")]);
    let clone = redactor.clone();
    assert_eq!(clone.redact("first-secret, second-secret"), "***, second-secret");
    redactor.hide(&Secret::new("second-secret"));
    redactor.hide(&Secret::new("second-secret"));
    assert_eq!(clone.redact("first-secret, second-secret"), "***, ***");
    assert_eq!(clone.take_added(), [Secret::new("second-secret")]);
    assert!(redactor.take_added().is_empty());
    let empty = Redactor::default();
    empty.hide(&Secret::new("alone"));
    assert_eq!((empty.redact("alone"), Redactor::default().redact("alone")), ("***".into(), "alone".into()));
}
