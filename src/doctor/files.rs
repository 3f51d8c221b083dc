//! The findings about the files: the migrations, their layout, the file with the schema.

use super::wording::count_of;
use crate::{
    executor::SchemaFileWork,
    fault::Fault,
    migrate::{self, MigrationFiles},
    run::{Check, DoctorFinding, blocking::run_blocking},
    settings::{ExecutorSettings, Settings},
};

/// The files of a run, and the findings about them.
#[derive(Debug, Default)]
pub(super) struct ReadFiles {
    /// The migrations; `None` if they can't be read, or if a tool reads its own.
    pub(super) migrations: Option<MigrationFiles>,
    pub(super) findings: Vec<DoctorFinding>,
}

/// Reads all files of the run.
pub(super) async fn read_files(settings: &Settings) -> ReadFiles {
    let mut read = ReadFiles::default();
    if settings.executor == ExecutorSettings::Sql {
        let sql = settings.sql.clone();
        match run_blocking(move || migrate::read_directory(&sql)).await {
            Ok(files) => {
                read.findings = describe_files(settings, &files);
                read.migrations = Some(files);
            }
            Err(faults) => read.findings = all_failed(Check::Files, faults),
        }
    }
    if settings.schema_file.is_some() {
        match SchemaFileWork::read(settings) {
            Ok(_) => read.findings.push(DoctorFinding::good(Check::SchemaFile, "it can be read")),
            Err(faults) => read.findings.extend(all_failed(Check::SchemaFile, faults)),
        }
    }
    read
}

fn all_failed(check: Check, faults: Vec<Fault>) -> Vec<DoctorFinding> {
    faults.into_iter().map(|fault| DoctorFinding::failed(check, fault)).collect()
}

fn describe_files(settings: &Settings, files: &MigrationFiles) -> Vec<DoctorFinding> {
    let names: Vec<&str> = files.candidates().iter().map(|layout| layout.name()).collect();
    let layout = match (names.as_slice(), files.application()) {
        ([one], None) => format!("in the layout {one}"),
        ([one], Some(application)) => format!("in the layout {one}: beside them is `{}`", application.file),
        (several, _) => format!("in one of the layouts {}: the ledger decides", several.join(", ")),
    };
    let directories: Vec<String> = settings.sql.locations().map(|(shown, _)| format!("`{shown}`")).collect();
    let detail = format!("{} in {}, {layout}", count_of(files.count(), "migration"), directories.join(", "));
    let warnings = files.warnings().iter().map(|warning| DoctorFinding::warning_of(Check::Files, warning.clone()));
    [DoctorFinding::good(Check::Files, detail)].into_iter().chain(warnings).collect()
}
