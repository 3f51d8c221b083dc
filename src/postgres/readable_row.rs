//! Makes rows and column names valid UTF-8: the driver treats anything else as a broken response, and a file or the
//! encoding of an old database can make the server send any bytes.

use super::wire_format;
use std::borrow::Cow;

/// Bytes of the column count at the beginning of a row.
pub(super) const COLUMN_COUNT_LENGTH: usize = 2;

/// A value that is no valid text: it replaces every column of a row that was too long to keep.
const UNREADABLE_VALUE: &[u8] = &[0, 0, 0, 1, 0xff];

/// Bytes behind a column's name: table, column, type, its size, its modifier, format.
const COLUMN_DETAILS_LENGTH: usize = 18;

/// The length that stands for a null.
const NULL_LENGTH: [u8; 4] = (-1_i32).to_be_bytes();

/// Returns the body of a `DataRow` with valid UTF-8 in all values. A body that is no row stays unchanged.
pub(super) fn readable_row(body: &[u8]) -> Cow<'_, [u8]> {
    let Some((count, rest)) = body.split_at_checked(COLUMN_COUNT_LENGTH) else { return Cow::Borrowed(body) };
    let is_text = |value: Option<&[u8]>| value.is_none_or(|value| str::from_utf8(value).is_ok());
    if (RowValues { rest }).all(is_text) {
        return Cow::Borrowed(body);
    }
    let (mut row, mut values) = (count.to_vec(), RowValues { rest });
    for value in values.by_ref() {
        let text = value.map(String::from_utf8_lossy);
        let length = text.as_ref().map(|text| u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        row.extend_from_slice(&length.unwrap_or(NULL_LENGTH));
        row.extend_from_slice(text.as_deref().unwrap_or_default().as_bytes());
    }
    if values.rest.is_empty() { Cow::Owned(row) } else { Cow::Borrowed(body) }
}

/// Iterator over the values of a row, including nulls, up to the first malformed one.
struct RowValues<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for RowValues<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let (length, after) = self.rest.split_first_chunk::<4>()?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            self.rest = after;
            return Some(None);
        };
        let (value, after) = after.split_at_checked(length)?;
        self.rest = after;
        Some(Some(value))
    }
}

/// Returns the body of a `RowDescription` with valid UTF-8 in all names.
pub(super) fn readable_column_names(body: &[u8]) -> Cow<'_, [u8]> {
    rewrite_column_names(body).map_or(Cow::Borrowed(body), Cow::Owned)
}

fn rewrite_column_names(body: &[u8]) -> Option<Vec<u8>> {
    let (count, mut rest) = body.split_at_checked(COLUMN_COUNT_LENGTH)?;
    let mut description = count.to_vec();
    while !rest.is_empty() {
        let (name, after) = wire_format::split_c_string(rest)?;
        let (details, after) = after.split_at_checked(COLUMN_DETAILS_LENGTH)?;
        wire_format::push_c_string(&mut description, String::from_utf8_lossy(name).as_bytes());
        description.extend_from_slice(details);
        rest = after;
    }
    Some(description)
}

/// Returns the replacement for a row that was too long; `beginning` contains its column count.
pub(super) fn unreadable_row(beginning: &[u8]) -> Vec<u8> {
    let count = beginning.first_chunk::<COLUMN_COUNT_LENGTH>().map_or(0, |count| u16::from_be_bytes(*count));
    [&count.to_be_bytes(), UNREADABLE_VALUE.repeat(count.into()).as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut row = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
        for value in values {
            match value {
                None => row.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(value) => {
                    // The length of a value does not count itself.
                    row.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
                    row.extend_from_slice(value);
                }
            }
        }
        row
    }

    #[test]
    fn keeps_valid_text_and_replaces_invalid_bytes() {
        let text = row(&[Some("größe".as_bytes()), None, Some(b"")]);
        assert_eq!(readable_row(&text), text);
        let latin = row(&[Some(b"gr\xf6\xdfe"), None, Some(b"x")]);
        assert_eq!(readable_row(&latin), row(&[Some("gr��e".as_bytes()), None, Some(b"x")]));
    }

    #[test]
    fn makes_column_names_valid() {
        let description = |name: &[u8]| [&[0, 1], name, &[0], &[0xff; COLUMN_DETAILS_LENGTH]].concat();
        assert_eq!(readable_column_names(&description(b"gr\xf6\xdfe")), description("gr��e".as_bytes()));
        let broken = vec![0, 1, b'a', 0, 1];
        assert_eq!(readable_column_names(&broken), broken.as_slice());
    }

    #[test]
    fn the_replacement_of_a_long_row_has_its_columns_and_no_text() {
        assert_eq!(unreadable_row(&[0, 2]), row(&[Some(b"\xff"), Some(b"\xff")]));
        assert_eq!(unreadable_row(&[]), [0, 0]);
    }

    proptest! {
        #[test]
        fn makes_every_value_of_any_row_valid(
            values in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..12)), 0..6),
        ) {
            let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
            let texts: Vec<Option<String>> =
                values.iter().map(|value| value.map(|value| String::from_utf8_lossy(value).into_owned())).collect();
            let expected: Vec<Option<&[u8]>> =
                texts.iter().map(|text| text.as_ref().map(|text| text.as_bytes())).collect();
            let sent = row(&values);
            prop_assert_eq!(readable_row(&sent), row(&expected));
        }

        #[test]
        fn leaves_a_body_that_is_no_row_unchanged(bytes in prop::collection::vec(0x80_u8.., 0..40)) {
            prop_assert_eq!(readable_row(&bytes), bytes.as_slice());
        }
    }
}
