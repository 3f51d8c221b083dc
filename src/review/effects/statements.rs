//! The kinds of statements, and the reader of each.

use super::{
    alter_table::read_alter_table,
    attached::{
        read_alter_domain, read_alter_sequence, read_alter_type, read_attached, read_comment, read_publication,
    },
    change::read_truncate,
    copy::read_copy,
    create_table::{
        read_create_sequence, read_create_table, read_create_table_as, read_create_view, read_created_schema,
        read_select_into,
    },
    draft::EffectDraft,
    dropped::{
        read_drop_database, read_drop_other, read_drop_schema, read_drop_sequence, read_drop_statistics,
        read_drop_table, read_drop_type, read_drop_view,
    },
    index::{read_alter_index, read_create_index, read_drop_index, read_reindex},
    maintenance::{read_analyze, read_cluster, read_explain, read_lock, read_refresh, read_vacuum},
    query::{QueryUse, read_query},
    routine::read_routine,
    script_state::ScriptState,
    tree::{SyntaxKind, SyntaxNode},
};
use SyntaxKind as Kind;

/// A reader of a statement.
type StatementReader = fn(&SyntaxNode, &mut EffectDraft, &mut ScriptState);

/// Statements with an effect on relations.
const READERS: &[(SyntaxKind, StatementReader)] = &[
    (Kind::ALTER_DOMAIN, read_alter_domain),
    (Kind::ALTER_FOREIGN_TABLE, read_alter_table),
    (Kind::ALTER_INDEX, read_alter_index),
    (Kind::ALTER_MATERIALIZED_VIEW, read_alter_table),
    (Kind::ALTER_POLICY, read_attached),
    (Kind::ALTER_PUBLICATION, read_publication),
    (Kind::ALTER_RULE, read_attached),
    (Kind::ALTER_SEQUENCE, read_alter_sequence),
    (Kind::ALTER_TABLE, read_alter_table),
    (Kind::ALTER_TRIGGER, read_attached),
    (Kind::ALTER_TYPE, read_alter_type),
    (Kind::ALTER_VIEW, read_alter_table),
    (Kind::ANALYZE, read_analyze),
    (Kind::CLUSTER, read_cluster),
    (Kind::COMMENT_ON, read_comment),
    (Kind::COMPOUND_SELECT, read_executed),
    (Kind::COPY, read_copy),
    (Kind::CREATE_FOREIGN_TABLE, read_create_table),
    (Kind::CREATE_FUNCTION, read_routine),
    (Kind::CREATE_INDEX, read_create_index),
    (Kind::CREATE_MATERIALIZED_VIEW, read_create_table_as),
    (Kind::CREATE_POLICY, read_attached),
    (Kind::CREATE_PROCEDURE, read_routine),
    (Kind::CREATE_PUBLICATION, read_publication),
    (Kind::CREATE_RULE, read_attached),
    (Kind::CREATE_SCHEMA, read_create_schema),
    (Kind::CREATE_SEQUENCE, read_create_sequence),
    (Kind::CREATE_STATISTICS, read_attached),
    (Kind::CREATE_TABLE, read_create_table),
    (Kind::CREATE_TABLE_AS, read_create_table_as),
    (Kind::CREATE_TRIGGER, read_attached),
    (Kind::CREATE_VIEW, read_create_view),
    (Kind::DECLARE, read_cursor),
    (Kind::DELETE, read_executed),
    (Kind::DROP_ACCESS_METHOD, read_drop_other),
    (Kind::DROP_AGGREGATE, read_drop_other),
    (Kind::DROP_CAST, read_drop_other),
    (Kind::DROP_COLLATION, read_drop_other),
    (Kind::DROP_CONVERSION, read_drop_other),
    (Kind::DROP_DATABASE, read_drop_database),
    (Kind::DROP_DOMAIN, read_drop_type),
    (Kind::DROP_EVENT_TRIGGER, read_drop_other),
    (Kind::DROP_FOREIGN_DATA_WRAPPER, read_drop_other),
    (Kind::DROP_FOREIGN_TABLE, read_drop_table),
    (Kind::DROP_FUNCTION, read_drop_other),
    (Kind::DROP_INDEX, read_drop_index),
    (Kind::DROP_LANGUAGE, read_drop_other),
    (Kind::DROP_MATERIALIZED_VIEW, read_drop_view),
    (Kind::DROP_OPERATOR, read_drop_other),
    (Kind::DROP_OPERATOR_CLASS, read_drop_other),
    (Kind::DROP_OPERATOR_FAMILY, read_drop_other),
    (Kind::DROP_POLICY, read_attached),
    (Kind::DROP_PROCEDURE, read_drop_other),
    (Kind::DROP_PROPERTY_GRAPH, read_drop_other),
    (Kind::DROP_PUBLICATION, read_drop_other),
    (Kind::DROP_ROUTINE, read_drop_other),
    (Kind::DROP_RULE, read_attached),
    (Kind::DROP_SCHEMA, read_drop_schema),
    (Kind::DROP_SEQUENCE, read_drop_sequence),
    (Kind::DROP_SERVER, read_drop_other),
    (Kind::DROP_STATISTICS, read_drop_statistics),
    (Kind::DROP_SUBSCRIPTION, read_drop_other),
    (Kind::DROP_TABLE, read_drop_table),
    (Kind::DROP_TEXT_SEARCH_CONFIG, read_drop_other),
    (Kind::DROP_TEXT_SEARCH_DICT, read_drop_other),
    (Kind::DROP_TEXT_SEARCH_PARSER, read_drop_other),
    (Kind::DROP_TEXT_SEARCH_TEMPLATE, read_drop_other),
    (Kind::DROP_TRANSFORM, read_drop_other),
    (Kind::DROP_TRIGGER, read_attached),
    (Kind::DROP_TYPE, read_drop_type),
    (Kind::DROP_USER_MAPPING, read_drop_other),
    (Kind::DROP_VIEW, read_drop_view),
    (Kind::EXPLAIN, read_explain),
    (Kind::INSERT, read_executed),
    (Kind::LOCK, read_lock),
    (Kind::MERGE, read_executed),
    (Kind::PAREN_SELECT, read_executed),
    (Kind::PREPARE, read_stored),
    (Kind::REFRESH, read_refresh),
    (Kind::REINDEX, read_reindex),
    (Kind::REPACK, read_cluster),
    (Kind::SECURITY_LABEL, read_comment),
    (Kind::SELECT, read_executed),
    (Kind::SELECT_INTO, read_select_into),
    (Kind::TABLE, read_executed),
    (Kind::TRUNCATE, read_truncate),
    (Kind::UPDATE, read_executed),
    (Kind::VACUUM, read_vacuum),
    (Kind::VALUES, read_executed),
];

