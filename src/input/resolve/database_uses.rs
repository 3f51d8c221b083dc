//! What a run without a database can't do: only the deployment server knows it.

use crate::{
    fault::{Code, Fault},
    input::{names::InputName, scope_table::scope_of, source::Inputs},
    postgres::StartConditions,
    settings::{BackupSettings, Command, RiskSettings, SchemaFileSettings, Step},
};

/// The parts of a run that use the database.
pub(super) struct DatabaseUses<'a> {
    pub(super) command: Option<Command>,
    /// The first step that is SQL.
    pub(super) sql_step: Option<&'a Step>,
    pub(super) start_when: Option<&'a StartConditions>,
    pub(super) expects_rehearsal: bool,
    pub(super) has_aftercare: bool,
    pub(super) backup: Option<&'a BackupSettings>,
    pub(super) schema_file: Option<&'a SchemaFileSettings>,
}

impl DatabaseUses<'_> {
    /// Returns the fault of each of them, for a run that has no database.
    pub(super) fn faults(&self, inputs: &Inputs) -> Vec<Fault> {
        let label = |name: InputName| inputs.label(name);
        let dumps = matches!(self.backup, Some(BackupSettings::Dump(_)));
        let causes = [
            self.sql_step.map(|step| format!("the step `{}` is SQL", step.name)),
            self.start_when.map(|_| "`start-when` asks the database".to_owned()),
            self.expects_rehearsal.then(|| "`expect-rehearsal` is compared with the schema of the database".to_owned()),
            (self.command == Some(Command::History))
                .then(|| "`command: history` reads the runs from the database".to_owned()),
            (self.command == Some(Command::Rehearse))
                .then(|| "`command: rehearse` copies the schema of the database".to_owned()),
            self.has_aftercare.then(|| format!("{} looks after the database", label(InputName::Aftercare))),
            dumps.then(|| format!("{} dumps the database", label(InputName::Backup))),
            self.schema_file.map(|_| format!("{} is compared with the database", label(InputName::SchemaFile))),
        ];
        let fault = |cause: String| {
            inputs.missing_fault(format!("{cause}, and no database is given"), &[InputName::DatabaseUrl])
        };
        causes.into_iter().flatten().map(fault).collect()
    }
}

/// Returns the fault of a risk that can't be found, because only the deployment server knows the database.
pub(super) fn risk_without_database(inputs: &Inputs, command: Option<Command>) -> Option<Fault> {
    let risk = inputs.parsed_steps().risk.as_ref()?;
    let is_weighed = command.is_some_and(|command| scope_of(InputName::Risk).0.includes(command));
    // The age of a plan is known without its tables.
    let only_expires = RiskSettings { plan_max_age: risk.plan_max_age, ..RiskSettings::default() };
    if !is_weighed || risk.plan_max_age.is_some() && *risk == only_expires {
        return None;
    }
    let cause = format!(
        "{} has no effect: a plan is weighed by the tables that it changes, and no database is given",
        inputs.label(InputName::Risk)
    );
    Some(Fault::new(Code::InputInvalid, cause).fix("set `database-url`, as seen from the server, or remove `risk`"))
}
