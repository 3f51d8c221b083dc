//! The findings about the ledger and about those of other tools. Pure functions.

use super::wording::list_names;
use crate::{
    fault::Fault,
    layout::Table,
    ledger::{
        LedgerChoice, LedgerHints, Survey,
        known_tools::{self, ToolLedger},
    },
    migrate::MigrationFiles,
    postgres::Rows,
    run::{Check, DoctorFinding},
    settings::{ExecutorSettings, Settings, ToolSettings},
    tool::LedgerCount,
};

const OTHER_LEDGERS_FIX: &str = "let one tool alone migrate a schema; if the other one is no longer used, keep its table as a record under another name";

/// The ledger that the run will use, as far as settings and files show it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LedgerExpectation<'a> {
    /// The input `ledger-table`.
    pub(super) table: Option<&'a str>,
    /// The table of a ledger that is taken over.
    pub(super) source_table: Option<&'a str>,
    owner: LedgerOwner<'a>,
}

/// The program that writes the ledger.
#[derive(Debug, Clone, Copy)]
enum LedgerOwner<'a> {
    /// This program, by the layout of these files.
    Files(&'a MigrationFiles),
    /// This program; the files can't be read.
    UnreadFiles,
    /// This program, in the schema of each tenant.
    Tenants,
    /// The app's own tool.
    Tool(&'a ToolSettings),
}

impl<'a> LedgerExpectation<'a> {
    /// Collects what is known; `files` are those of a run that applies files.
    pub(super) fn new(settings: &'a Settings, files: Option<&'a MigrationFiles>) -> Self {
        let sql = &settings.sql;
        let owner = match (&settings.executor, files) {
            (ExecutorSettings::Tool(tool), _) => LedgerOwner::Tool(tool),
            (ExecutorSettings::Sql, _) if sql.tenants.is_some() => LedgerOwner::Tenants,
            (ExecutorSettings::Sql, Some(files)) => LedgerOwner::Files(files),
            (ExecutorSettings::Sql, None) => LedgerOwner::UnreadFiles,
        };
        let source_table = sql.from.as_ref().and_then(|source| source.table.as_deref());
        Self { table: sql.ledger_table.as_deref(), source_table, owner }
    }

    /// Returns whether each of several schemas has a ledger of its own.
    pub(super) fn is_of_each_schema(&self) -> bool {
        match self.owner {
            LedgerOwner::Tenants => true,
            LedgerOwner::Tool(tool) => tool.recipe.ledgers == LedgerCount::EachSchema,
            LedgerOwner::Files(_) | LedgerOwner::UnreadFiles => false,
        }
    }

    /// Returns the schema that has to be created for the ledger of files, if there is one.
    pub(super) fn missing_schema(&self, survey: &Survey) -> Option<String> {
        let LedgerOwner::Files(files) = self.owner else { return None };
        let ledger = self.choose(survey, files).ok()?.ledger;
        (!ledger.exists && !ledger.schema_exists).then_some(ledger.table.schema)
    }

    /// Returns the table of the ledger, if there is one that can be used.
    pub(super) fn standing_table(&self, survey: &Survey, rows: &Rows) -> Option<Table> {
        match self.owner {
            LedgerOwner::Files(files) => {
                let ledger = self.choose(survey, files).ok()?.ledger;
                ledger.exists.then_some(ledger.table)
            }
            LedgerOwner::Tool(tool) => Some(tool_ledgers(tool, rows).ok()?.first()?.table.clone()),
            LedgerOwner::UnreadFiles | LedgerOwner::Tenants => None,
        }
    }

    fn choose(&self, survey: &Survey, files: &MigrationFiles) -> Result<LedgerChoice, Fault> {
        let hints = LedgerHints { layouts: files.candidates(), table: self.table, application: files.application() };
        survey.choose_ledger(&hints)
    }

    /// Judges the run's ledger and the others.
    pub(super) fn judge(&self, survey: &Survey, rows: &Rows) -> Vec<DoctorFinding> {
        let all = known_tools::parse_ledgers(rows, None).map(|found| found.ledgers).unwrap_or_default();
        match self.owner {
            LedgerOwner::Files(files) => match self.choose(survey, files) {
                Ok(choice) => vec![describe_choice(&choice), judge_others(&choice.other_ledgers)],
                Err(fault) => vec![DoctorFinding::failed(Check::Ledger, fault)],
            },
            LedgerOwner::UnreadFiles => vec![
                DoctorFinding::not_checked(Check::Ledger, "it needs the migration files"),
                DoctorFinding::good(Check::OtherLedgers, format!("found: {}", name_ledgers(&all))),
            ],
            LedgerOwner::Tenants => {
                vec![DoctorFinding::good(Check::Ledger, "each tenant has its own: see the plan")]
            }
            LedgerOwner::Tool(tool) => match tool_ledgers(tool, rows) {
                Ok(own) => {
                    let others: Vec<ToolLedger> =
                        all.into_iter().filter(|other| own.iter().all(|own| own.table != other.table)).collect();
                    vec![describe_tool_ledgers(&own), judge_others(&others)]
                }
                Err(fault) => vec![DoctorFinding::failed(Check::Ledger, fault)],
            },
        }
    }
}

fn tool_ledgers(tool: &ToolSettings, rows: &Rows) -> Result<Vec<ToolLedger>, Fault> {
    known_tools::parse_ledgers(rows, tool.recipe.ledger.as_deref()).map(|found| found.ledgers)
}

fn describe_choice(choice: &LedgerChoice) -> DoctorFinding {
    if let Some(fault) = &choice.ambiguity {
        return DoctorFinding::failed(Check::Ledger, fault.clone());
    }
    let (ledger, reason) = (&choice.ledger, &choice.reason);
    let layout = ledger.layout.name();
    let detail = match ledger.exists {
        true => format!("`{}`, in the layout {layout}: {reason}", ledger.table),
        false => format!("`{}` will be created, in the layout {layout}: {reason}", ledger.table),
    };
    let ignored = choice.ignored.first().map(|first| format!("; ignored: {first}")).unwrap_or_default();
    DoctorFinding::good(Check::Ledger, detail + &ignored)
}

fn describe_tool_ledgers(own: &[ToolLedger]) -> DoctorFinding {
    let detail = match own {
        [] => "none yet".to_owned(),
        found => name_ledgers(found),
    };
    DoctorFinding::good(Check::Ledger, detail)
}

fn judge_others(others: &[ToolLedger]) -> DoctorFinding {
    match others {
        [] => DoctorFinding::good(Check::OtherLedgers, "none"),
        found => DoctorFinding::warning(
            Check::OtherLedgers,
            format!("another tool has migrated this database: {}", name_ledgers(found)),
            OTHER_LEDGERS_FIX,
        ),
    }
}

fn name_ledgers(ledgers: &[ToolLedger]) -> String {
    if ledgers.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> =
        ledgers.iter().map(|ledger| format!("{} ({})", ledger.table, ledger.tool_name())).collect();
    list_names(names.iter().map(String::as_str))
}
