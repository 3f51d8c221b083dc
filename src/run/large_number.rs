//! Large numbers, and numbers of bytes, as people read them.

/// The units of bytes, as `pg_size_pretty` names them: each is 1,024 of the one before.
const BYTE_UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];

/// Returns a number of bytes, as in `38 GB`; one below 10 of a larger unit has a fraction.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    let (mut unit, mut size) = (0, 1_u64);
    while unit + 1 < BYTE_UNITS.len() && bytes / size >= 1_024 {
        (unit, size) = (unit + 1, size << 10);
    }
    let name = BYTE_UNITS.get(unit).copied().unwrap_or_default();
    let (whole, rest) = (bytes / size, bytes % size);
    match size == 1 || whole >= 10 {
        true => format!("{} {name}", group_digits(whole)),
        false => format!("{whole}.{} {name}", u128::from(rest) * 10 / u128::from(size)),
    }
}

/// Returns a whole number with separators, as in `12,000`.
#[must_use]
pub fn group_digits(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_given_in_the_largest_unit() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1_023, "1,023 bytes"),
            (1_024, "1.0 kB"),
            (5_767_168, "5.5 MB"),
            (40_802_189_312, "38 GB"),
            (u64::MAX, "16,777,215 TB"),
        ] {
            assert_eq!(format_bytes(bytes), text);
        }
    }
}
