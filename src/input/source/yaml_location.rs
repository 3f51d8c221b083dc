//! Positions of values in a YAML text. `serde_yaml` reports only the positions of errors, so each value is deserialized
//! as a type that always fails.

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_yaml::Value;
use std::fmt;

/// Returns line and column, 1-based, of the item with this index (from 0) in the list under these keys, or of the value
/// itself without an index. `None` if it does not exist, or comes from a merged anchor.
pub(crate) fn locate_item(text: &str, keys: &[&str], item: Option<usize>) -> Option<(usize, usize)> {
    let error = YamlPath { keys, item }.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    error.location().map(|location| (location.line(), location.column()))
}

/// The remaining path to a value.
#[derive(Clone, Copy)]
struct YamlPath<'a> {
    keys: &'a [&'a str],
    item: Option<usize>,
}

impl<'de> DeserializeSeed<'de> for YamlPath<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// The trait rejects everything that is not on the path; at its end, the visitor does.
impl<'de> Visitor<'de> for YamlPath<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the path to a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((key, keys)) = self.keys.split_first() else { return Err(A::Error::custom("here")) };
        while let Some(found) = map.next_key::<Value>()? {
            if found.as_str() == Some(key) {
                map.next_value_seed(YamlPath { keys, ..self })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some(item) = self.item.filter(|_| self.keys.is_empty()) else { return Err(A::Error::custom("here")) };
        for _ in 0..item {
            if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        list.next_element_seed(YamlPath { keys: &[], item: None })?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{option, prelude::*};

    const TEXT: &str = "\
# what is done
before:
  - run: one
    name: First
  - sql: two.sql

  - three
environments:
  dev: { after: [ { run: four }, { run: five } ], health: { run: six } }
  prod: { before: &b [ { run: seven } ] }
  uat:
    before: *b
";

    #[test]
    fn finds_each_item_where_it_begins() {
        let locate = |keys: &[&str], item| locate_item(TEXT, keys, Some(item));
        assert_eq!([0, 1, 2].map(|item| locate(&["before"], item)), [Some((3, 5)), Some((5, 5)), Some((7, 5))]);
        assert_eq!(locate(&["environments", "dev", "after"], 1).unwrap().0, 9);
        assert_eq!(locate_item(TEXT, &["environments", "dev", "health"], None).unwrap().0, 9);
        assert_eq!(locate_item(TEXT, &["before"], None), Some((3, 3)));
    }

    #[test]
    fn returns_none_for_values_that_do_not_exist() {
        for (keys, item) in [(&["after"][..], 0), (&["before"], 3), (&["environments", "none", "before"], 0)] {
            assert_eq!(locate_item(TEXT, keys, Some(item)), None, "{keys:?} {item}");
        }
        assert_eq!(locate_item("a: &a { b: [ c ] }\nd: { <<: *a }\n", &["d", "b"], Some(0)), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*", item in option::of(0_usize..3)) {
            let _place = locate_item(&text, &["a"], item);
        }
    }
}
