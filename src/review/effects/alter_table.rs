//! ALTER TABLE and its kin: the lock and the work of each subcommand, as in `AlterTableGetLockLevel` and `ATPrepCmd` of
//! PostgreSQL's tablecmds.c.

use super::{
    super::effect::{LockMode, LockedRelation, TableWork},
    added_column::read_add_column,
    constraint::{read_add_constraint, read_drop_constraint, read_validate_constraint},
    draft::{EffectDraft, Reach, Target},
    partition::{read_attach_partition, read_detach_partition, read_merge_partitions, read_split_partition},
    script_state::ScriptState,
    storage_options::options_lock,
    tree::{SyntaxKind, SyntaxNode, find_child, has_child, read_identifier},
    type_change::read_set_type,
};
use crate::review::effect::Destruction;
use LockMode::{AccessExclusive, ShareRowExclusive, ShareUpdateExclusive};
use Reach::{Descendants, Itself, Partitions};
use SyntaxKind as Kind;

/// The effect of a subcommand that is the same for all its forms.
type PlainSubcommand = (SyntaxKind, LockMode, Reach, Option<fn(crate::sql::QualifiedName) -> TableWork>);

/// A reader of a subcommand whose effect depends on its text.
type SubcommandReader = fn(&SyntaxNode, &Target, &mut EffectDraft, &mut ScriptState);

/// Subcommands of ALTER TABLE, ALTER VIEW, ALTER MATERIALIZED VIEW and ALTER FOREIGN TABLE.
const PLAIN_SUBCOMMANDS: &[PlainSubcommand] = &[
    (Kind::ALTER_CONSTRAINT, AccessExclusive, Partitions, None),
    (Kind::ALTER_OPTION_LIST, AccessExclusive, Itself, None),
    (Kind::CLUSTER_ON, ShareUpdateExclusive, Itself, None),
    (Kind::DEPENDS_ON_EXTENSION, AccessExclusive, Itself, None),
    (Kind::DISABLE_RLS, AccessExclusive, Itself, None),
    (Kind::DISABLE_RULE, AccessExclusive, Itself, None),
    (Kind::DISABLE_TRIGGER, ShareRowExclusive, Partitions, None),
    (Kind::ENABLE_ALWAYS_RULE, AccessExclusive, Itself, None),
    (Kind::ENABLE_ALWAYS_TRIGGER, ShareRowExclusive, Partitions, None),
    (Kind::ENABLE_REPLICA_RULE, AccessExclusive, Itself, None),
    (Kind::ENABLE_REPLICA_TRIGGER, ShareRowExclusive, Partitions, None),
    (Kind::ENABLE_RLS, AccessExclusive, Itself, None),
    (Kind::ENABLE_RULE, AccessExclusive, Itself, None),
    (Kind::ENABLE_TRIGGER, ShareRowExclusive, Partitions, None),
    (Kind::FORCE_RLS, AccessExclusive, Itself, None),
    (Kind::NO_DEPENDS_ON_EXTENSION, AccessExclusive, Itself, None),
    (Kind::NO_FORCE_RLS, AccessExclusive, Itself, None),
    (Kind::NOT_OF, AccessExclusive, Itself, None),
    (Kind::OF_TYPE, AccessExclusive, Itself, None),
    (Kind::OWNER_TO, AccessExclusive, Itself, None),
    (Kind::RENAME_COLUMN, AccessExclusive, Descendants, None),
    (Kind::RENAME_CONSTRAINT, AccessExclusive, Descendants, None),
    (Kind::REPLICA_IDENTITY, AccessExclusive, Itself, None),
    (Kind::SET_ACCESS_METHOD, AccessExclusive, Itself, Some(TableWork::Rewrite)),
    (Kind::SET_LOGGED, AccessExclusive, Itself, Some(TableWork::Rewrite)),
    (Kind::SET_SCHEMA, AccessExclusive, Itself, None),
    (Kind::SET_TABLESPACE, AccessExclusive, Itself, Some(TableWork::Rewrite)),
    (Kind::SET_UNLOGGED, AccessExclusive, Itself, Some(TableWork::Rewrite)),
    (Kind::SET_WITHOUT_CLUSTER, ShareUpdateExclusive, Itself, None),
    (Kind::SET_WITHOUT_OIDS, AccessExclusive, Itself, None),
    (Kind::TABLE_RENAME_TO, AccessExclusive, Itself, None),
    (Kind::VIEW_RENAME_TO, AccessExclusive, Itself, None),
];

