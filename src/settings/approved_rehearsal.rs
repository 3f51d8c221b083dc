//! The rehearsal that a migration depends on, as `expect-rehearsal` names it.

use super::ApprovedPlan;
use chrono::{DateTime, SecondsFormat, Utc};
use std::fmt::{self, Display};

/// A rehearsal: the plan, the schema of the database, the image of the tool, and the end of the time for which it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovedRehearsal {
    /// The digest of the plan: `sha256:` and 64 hexadecimal digits in small letters.
    pub plan: String,
    /// The mark of the schema.
    pub schema: SchemaMark,
    /// The beginning of the identity of the tool's image, in hexadecimal digits; empty without one.
    pub image: String,
    /// The end of the time for which it holds.
    pub valid_until: DateTime<Utc>,
}

/// A mark of a schema: the sum of the hashes of its parts. The hash of a part that was added is the difference of two marks,
/// so that the part can be named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchemaMark {
    /// The exclusive or of the first 128 bits of each part's SHA-256.
    pub sum: u128,
    /// Number of parts.
    pub parts: u64,
}

impl Display for SchemaMark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}-{}", self.sum, self.parts)
    }
}

impl SchemaMark {
    fn from_text(text: &str) -> Option<Self> {
        let (sum, parts) = text.split_once('-')?;
        let is_plain = |text: &str, digits: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|byte| digits(&byte));
        if sum.len() != 32 || !is_plain(sum, u8::is_ascii_hexdigit) || !is_plain(parts, u8::is_ascii_digit) {
            return None;
        }
        Some(Self { sum: u128::from_str_radix(sum, 16).ok()?, parts: parts.parse().ok()? })
    }
}

impl Display for ApprovedRehearsal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = self.valid_until.to_rfc3339_opts(SecondsFormat::Secs, true);
        write!(formatter, "{}/{}/", self.plan, self.schema)?;
        if !self.image.is_empty() {
            write!(formatter, "{}/", self.image)?;
        }
        formatter.write_str(&until)
    }
}

impl ApprovedRehearsal {
    /// Number of digits by which an image is known.
    pub const IMAGE_DIGITS: usize = 16;

    /// Returns the beginning of the identity of an image, as `sha256:…`.
    #[must_use]
    pub fn image_mark(id: &str) -> String {
        let digits = id.rsplit(':').next().unwrap_or_default();
        digits.chars().filter(char::is_ascii_hexdigit).take(Self::IMAGE_DIGITS).collect()
    }

    /// Parses the output `rehearsal-digest`.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split(ApprovedPlan::TIME_SIGN);
        let (plan, schema, third, fourth) = (parts.next()?, parts.next()?, parts.next()?, parts.next());
        if parts.next().is_some() {
            return None;
        }
        let (image, until) = fourth.map_or(("", third), |until| (third, until));
        if !image.bytes().all(|byte| byte.is_ascii_hexdigit()) || image.len() > Self::IMAGE_DIGITS {
            return None;
        }
        let ApprovedPlan { digest, .. } = ApprovedPlan::from_text(plan)?;
        let schema = SchemaMark::from_text(schema)?;
        let valid_until = DateTime::parse_from_rfc3339(until).ok()?.to_utc();
        Some(Self { plan: digest, schema, image: image.to_owned(), valid_until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written_and_not_otherwise() {
        let rehearsal = ApprovedRehearsal {
            plan: format!("sha256:{}", "a".repeat(64)),
            schema: SchemaMark { sum: 0xab12, parts: 132 },
            image: String::new(),
            valid_until: "2026-11-30T20:00:00Z".parse().unwrap(),
        };
        let text = rehearsal.to_string();
        assert_eq!(text, format!("sha256:{}/{:0>32}-132/2026-11-30T20:00:00Z", "a".repeat(64), "ab12"));
        assert_eq!(ApprovedRehearsal::from_text(&text).as_ref(), Some(&rehearsal));
        let with_image =
            ApprovedRehearsal { image: ApprovedRehearsal::image_mark("sha256:0123456789abcdef0123"), ..rehearsal };
        let with_image_text = with_image.to_string();
        assert!(with_image_text.contains("-132/0123456789abcdef/2026-"), "{with_image_text}");
        assert_eq!(ApprovedRehearsal::from_text(&with_image_text), Some(with_image));
        let other =
            [text.replace("-132", ""), text.replace("-132", "-+5"), format!("{text}/x"), text.replace("ab12", "b12")];
        for text in other.iter().map(String::as_str).chain(["", "sha256:", text.split('/').next().unwrap()]) {
            assert_eq!(ApprovedRehearsal::from_text(text), None, "{text}");
        }
    }
}
