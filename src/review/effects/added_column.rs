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