/// Subcommands whose effect depends on their text.
const READERS: &[(SyntaxKind, SubcommandReader)] = &[
    (Kind::ADD_COLUMN, read_add_column),
    (Kind::ADD_CONSTRAINT, read_add_constraint),
    (Kind::ALTER_COLUMN, read_alter_column),
    (Kind::ALTER_VIEW_COLUMN, read_alter_column),
    (Kind::ATTACH_PARTITION, read_attach_partition),
    (Kind::DETACH_PARTITION, read_detach_partition),
    (Kind::DROP_COLUMN, read_drop_column),
    (Kind::DROP_CONSTRAINT, read_drop_constraint),
    (Kind::INHERIT_TABLE, read_inherit),
    (Kind::MERGE_PARTITIONS, read_merge_partitions),
    (Kind::NO_INHERIT_TABLE, read_no_inherit),
    (Kind::RESET_OPTIONS, read_options),
    (Kind::SET_OPTIONS, read_options),
    (Kind::SPLIT_PARTITION, read_split_partition),
    (Kind::VALIDATE_CONSTRAINT, read_validate_constraint),
];

/// Forms of ALTER COLUMN.
const COLUMN_FORMS: &[PlainSubcommand] = &[
    (Kind::ADD_GENERATED, AccessExclusive, Partitions, None),
    (Kind::DROP_DEFAULT, AccessExclusive, Descendants, None),
    (Kind::DROP_EXPRESSION, AccessExclusive, Descendants, None),
    (Kind::DROP_IDENTITY, AccessExclusive, Partitions, None),
    (Kind::DROP_NOT_NULL, AccessExclusive, Descendants, None),
    (Kind::RESET_OPTIONS, ShareUpdateExclusive, Itself, None),
    (Kind::RESTART, AccessExclusive, Partitions, None),
    (Kind::SET_COMPRESSION, AccessExclusive, Itself, None),
    (Kind::SET_DEFAULT, AccessExclusive, Descendants, None),
    (Kind::SET_EXPRESSION, AccessExclusive, Descendants, Some(TableWork::Rewrite)),
    (Kind::SET_GENERATED, AccessExclusive, Partitions, None),
    (Kind::SET_GENERATED_OPTIONS, AccessExclusive, Partitions, None),
    (Kind::SET_OPTIONS, ShareUpdateExclusive, Itself, None),
    (Kind::SET_OPTIONS_LIST, AccessExclusive, Itself, None),
    (Kind::SET_SEQUENCE_OPTION, AccessExclusive, Partitions, None),
    (Kind::SET_STATISTICS, ShareUpdateExclusive, Descendants, None),
    (Kind::SET_STORAGE, AccessExclusive, Descendants, None),
];

/// Reads ALTER TABLE, ALTER VIEW, ALTER MATERIALIZED VIEW or ALTER FOREIGN TABLE.
pub(super) fn read_alter_table(statement: &SyntaxNode, draft: &mut EffectDraft, state: &mut ScriptState) {
    if has_child(statement, Kind::ALL_IN_TABLESPACE) {
        return draft.add_reason("it moves and rewrites all tables of a tablespace");
    }
    let named = statement.children().find(|child| {
        matches!(child.kind(), Kind::TABLE_RELATION_NAME | Kind::RELATION_NAME | Kind::TABLE_NAME_REF | Kind::VIEW_REF)
    });
    let Some(target) = named.and_then(|named| draft.read_target(&named)) else { return };
    for subcommand in statement.children() {
        read_subcommand(&subcommand, &target, draft, state);
    }
    // A statement without a subcommand that we know locks in the strongest mode.
    if !statement.children().any(|child| is_subcommand(child.kind())) {
        draft.lock_target(AccessExclusive, &target, Descendants);
        draft.add_reason("its subcommand is not known");
    }
    draft.raise_locks_below(&target.name);
}

