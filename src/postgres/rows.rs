//! The rows of a response, as text. The order of the columns is that of the query, which stands beside its parser.

use super::row_tag::RowTag;
use std::{array, str::FromStr};

/// The rows of all queries of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows(Vec<OwnedValues>);

/// The values of a row; `None` is NULL.
type OwnedValues = Vec<Option<String>>;

/// One row, or its columns behind the tag. A column that is NULL or missing has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'r>(&'r [Option<String>]);

impl Rows {
    /// Returns the rows of this kind, without their tag.
    pub fn tagged(&self, tag: RowTag) -> impl Iterator<Item = Row<'_>> {
        self.0.iter().filter_map(move |values| {
            let (first, columns) = values.split_first()?;
            (first.as_deref() == Some(tag.text())).then_some(Row(columns))
        })
    }

    /// Returns the values of the first column of the rows of this kind.
    pub fn texts_tagged(&self, tag: RowTag) -> impl Iterator<Item = String> {
        self.tagged(tag).filter_map(|row| row.text(0)).map(str::to_owned)
    }

    /// Returns a row by its position, for a message whose rows have no tag.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<Row<'_>> {
        self.0.get(index).map(|values| Row(values))
    }

    /// Returns the first value of the first row, for a query that returns one value.
    #[must_use]
    pub fn first_text(&self) -> Option<&str> {
        self.row(0)?.text(0)
    }

    /// Divides the rows at those of this kind: each section has the first column of the row that begins it. The first
    /// section has none.
    #[must_use]
    pub fn sections(&self, tag: RowTag) -> Vec<(Option<String>, Self)> {
        let mut sections = vec![(None, Self::default())];
        for values in &self.0 {
            match values.as_slice() {
                [Some(first), title, ..] if first == tag.text() => sections.push((title.clone(), Self::default())),
                _ => sections.last_mut().into_iter().for_each(|(_, rows)| rows.0.push(values.clone())),
            }
        }
        sections
    }

    /// Returns whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<OwnedValues> for Rows {
    fn from_iter<T: IntoIterator<Item = OwnedValues>>(rows: T) -> Self {
        Self(rows.into_iter().collect())
    }
}

impl<'r> Row<'r> {
    /// Returns all columns, to be named in the order of the query.
    #[must_use]
    pub fn columns<const COUNT: usize>(self) -> [Option<&'r str>; COUNT] {
        array::from_fn(|index| self.text(index))
    }

    /// Returns the number of columns.
    #[must_use]
    pub fn column_count(self) -> usize {
        self.0.len()
    }

    /// Returns the value of a column.
    #[must_use]
    pub fn text(self, index: usize) -> Option<&'r str> {
        self.0.get(index)?.as_deref()
    }

    /// Returns the value of a column, if it can be read as this type.
    #[must_use]
    pub fn parse<T: FromStr>(self, index: usize) -> Option<T> {
        self.text(index)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[Option<&str>]]) -> Rows {
        rows.iter().map(|row| row.iter().map(|text| text.map(str::to_owned)).collect()).collect()
    }

    #[test]
    fn a_parser_sees_only_the_rows_of_its_own_kind_without_the_tag() {
        let index = Some(RowTag::InvalidIndex.text());
        let rows = rows(&[&[index, Some("a")], &[Some("role"), Some("app")], &[], &[None], &[index, None], &[index]]);
        let columns: Vec<Option<&str>> = rows.tagged(RowTag::InvalidIndex).map(|row| row.text(0)).collect();
        assert_eq!(columns, [Some("a"), None, None]);
        assert_eq!(rows.texts_tagged(RowTag::InvalidIndex).collect::<Vec<_>>(), ["a"]);
        assert_eq!(rows.tagged(RowTag::Tenant).count(), 0);
    }

    #[test]
    fn rows_are_divided_at_those_of_a_kind() {
        let tenant = Some(RowTag::Tenant.text());
        let all = rows(&[&[Some("a")], &[tenant, Some("x")], &[tenant, Some("y")], &[Some("b")], &[None]]);
        let section = |title: Option<&str>, content: &[&[Option<&str>]]| (title.map(str::to_owned), rows(content));
        let expected =
            [section(None, &[&[Some("a")]]), section(Some("x"), &[]), section(Some("y"), &[&[Some("b")], &[None]])];
        assert_eq!(all.sections(RowTag::Tenant), expected);
    }

    #[test]
    fn a_column_that_is_null_or_missing_has_no_value() {
        let rows = rows(&[&[Some("7"), None, Some("x")]]);
        let row = rows.row(0).unwrap();
        assert_eq!(row.columns(), [Some("7"), None, Some("x"), None]);
        assert_eq!((row.parse(0), row.parse::<i32>(2), row.parse::<i32>(9)), (Some(7), None, None));
        assert_eq!((rows.first_text(), rows.row(1), Rows::default().first_text()), (Some("7"), None, None));
    }
}
