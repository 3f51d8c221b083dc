//! ADD COLUMN.

use super::{
    super::effect::{LockMode, TableWork},
    column_type::ColumnType,
    draft::{EffectDraft, Reach, Target},
    functions::{KnownFunction, find_function},
    query::{call_parts, calls_in},
    script_state::ScriptState,
    tree::{SyntaxKind, SyntaxNode, find_child, find_within, has_within, plain_text, read_identifier},
    type_change::read_type,
};
use SyntaxKind as Kind;

/// The lowest `server_version_num` in which a generated column may be virtual; the default is then virtual.
const VIRTUAL_COLUMNS: u32 = 180_000;

/// Reads ADD COLUMN. Since PostgreSQL 11 a default that is the same for all rows is stored once; every other one is
/// written into all rows (`ATExecAddColumn` in tablecmds.c).
pub(super) fn read_add_column(
    subcommand: &SyntaxNode,
    target: &Target,
    draft: &mut EffectDraft,
    state: &mut ScriptState,
) {
    draft.lock_target(LockMode::AccessExclusive, target, Reach::Descendants);
    let new_type = read_type(subcommand);
    let has_values = read_values(subcommand, new_type.as_ref(), target, draft, state);
    read_constraints(subcommand, has_values, target, draft);
    if let Some(new_type) = new_type.filter(|new_type| !new_type.is_known()) {
        draft.add_reason(format!("all rows are written if the type {} is a domain with a constraint", new_type.text));
    }
    let column = find_child(subcommand, Kind::COLUMN_NAME).and_then(|column| read_identifier(&column));
    if let Some(column) = column {
        state.add_column(&target.name, column);
    }
}

/// The values of a new column in the rows that are already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NewValues {
    Null,
    /// Stored once for all rows.
    Same,
    /// Written into all rows.
    Written,
}

fn read_values(
    subcommand: &SyntaxNode,
    new_type: Option<&ColumnType>,
    target: &Target,
    draft: &mut EffectDraft,
    state: &ScriptState,
) -> NewValues {
    let values = if new_type.is_some_and(ColumnType::is_serial) || has_within(subcommand, Kind::GENERATED_IDENTITY) {
        NewValues::Written
    } else if let Some(generated) = find_within(subcommand, Kind::GENERATED_STORED) {
        match has_within(&generated, Kind::VIRTUAL)
            || (state.server_version >= VIRTUAL_COLUMNS && !has_within(&generated, Kind::STORED))
        {
            true => NewValues::Same,
            false => NewValues::Written,
        }
    } else {
        find_child(subcommand, Kind::DEFAULT_CONSTRAINT)
            .map_or(NewValues::Null, |default| read_default(&default, draft))
    };
    if values == NewValues::Written {
        draft.add_work(TableWork::Rewrite(target.name.clone()));
    }
    values
}

fn read_default(default: &SyntaxNode, draft: &mut EffectDraft) -> NewValues {
    if plain_text(default) == "default null" {
        return NewValues::Null;
    }
    let mut values = NewValues::Same;
    for parts in calls_in(default).filter_map(|call| call_parts(&call)) {
        match find_function(&parts) {
            Some(KnownFunction::Steady) => {}
            Some(KnownFunction::Volatile) => values = NewValues::Written,
            None => {
                draft.add_relief(format!("nothing is rewritten if the function {} is not volatile", parts.join(".")));
                values = NewValues::Written;
            }
        }
    }
    values
}

fn read_constraints(subcommand: &SyntaxNode, values: NewValues, target: &Target, draft: &mut EffectDraft) {
    let table = &target.name;
    for constraint in subcommand.children() {
        match constraint.kind() {
            Kind::NOT_NULL_CONSTRAINT if values == NewValues::Null => {
                draft.add_work(TableWork::Scan(table.clone()));
            }
            Kind::CHECK_CONSTRAINT if values != NewValues::Written => draft.add_work(TableWork::Scan(table.clone())),
            Kind::UNIQUE_CONSTRAINT | Kind::PRIMARY_KEY_CONSTRAINT | Kind::EXCLUDE_CONSTRAINT => {
                draft.add_work(TableWork::BuildIndex(table.clone()));
            }
            // Without values there is nothing to check (`transformFKConstraints` in parse_utilcmd.c).
            Kind::REFERENCES_CONSTRAINT => {
                if let Some(referenced) = draft.read_name(&constraint).filter(|referenced| referenced != table) {
                    draft.lock_named(LockMode::ShareRowExclusive, &referenced);
                    if values != NewValues::Null {
                        draft.add_work(TableWork::Scan(table.clone()));
                        draft.add_work(TableWork::Scan(referenced));
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::{effects_of, effects_on};

    fn work(column: &str) -> String {
        effects_of(&format!("ALTER TABLE ONLY t ADD COLUMN {column}")).replace("ACCESS EXCLUSIVE \"t\"", "")
    }

    #[test]
    fn a_default_that_is_the_same_for_all_rows_costs_nothing() {
        for column in [
            "n int",
            "n int DEFAULT 7 NOT NULL",
            "n timestamptz DEFAULT now()",
            "n text DEFAULT lower('A') || current_date",
            "n int DEFAULT NULL",
            "n numeric(3, 1) DEFAULT -1.5",
            "n jsonb DEFAULT '{}'::jsonb",
        ] {
            assert_eq!(work(column), "", "{column}");
        }
    }

    #[test]
    fn every_other_value_is_written_into_all_rows() {
        for column in [
            "n uuid DEFAULT gen_random_uuid()",
            "n timestamptz DEFAULT clock_timestamp()",
            "n serial",
            "n BIGSERIAL",
            "n int GENERATED BY DEFAULT AS IDENTITY",
            "n int GENERATED ALWAYS AS (a * 2) STORED",
            "n bigint DEFAULT nextval('s') UNIQUE",
        ] {
            assert!(work(column).contains("rewrite \"t\""), "{column}: {}", work(column));
        }
        assert_eq!(
            work("n int DEFAULT app.f()"),
            "; rewrite \"t\"; less: nothing is rewritten if the function app.f is not volatile"
        );
    }

    #[test]
    fn a_generated_column_is_virtual_since_postgresql_18() {
        let sql = "ALTER TABLE ONLY t ADD n int GENERATED ALWAYS AS (a * 2)";
        assert_eq!(effects_on(180_000, sql), "ACCESS EXCLUSIVE \"t\"");
        assert_eq!(effects_on(180_000, &format!("{sql} STORED")), "ACCESS EXCLUSIVE \"t\"; rewrite \"t\"");
    }

    #[test]
    fn constraints_of_the_column_are_checked() {
        assert_eq!(work("n int NOT NULL"), "; scan \"t\"");
        assert_eq!(work("n int CHECK (n > 0)"), "; scan \"t\"");
        assert_eq!(work("n int UNIQUE"), "; index on \"t\"");
        assert_eq!(work("n int REFERENCES u"), "; SHARE ROW EXCLUSIVE \"u\"");
        assert_eq!(work("n int DEFAULT 1 REFERENCES u"), "; SHARE ROW EXCLUSIVE \"u\"; scan \"t\"; scan \"u\"");
    }

    #[test]
    fn a_type_that_is_not_known_may_be_a_domain() {
        assert_eq!(
            work("n app.status"),
            "; more: all rows are written if the type app.status is a domain with a constraint"
        );
    }
}
