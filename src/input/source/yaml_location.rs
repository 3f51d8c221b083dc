//! Where in a YAML text the items of a list stand. `serde_yaml` tells the place of an error and of nothing else, so each item is
//! asked for as something that no value is.

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_yaml::Value;
use std::fmt;

/// Line and column, 1-based, of the item with this index (from 0) in the list under these keys, or of the value itself if no
/// index is asked for. Nothing if it is not there, or comes from a merged anchor.
pub(crate) fn locate(text: &str, keys: &[&str], item: Option<usize>) -> Option<(usize, usize)> {
    let error = Way { keys, item }.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    error.location().map(|location| (location.line(), location.column()))
}

/// The rest of the way to a value.
#[derive(Clone, Copy)]
struct Way<'a> {
    keys: &'a [&'a str],
    item: Option<usize>,
}

impl<'de> DeserializeSeed<'de> for Way<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// What is not on the way is refused by the trait itself; at the end of the way that is everything.
impl<'de> Visitor<'de> for Way<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the way to a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((key, keys)) = self.keys.split_first() else { return Err(A::Error::custom("here")) };
        while let Some(found) = map.next_key::<Value>()? {
            if found.as_str() == Some(key) {
                map.next_value_seed(Way { keys, ..self })?;
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
        list.next_element_seed(Way { keys: &[], item: None })?;
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
        let at = |keys: &[&str], item| locate(TEXT, keys, Some(item));
        assert_eq!([0, 1, 2].map(|item| at(&["before"], item)), [Some((3, 5)), Some((5, 5)), Some((7, 5))]);
        assert_eq!(at(&["environments", "dev", "after"], 1).unwrap().0, 9);
        assert_eq!(locate(TEXT, &["environments", "dev", "health"], None).unwrap().0, 9);
        assert_eq!(locate(TEXT, &["before"], None), Some((3, 3)));
    }

    #[test]
    fn of_what_is_not_there_it_knows_nothing() {
        for (keys, item) in [(&["after"][..], 0), (&["before"], 3), (&["environments", "none", "before"], 0)] {
            assert_eq!(locate(TEXT, keys, Some(item)), None, "{keys:?} {item}");
        }
        assert_eq!(locate("a: &a { b: [ c ] }\nd: { <<: *a }\n", &["d", "b"], Some(0)), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*", item in option::of(0_usize..3)) {
            let _place = locate(&text, &["a"], item);
        }
    }
}
