//! Objects that end with their session: temporary tables, prepared statements, cursors. A run that resumes a file
//! without a transaction has a new session and must create them again.

use super::{
    identifier::fold_identifier,
    lexer::{TokenKind, Tokens},
    phrase::{Part, Phrase},
};

/// An object that a statement creates in its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionObject {
    /// Its name as the catalog stores it.
    pub(crate) name: String,
    /// The source of its content.
    pub(crate) made_of: MadeOf,
}

/// The source of an object's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MadeOf {
    /// The statement's text alone, so that running it again creates the same object.
    Text,
    /// Rows of tables, or a position in them.
    Rows,
}

/// Returns the session object that this statement creates, if it does.
pub(crate) fn object_created_by(statement: &str) -> Option<SessionObject> {
    let mut phrase = Phrase::new(statement);
    let (name, content) = match phrase.eat_one_of(&["create", "prepare", "declare", "select", "with"])? {
        "create" => read_create(&mut phrase)?,
        "prepare" => (fold_identifier(phrase.next()?.text())?, MadeOf::Text),
        "declare" => {
            let name = fold_identifier(phrase.next()?.text())?;
            let mut rest = phrase.take_while(|part| !part.is_word("for")).skip_while(|part| !part.is_word("with"));
            rest.nth(1).filter(|part| part.is_word("hold"))?;
            (name, MadeOf::Rows)
        }
        _ => {
            phrase.by_ref().find(|part| part.is_word("into"))?;
            phrase.eat_one_of(&["local", "global"]);
            phrase.eat_one_of(&["temp", "temporary"])?;
            phrase.eat("table");
            (phrase.eat_name()?.name, MadeOf::Rows)
        }
    };
    Some(SessionObject { name, made_of: content })
}

/// Reads `CREATE [OR REPLACE] TEMP … name`, or `CREATE … pg_temp.name`.
fn read_create(phrase: &mut Phrase<'_>) -> Option<(String, MadeOf)> {
    phrase.eat_all(&["or", "replace"]);
    phrase.eat_one_of(&["local", "global"]);
    let temporary = phrase.eat_one_of(&["temp", "temporary"]).is_some();
    phrase.eat_one_of(&["recursive", "unlogged"]);
    let kinds = ["table", "sequence", "view", "function", "procedure", "type", "domain", "aggregate"];
    let made_of = match phrase.eat_one_of(&kinds)? {
        "table" | "sequence" => MadeOf::Rows,
        _ => MadeOf::Text,
    };
    phrase.eat_all(&["if", "not", "exists"]);
    let name = phrase.eat_name()?;
    (temporary || name.schema.as_deref() == Some("pg_temp")).then_some((name.name, made_of))
}

/// Reports whether the name occurs anywhere in this text, including strings and the bodies of blocks.
pub(crate) fn mentions_name(text: &str, name: &str) -> bool {
    Tokens::new(text).any(|token| match token.kind {
        TokenKind::Ident | TokenKind::QuotedIdent { .. } => {
            fold_identifier(token.span.slice_of(text)).is_some_and(|folded| folded == name)
        }
        TokenKind::Literal { .. } => token.span.slice_of(text).to_lowercase().contains(&name.to_lowercase()),
        _ => false,
    })
}

/// Reports whether the statement only discards an object, whose content then does not matter.
pub(crate) fn only_discards(statement: &str) -> bool {
    let first = Phrase::new(statement).next();
    first.is_some_and(|part: Part<'_>| ["drop", "deallocate", "close"].iter().any(|word| part.is_word(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_objects_that_live_as_long_as_the_session() {
        for (statement, name, made_of) in [
            ("CREATE TEMP TABLE todo AS SELECT 1;", "todo", MadeOf::Rows),
            ("create /* x */ local temporary table if not exists \"To do\" (id int)", "To do", MadeOf::Rows),
            ("CREATE UNLOGGED TABLE pg_temp.todo (id int)", "todo", MadeOf::Rows),
            ("CREATE TEMPORARY SEQUENCE s", "s", MadeOf::Rows),
            ("CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "v", MadeOf::Text),
            ("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "f", MadeOf::Text),
            ("PREPARE p (int) AS SELECT $1", "p", MadeOf::Text),
            ("DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT 1", "c", MadeOf::Rows),
            ("SELECT a, b INTO TEMP todo FROM t", "todo", MadeOf::Rows),
            ("WITH x AS (SELECT 1) SELECT * INTO TEMPORARY TABLE todo FROM x", "todo", MadeOf::Rows),
        ] {
            assert_eq!(
                object_created_by(statement),
                Some(SessionObject { name: name.to_owned(), made_of }),
                "{statement}"
            );
        }
    }

    #[test]
    fn ignores_permanent_objects() {
        for statement in [
            "CREATE TABLE temp (id int)",
            "CREATE TABLE t AS SELECT * FROM pg_temp.todo",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT pg_temp.f()'",
            "SELECT a INTO t FROM temp",
            "SELECT 1 FROM into_temp",
            "DECLARE c CURSOR FOR SELECT 1 AS with_hold",
            "CREATE INDEX CONCURRENTLY i ON t (x)",
            "",
        ] {
            assert_eq!(object_created_by(statement), None, "{statement}");
        }
    }

    #[test]
    fn finds_a_name_in_names_strings_and_bodies() {
        for text in
            ["SELECT * FROM Todo", "SELECT \"todo\".id", "DO $$ BEGIN DELETE FROM todo; END $$", "EXECUTE 'x TODO'"]
        {
            assert!(mentions_name(text, "todo"), "{text}");
        }
        for text in ["SELECT * FROM todos", "SELECT 1 -- todo", "SELECT \"Todo\""] {
            assert!(!mentions_name(text, "todo"), "{text}");
        }
        assert!(only_discards("DROP TABLE todo") && !only_discards("DELETE FROM todo"));
    }
}
