//! The findings about the health of the database. Pure functions.

use super::wording::{count_of, format_bytes, list_names};
use crate::{
    fault::{Code, Fault},
    postgres::{ConnectionUse, IdleSlot, SequenceUse, ServerHealth, SessionTimeout, quote_identifier, quote_literal},
    run::{Check, DoctorFinding},
    settings::{ExecutorSettings, Site},
};

/// Number of free connections that a run may need: its own, the monitor's, those of a tool.
const NEEDED_CONNECTIONS: i64 = 5;

/// Returns the findings. `invalid_indexes` are the names as SQL; `database` is its name.
pub(super) fn judge_health(
    health: &ServerHealth,
    invalid_indexes: &[String],
    (executor, database): (&ExecutorSettings, &str),
) -> Vec<DoctorFinding> {
    let role = format!("{} IN DATABASE {}", quote_identifier(&health.rights.role), quote_identifier(database));
    let size = health.size.map_or_else(|| "unknown".to_owned(), format_bytes);
    vec![
        judge_timeouts(&health.timeouts, executor, &role),
        judge_connections(health.connections),
        judge_event_triggers(&health.event_triggers),
        judge_indexes(invalid_indexes),
        judge_constraints(&health.unvalidated),
        judge_slots(&health.idle_slots),
        DoctorFinding::good(Check::Size, format!("{size}; SQL does not show the free space of the server's disk")),
    ]
}

/// Our own sessions replace these limits, and so does the proxy in front of a tool for the time of statements.
fn judge_timeouts(timeouts: &[SessionTimeout], executor: &ExecutorSettings, role: &str) -> DoctorFinding {
    let shown: Vec<String> =
        timeouts.iter().map(|timeout| format!("{} = {} ms", timeout.name, timeout.millis)).collect();
    let counts = |timeout: &&SessionTimeout| match executor {
        ExecutorSettings::Sql => false,
        ExecutorSettings::Tool(tool) => timeout.name != "statement_timeout" || tool.site == Site::Server,
    };
    match (timeouts.iter().find(counts), shown.is_empty()) {
        (None, true) => DoctorFinding::good(Check::Timeouts, "the database sets none"),
        (None, false) => {
            DoctorFinding::good(Check::Timeouts, format!("{}; the run's own replace them", shown.join(", ")))
        }
        (Some(first), _) => DoctorFinding::warning(
            Check::Timeouts,
            format!("{}: it can end the tool's sessions in the middle of a migration", shown.join(", ")),
            format!("turn it off for the role that migrates: `ALTER ROLE {role} SET {} = 0`", first.name),
        ),
    }
}

fn judge_connections(used: ConnectionUse) -> DoctorFinding {
    let limits = [
        ("the server", used.server, "raise `max_connections`"),
        ("the role", used.role, "raise its limit (`ALTER ROLE … CONNECTION LIMIT`)"),
        ("the database", used.database, "raise its limit (`ALTER DATABASE … CONNECTION LIMIT`)"),
    ];
    let limits = limits.into_iter().filter(|(_, (_, limit), _)| *limit >= 0);
    let tightest = limits.min_by_key(|(_, (count, limit), _)| limit - count);
    let Some((owner, (count, limit), raise)) = tightest else {
        return DoctorFinding::good(Check::Connections, "there is no limit");
    };
    let detail = format!("{owner} has {count} of {limit} connections in use");
    match limit - count {
        ..NEEDED_CONNECTIONS => DoctorFinding::warning(
            Check::Connections,
            format!("{detail}, and a run may need {NEEDED_CONNECTIONS}"),
            format!("end idle sessions (see `pg_stat_activity`), or {raise}"),
        ),
        _ => DoctorFinding::good(Check::Connections, detail),
    }
}

fn judge_event_triggers(triggers: &[String]) -> DoctorFinding {
    if triggers.is_empty() {
        return DoctorFinding::good(Check::EventTriggers, "none");
    }
    DoctorFinding::warning(
        Check::EventTriggers,
        format!(
            "{} run with every change of the schema: {}",
            count_of(triggers.len(), "event trigger"),
            list_names(triggers.iter().map(String::as_str))
        ),
        "see that their functions let migrations pass and are quick; `ALTER EVENT TRIGGER … DISABLE` turns one off",
    )
}