fn is_subcommand(kind: SyntaxKind) -> bool {
    PLAIN_SUBCOMMANDS.iter().any(|row| row.0 == kind) || READERS.iter().any(|row| row.0 == kind)
}

fn read_subcommand(subcommand: &SyntaxNode, target: &Target, draft: &mut EffectDraft, state: &mut ScriptState) {
    if let Some(row) = PLAIN_SUBCOMMANDS.iter().find(|row| row.0 == subcommand.kind()) {
        apply_row(row, target, draft);
    }
    if let Some((_, read)) = READERS.iter().find(|row| row.0 == subcommand.kind()) {
        read(subcommand, target, draft, state);
    }
}

fn apply_row((kind, mode, reach, work): &PlainSubcommand, target: &Target, draft: &mut EffectDraft) {
    draft.lock_target(*mode, target, *reach);
    if let Some(work) = work {
        draft.add_work(work(target.name.clone()));
        draft.add_relief(match kind {
            Kind::SET_EXPRESSION => "nothing is rewritten if the column is virtual",
            _ => "nothing is rewritten if the table is like that already",
        });
    }
}

fn read_alter_column(subcommand: &SyntaxNode, target: &Target, draft: &mut EffectDraft, state: &mut ScriptState) {
    if let Some(form) = find_child(subcommand, Kind::SET_TYPE) {
        return read_set_type(subcommand, &form, target, draft);
    }
    if has_child(subcommand, Kind::SET_NOT_NULL) {
        return read_set_not_null(subcommand, target, draft, state);
    }
    let row = subcommand.children().find_map(|form| COLUMN_FORMS.iter().find(|row| row.0 == form.kind()));
    match row {
        Some(row) => apply_row(row, target, draft),
        None => {
            draft.lock_target(AccessExclusive, target, Descendants);
            draft.add_reason("this form of ALTER COLUMN is not known");
        }
    }
}

/// Reads SET NOT NULL. A valid CHECK constraint spares the scan since PostgreSQL 12 (release notes, E.22.3.4).
fn read_set_not_null(subcommand: &SyntaxNode, target: &Target, draft: &mut EffectDraft, state: &mut ScriptState) {
    draft.lock_target(AccessExclusive, target, Descendants);
    let column = find_child(subcommand, Kind::COLUMN_NAME_REF).and_then(|column| read_identifier(&column));
    if column.is_some_and(|column| state.is_proven_not_null(&target.name, &column)) {
        return;
    }
    draft.add_work(TableWork::Scan(target.name.clone()));
    draft.add_relief("the scan is left out if the column is NOT NULL or a valid CHECK constraint excludes NULL");
}

/// Reads DROP COLUMN. Its foreign keys go with it, and their triggers on the tables to which they lead; with CASCADE,
/// also those of other tables, and views (`RemoveTriggerById` in trigger.c).
fn read_drop_column(subcommand: &SyntaxNode, target: &Target, draft: &mut EffectDraft, _: &mut ScriptState) {
    draft.lock_target(AccessExclusive, target, Descendants);
    let column = find_child(subcommand, Kind::COLUMN_NAME_REF).and_then(|column| read_identifier(&column));
    let Some(column) = column else { return draft.add_reason("the name of a column can't be read") };
    let table = target.name.clone();
    draft.lock(AccessExclusive, LockedRelation::ReferencedByColumn { table: table.clone(), column: column.clone() });
    if has_child(subcommand, Kind::CASCADE) {
        draft
            .lock(AccessExclusive, LockedRelation::ReferencesToColumn { table: table.clone(), column: column.clone() });
        draft.lock(AccessExclusive, LockedRelation::ViewsOn(table.clone()));
    }
    draft.add_destruction(Destruction::Column { table, column });
}