/// Statements whose effect their text does not show, with the reason.
const UNSHOWN: &[(SyntaxKind, &str)] = &[
    (Kind::ALTER_EXTENSION, "the script of an extension can do anything"),
    (Kind::ALTER_SUBSCRIPTION, "the tables of a subscription are those that the other server publishes"),
    (Kind::CALL, "it runs a procedure, whose code is not in the text"),
    (Kind::CREATE_EXTENSION, "the script of an extension can do anything"),
    (Kind::CREATE_SUBSCRIPTION, "the tables of a subscription are those that the other server publishes"),
    (Kind::DO, "it runs code, which can do anything"),
    (Kind::DROP_EXTENSION, "all objects of the extension are dropped"),
    (Kind::DROP_OWNED, "all objects of a role are dropped"),
    (Kind::EXECUTE, "it runs a prepared statement"),
    (Kind::IMPORT_FOREIGN_SCHEMA, "the tables are those of the other server"),
    (Kind::LOAD, "it loads code into the server"),
    (Kind::REASSIGN, "all objects of a role change their owner, each under an ACCESS EXCLUSIVE lock"),
];

/// Statements without an effect on a table, a view or an index.
const WITHOUT_EFFECT: &[SyntaxKind] = &[
    Kind::ALTER_AGGREGATE,
    Kind::ALTER_COLLATION,
    Kind::ALTER_CONVERSION,
    Kind::ALTER_DATABASE,
    Kind::ALTER_DEFAULT_PRIVILEGES,
    Kind::ALTER_EVENT_TRIGGER,
    Kind::ALTER_FOREIGN_DATA_WRAPPER,
    Kind::ALTER_FUNCTION,
    Kind::ALTER_GROUP,
    Kind::ALTER_LANGUAGE,
    Kind::ALTER_LARGE_OBJECT,
    Kind::ALTER_OPERATOR,
    Kind::ALTER_OPERATOR_CLASS,
    Kind::ALTER_OPERATOR_FAMILY,
    Kind::ALTER_PROCEDURE,
    Kind::ALTER_PROPERTY_GRAPH,
    Kind::ALTER_ROLE,
    Kind::ALTER_ROUTINE,
    Kind::ALTER_SCHEMA,
    Kind::ALTER_SERVER,
    Kind::ALTER_STATISTICS,
    Kind::ALTER_SYSTEM,
    Kind::ALTER_TABLESPACE,
    Kind::ALTER_TEXT_SEARCH_CONFIGURATION,
    Kind::ALTER_TEXT_SEARCH_DICTIONARY,
    Kind::ALTER_TEXT_SEARCH_PARSER,
    Kind::ALTER_TEXT_SEARCH_TEMPLATE,
    Kind::ALTER_USER,
    Kind::ALTER_USER_MAPPING,
    Kind::BEGIN,
    Kind::CHECKPOINT,
    Kind::CLOSE,
    Kind::COMMIT_PREPARED,
    Kind::COMMIT_TRANSACTION,
    Kind::CREATE_ACCESS_METHOD,
    Kind::CREATE_AGGREGATE,
    Kind::CREATE_CAST,
    Kind::CREATE_COLLATION,
    Kind::CREATE_CONVERSION,
    Kind::CREATE_DATABASE,
    Kind::CREATE_DOMAIN,
    Kind::CREATE_EVENT_TRIGGER,
    Kind::CREATE_FOREIGN_DATA_WRAPPER,
    Kind::CREATE_GROUP,
    Kind::CREATE_LANGUAGE,
    Kind::CREATE_OPERATOR,
    Kind::CREATE_OPERATOR_CLASS,
    Kind::CREATE_OPERATOR_FAMILY,
    Kind::CREATE_PROPERTY_GRAPH,
    Kind::CREATE_ROLE,
    Kind::CREATE_SERVER,
    Kind::CREATE_TABLESPACE,
    Kind::CREATE_TEXT_SEARCH_CONFIGURATION,
    Kind::CREATE_TEXT_SEARCH_DICTIONARY,
    Kind::CREATE_TEXT_SEARCH_PARSER,
    Kind::CREATE_TEXT_SEARCH_TEMPLATE,
    Kind::CREATE_TRANSFORM,
    Kind::CREATE_TYPE,
    Kind::CREATE_USER,
    Kind::CREATE_USER_MAPPING,
    Kind::DEALLOCATE,
    Kind::DISCARD,
    Kind::DROP_GROUP,
    Kind::DROP_ROLE,
    Kind::DROP_TABLESPACE,
    Kind::DROP_USER,
    Kind::EMPTY_STMT,
    Kind::FETCH,
    Kind::GRANT,
    Kind::LISTEN,
    Kind::MOVE,
    Kind::NOTIFY,
    Kind::PREPARE_TRANSACTION,
    Kind::RELEASE_SAVEPOINT,
    Kind::RESET,
    Kind::RESET_ROLE,
    Kind::RESET_SESSION_AUTH,
    Kind::REVOKE,
    Kind::ROLLBACK_PREPARED,
    Kind::ROLLBACK_TO_SAVEPOINT,
    Kind::ROLLBACK_TRANSACTION,
    Kind::SAVEPOINT_CREATE,
    Kind::SET,
    Kind::SET_CONSTRAINTS,
    Kind::SET_ROLE,
    Kind::SET_SESSION_AUTH,
    Kind::SET_TRANSACTION,
    Kind::SHOW,
    Kind::UNLISTEN,
];

