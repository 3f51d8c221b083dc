//! The forms of a session's statements: in a loop the form of the last one is that of the next, which is seen without reading it
//! token by token.

use crate::sql::statement_form;
use std::sync::Arc;

/// The form of the last statement of a session.
#[derive(Debug, Default)]
pub(super) struct LoopForm {
    /// The last statement without its constants; empty if it has to be read token by token.
    skeleton: Vec<u8>,
    form: Arc<str>,
}

impl LoopForm {
    /// Returns the form of a statement.
    pub(super) fn of(&mut self, text: &str) -> Arc<str> {
        let skeleton = skeleton_of(text);
        if skeleton.is_empty() || skeleton != self.skeleton {
            (self.form, self.skeleton) = (statement_form(text).into(), skeleton);
        }
        Arc::clone(&self.form)
    }
}

/// The part of a statement that a byte is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Space,
    Word,
    Number,
    Constant,
    Name,
}

/// Returns a statement without its quoted constants and its numbers; empty if it has signs by which a quotation mark or a digit
/// may mean something else: comments, dollar quotes and escapes.
fn skeleton_of(text: &str) -> Vec<u8> {
    let (mut skeleton, mut within, mut last) = (Vec::with_capacity(text.len()), Within::Space, b' ');
    for byte in text.bytes() {
        let is_difficult = byte == b'\\'
            || matches!((last, byte), (b'-', b'-') | (b'/', b'*'))
            || (last == b'$' && !byte.is_ascii_digit());
        if is_difficult {
            return Vec::new();
        }
        last = byte;
        within = match (within, byte) {
            (Within::Constant, b'\'') | (Within::Name, b'"') => Within::Space,
            (Within::Constant, _) | (Within::Number, b'0'..=b'9') => continue,
            (Within::Name, _) => Within::Name,
            (_, b'\'') => Within::Constant,
            (_, b'"') => Within::Name,
            (Within::Space, b'0'..=b'9') => Within::Number,
            (_, byte) if byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii() => Within::Word,
            _ => Within::Space,
        };
        skeleton.push(if within == Within::Number { b'0' } else { byte });
    }
    skeleton
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_statements_of_a_loop_have_one_skeleton() {
        let skeleton = |text: &str| String::from_utf8(skeleton_of(text)).expect("it was text");
        assert_eq!(skeleton("insert into t1 values (17, 'it''s', 1.5)"), "insert into t1 values (0, '''', 0.0)");
        for text in ["select 1 -- don't", "select /* 1 */ 2", "do $$ begin end $$", r"select E'\''"] {
            assert_eq!(skeleton(text), "", "{text}");
        }
        assert_ne!(skeleton("update t01 set a = 1"), skeleton("update t02 set a = 1"));
        assert_ne!(skeleton("update \"o'1\" set a = 1"), skeleton("update \"o'2\" set a = 1"));
    }

    proptest! {
        #[test]
        fn a_form_is_the_same_in_a_loop(
            first in r#"(insert|x|t1|'|"|[0-9]|\$|-|/|\*| |,|\.|\(|e){0,8}"#,
            second in r#"(insert|x|t1|'|"|[0-9]|\$|-|/|\*| |,|\.|\(|e){0,8}"#,
            numbers in prop::collection::vec(any::<u32>(), 2),
        ) {
            let mut form = LoopForm::default();
            form.of(&first);
            prop_assert_eq!(form.of(&second).to_string(), statement_form(&second));
            let again: Vec<String> = numbers.iter().map(|number| format!("{first} {number} '{number}'")).collect();
            for text in &again {
                prop_assert_eq!(form.of(text).to_string(), statement_form(text));
            }
        }
    }
}