fn read_options(subcommand: &SyntaxNode, target: &Target, draft: &mut EffectDraft, _: &mut ScriptState) {
    draft.lock_target(options_lock(subcommand), target, Itself);
}

fn read_inherit(subcommand: &SyntaxNode, target: &Target, draft: &mut EffectDraft, _: &mut ScriptState) {
    draft.lock_target(AccessExclusive, target, Itself);
    if let Some(parent) = draft.read_name(subcommand) {
        draft.lock_named(ShareUpdateExclusive, &parent);
    }
}

fn read_no_inherit(subcommand: &SyntaxNode, target: &Target, draft: &mut EffectDraft, _: &mut ScriptState) {
    draft.lock_target(AccessExclusive, target, Itself);
    if let Some(parent) = draft.read_name(subcommand) {
        draft.lock_named(LockMode::AccessShare, &parent);
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::effects_of;

    #[test]
    fn the_strongest_subcommand_locks_the_table() {
        assert_eq!(
            effects_of("ALTER TABLE t ALTER a SET STATISTICS 5, SET (fillfactor = 70)"),
            "SHARE UPDATE EXCLUSIVE \"t\"; SHARE UPDATE EXCLUSIVE below \"t\""
        );
        assert_eq!(
            effects_of("ALTER TABLE t OWNER TO x, ADD FOREIGN KEY (a) REFERENCES u NOT VALID"),
            "ACCESS EXCLUSIVE \"t\"; ACCESS EXCLUSIVE partitions of \"t\"; SHARE ROW EXCLUSIVE \"u\"; \
             SHARE ROW EXCLUSIVE partitions of \"u\""
        );
        assert_eq!(effects_of("ALTER TABLE t SET (user_catalog_table = true)"), "ACCESS EXCLUSIVE \"t\"");
        assert_eq!(effects_of("ALTER TABLE IF EXISTS ONLY \"T x\" ALTER a SET DEFAULT 1"), "ACCESS EXCLUSIVE \"T x\"");
    }

    #[test]
    fn a_dropped_column_takes_its_foreign_keys_along() {
        assert_eq!(
            effects_of("ALTER TABLE ONLY s.t DROP a"),
            "ACCESS EXCLUSIVE \"s\".\"t\"; ACCESS EXCLUSIVE referenced by \"s\".\"t\".a; drops column \"s\".\"t\".a"
        );
    }

    #[test]
    fn a_change_of_type_is_the_worst_case_with_its_condition() {
        let effect = effects_of("ALTER TABLE ONLY t ALTER a TYPE varchar(10)");
        assert!(
            effect.contains("rewrite \"t\"; narrows \"t\".a to varchar(10); less: nothing is rewritten if"),
            "{effect}"
        );
        let effect = effects_of("ALTER TABLE ONLY t ALTER a TYPE bigint");
        assert!(effect.ends_with("rewrite \"t\""), "{effect}");
    }

    #[test]
    fn a_check_of_the_same_script_spares_the_scan_of_set_not_null() {
        let set = "ALTER TABLE ONLY t ALTER a SET NOT NULL";
        let add = "ALTER TABLE ONLY t ADD CONSTRAINT c CHECK (a IS NOT NULL) NOT VALID";
        let validate = "ALTER TABLE ONLY t VALIDATE CONSTRAINT c";
        let last = |script: &[&str]| effects_of(&script.join(";")).lines().last().map(ToOwned::to_owned);
        let scan = "ACCESS EXCLUSIVE \"t\"; scan \"t\"; less: the scan is left out if the column is NOT NULL or a valid \
                    CHECK constraint excludes NULL";
        assert_eq!(last(&[add, validate, set]).as_deref(), Some("ACCESS EXCLUSIVE \"t\""));
        assert_eq!(last(&[add, set]).as_deref(), Some(scan), "it is not valid");
        assert_eq!(last(&[add, validate, "ALTER TABLE t DROP CONSTRAINT c", set]).as_deref(), Some(scan));
        assert_eq!(last(&[&add.replace(" a ", " b ").replace("(a", "(b"), validate, set]).as_deref(), Some(scan));
    }
}