fn judge_indexes(invalid: &[String]) -> DoctorFinding {
    if invalid.is_empty() {
        return DoctorFinding::good(Check::Indexes, "none is INVALID");
    }
    let names = list_names(invalid.iter().map(String::as_str));
    let cause = match invalid.len() {
        1 => format!("1 index is INVALID: {names}"),
        several => format!("{several} indexes are INVALID: {names}"),
    };
    let fault = Fault::new(Code::VerifyIndex, cause);
    DoctorFinding::warning_of(Check::Indexes, fault)
}

fn judge_constraints(unvalidated: &[(String, String)]) -> DoctorFinding {
    let Some((table, name)) = unvalidated.first() else {
        return DoctorFinding::good(Check::Constraints, "none is NOT VALID");
    };
    let names: Vec<String> = unvalidated.iter().map(|(table, name)| format!("{name} on {table}")).collect();
    DoctorFinding::warning(
        Check::Constraints,
        format!("NOT VALID: {}", list_names(names.iter().map(String::as_str))),
        format!("correct the rows that violate it, then `ALTER TABLE {table} VALIDATE CONSTRAINT {name}`"),
    )
}

/// Judges the sequences near their end, or why they could not be read.
pub(super) fn judge_sequences(sequences: &Result<Vec<SequenceUse>, Fault>) -> DoctorFinding {
    let sequences = match sequences {
        Ok(sequences) => sequences,
        Err(fault) => return DoctorFinding::not_checked(Check::Sequences, fault.cause.clone()),
    };
    let Some(first) = sequences.first() else {
        return DoctorFinding::good(Check::Sequences, "none has used more than 80 % of its numbers");
    };
    let used: Vec<String> =
        sequences.iter().map(|sequence| format!("{} ({} %)", sequence.name, sequence.percent)).collect();
    let fix = match first.column.as_str() {
        "" => format!("raise its end: `ALTER SEQUENCE {} AS bigint NO MAXVALUE`", first.name),
        column => format!(
            "make `{column}` and the columns that refer to it bigint, and its sequence, too: \
             `ALTER SEQUENCE {} AS bigint NO MAXVALUE`",
            first.name
        ),
    };
    DoctorFinding::warning(
        Check::Sequences,
        format!("near the end of their numbers: {}", list_names(used.iter().map(String::as_str))),
        fix,
    )
}

fn judge_slots(idle: &[IdleSlot]) -> DoctorFinding {
    let Some(first) = idle.first() else {
        return DoctorFinding::good(Check::ReplicationSlots, "none is without a reader");
    };
    let slots: Vec<String> =
        idle.iter().map(|slot| format!("{} ({} of WAL)", slot.name, format_bytes(slot.retained))).collect();
    DoctorFinding::warning(
        Check::ReplicationSlots,
        format!(
            "without a reader, and a migration's WAL stays on the disk for them: {}",
            list_names(slots.iter().map(String::as_str))
        ),
        format!(
            "start the reader again; if there is none any more: `SELECT pg_drop_replication_slot({})`",
            quote_literal(&first.name).trim()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_limit_of_connections_counts() {
        let used = ConnectionUse { server: (50, 97), role: (2, 4), database: (1, -1) };
        let finding = judge_connections(used);
        assert_eq!(finding.detail(), "the role has 2 of 4 connections in use, and a run may need 5");
        assert!(finding.fix().unwrap().ends_with("(`ALTER ROLE … CONNECTION LIMIT`)"), "{finding:?}");
        let roomy = judge_connections(ConnectionUse { role: (2, -1), ..used });
        assert_eq!((roomy.state.name(), roomy.detail()), ("good", "the server has 50 of 97 connections in use"));
    }

    #[test]
    fn one_index_is_and_two_indexes_are_invalid() {
        let detail = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            judge_indexes(&names).detail().to_owned()
        };
        assert_eq!(detail(&["a.i"]), "1 index is INVALID: `a.i`");
        assert_eq!(detail(&["a.i", "a.j"]), "2 indexes are INVALID: `a.i`, `a.j`");
    }
}
