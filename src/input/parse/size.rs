//! Parses an amount of bytes.

use super::value::InvalidValue;

const FORM: &str = "a number and a unit, as in 500MB, 20GB or 2TB";

/// The units: powers of 1000, as disks and clouds have them, and of 1024 with their own names (IEC 80000-13).
const UNITS: [(&str, u64); 8] = [
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Parses an amount of bytes: `500MB`, `20 GB`, `2TiB`. A number without a unit is refused: it could be of any.
pub(crate) fn parse_size(text: &str) -> Result<u64, InvalidValue> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let is_unit = |(name, _): &&(&str, u64)| name.eq_ignore_ascii_case(unit.trim());
    let scale = UNITS.iter().find(is_unit).map(|(_, scale)| *scale);
    let bytes = scale.and_then(|scale| number.parse::<u64>().ok()?.checked_mul(scale));
    match bytes {
        Some(0) => Err(InvalidValue::new("leaves no room at all", FORM)),
        Some(bytes) => Ok(bytes),
        None => Err(InvalidValue::new("is not an amount of bytes", FORM)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_of_bytes_is_a_number_with_a_unit() {
        assert_eq!(parse_size("500MB"), Ok(500_000_000));
        assert_eq!(parse_size("20 gb"), Ok(20_000_000_000));
        assert_eq!(parse_size("2TiB"), Ok(2 << 40));
        for (text, cause) in [
            ("20", "is not an amount"),
            ("GB", "is not an amount"),
            ("1.5GB", "is not an amount"),
            ("-1GB", "is not an amount"),
            ("99999999999TB", "is not an amount"),
            ("0MB", "leaves no room"),
        ] {
            let invalid = parse_size(text).unwrap_err();
            assert!(invalid.cause.contains(cause) && invalid.fix == FORM, "{text}: {invalid:?}");
        }
    }
}