/// Reads one statement of a tree.
pub(super) fn read_statement(statement: &SyntaxNode, draft: &mut EffectDraft, state: &mut ScriptState) {
    let kind = statement.kind();
    if let Some((_, read)) = READERS.iter().find(|row| row.0 == kind) {
        return read(statement, draft, state);
    }
    if let Some((_, reason)) = UNSHOWN.iter().find(|row| row.0 == kind) {
        return draft.add_reason(*reason);
    }
    if !WITHOUT_EFFECT.contains(&kind) {
        draft.add_reason("this kind of statement is not known");
    }
}

fn read_executed(statement: &SyntaxNode, draft: &mut EffectDraft, state: &mut ScriptState) {
    read_query(statement, QueryUse::Executed, draft, state);
}

fn read_cursor(statement: &SyntaxNode, draft: &mut EffectDraft, state: &mut ScriptState) {
    read_query(statement, QueryUse::Executed, draft, state);
    draft.add_relief("nothing is read before rows are fetched from the cursor");
}

fn read_stored(statement: &SyntaxNode, draft: &mut EffectDraft, state: &mut ScriptState) {
    read_query(statement, QueryUse::Stored, draft, state);
}

/// Reads CREATE SCHEMA, which may contain other CREATE statements: their objects are in this schema.
fn read_create_schema(statement: &SyntaxNode, draft: &mut EffectDraft, state: &mut ScriptState) {
    draft.ignore_search_path();
    for element in statement.children() {
        if let Some((_, read)) = READERS.iter().find(|row| row.0 == element.kind()) {
            read(&element, draft, state);
        }
    }
    match read_created_schema(statement) {
        Some(schema) => draft.add_schema(&schema),
        None if statement.children().any(|element| READERS.iter().any(|row| row.0 == element.kind())) => {
            draft.add_reason("the schema of its objects is not in the text");
        }
        None => {}
    }
}
