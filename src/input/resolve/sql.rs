//! Resolves the settings for SQL files.

use super::placeholders::resolve_placeholders;
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    input::{
        findings::Findings,
        names::InputName,
        parse::{
            ExecutorChoice,
            value::{self, InvalidValue},
        },
        source::{Inputs, Variables},
    },
    layout::{self, Layout, LayoutChoice, LedgerSource, SourceTool},
    settings::{Command, Location, Placeholders, Policy, SqlSettings, TenantSettings},
};

const MISSING_POLICIES: [(&str, Policy); 2] = [("refuse", Policy::Refuse), ("ignore", Policy::Allow)];
const POLICIES: [(&str, Policy); 2] = [("refuse", Policy::Refuse), ("allow", Policy::Allow)];

/// Reads one path per line; there is one at least.
fn parse_paths(text: &str) -> Result<Vec<String>, InvalidValue> {
    Ok(text.lines().map(str::trim).filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

/// Returns the fault of a directory inside of another one, whose files would be read twice.
fn nested_fault(locations: &[Location]) -> Option<Fault> {
    let (inner, outer) = locations.iter().enumerate().find_map(|(index, inner)| {
        let mut others = locations.iter().enumerate().filter(|(other, _)| *other != index);
        others.find(|(_, outer)| inner.directory.starts_with(&outer.directory)).map(|(_, outer)| (inner, outer))
    })?;
    let cause = format!(
        "`migrations` names `{}` and `{}`: the first is in the second, which is read with all below it",
        inner.migrations, outer.migrations
    );
    Some(Fault::new(Code::InputInvalid, cause).fix(format!("take `{}` out of `migrations`", inner.migrations)))
}

/// Reads a tool, and behind a blank its table if it is named.
fn parse_source(text: &str) -> Result<LedgerSource, InvalidValue> {
    let (tool, table) = match text.split_once(char::is_whitespace) {
        Some((tool, table)) => (tool, Some(table.trim())),
        None => (text, None),
    };
    let tools: Vec<(&str, SourceTool)> = SourceTool::all().map(|tool| (tool.name(), tool)).collect();
    let table = table.map(value::parse_table).transpose()?;
    Ok(LedgerSource { tool: value::parse_choice(tool, &tools)?, table })
}

/// Returns the layout of files that take a ledger over: they are plain.
fn layout_for_takeover(inputs: &Inputs, source: &LedgerSource, layout: LayoutChoice) -> Result<LayoutChoice, Fault> {
    let plain = Layout::default();
    let (from, tool) = (inputs.label(InputName::From), source.tool.name());
    let fault = match layout {
        LayoutChoice::Named(named) if named != plain => {
            let cause =
                format!("{from} takes a ledger over into that of plain files, and `layout` is `{}`", named.name());
            let fix = match named.name() == tool {
                true => format!(
                    "remove `command: baseline` and `from`: with `layout: {tool}` that ledger is continued as it is"
                ),
                false => "set `layout: plain`, or remove `from`".to_owned(),
            };
            Fault::new(Code::InputInvalid, cause).fix(fix)
        }
        _ if inputs.is_given(InputName::Target) => {
            let cause = format!(
                "`target` and {from} contradict each other: what the ledger of {tool} has is recorded, and nothing else"
            );
            Fault::new(Code::InputInvalid, cause).fix("remove `target`")
        }
        _ => return Ok(LayoutChoice::Named(plain)),
    };
    Err(fault)
}

fn parse_layout_choice(text: &str) -> Result<LayoutChoice, InvalidValue> {
    let layouts = layout::ALL.map(|layout| (layout.name(), LayoutChoice::Named(layout)));
    value::parse_choice(text, &[&[("auto", LayoutChoice::Auto)], &layouts[..]].concat())
}

/// Resolves the settings for SQL files.
pub(crate) fn resolve_sql_settings(
    inputs: &Inputs,
    (command, executor): (Option<Command>, Option<ExecutorChoice>),
    (runner, variables): (&Runner, &Variables),
    findings: &mut Findings,
) -> Option<SqlSettings> {
    let given_paths = findings.ok_or_record(inputs.required(InputName::Migrations, parse_paths));
    let layout = findings.ok_or_record(inputs.required(InputName::Layout, parse_layout_choice));
    let ledger_table = findings.ok_or_record(inputs.optional(InputName::LedgerTable, value::parse_table));
    // A tool's target is a text in the tool's own notation.
    let target = match executor {
        Some(ExecutorChoice::Sql) => findings.ok_or_record(inputs.optional(InputName::Target, value::parse_version)),
        Some(ExecutorChoice::Image | ExecutorChoice::Server) | None => Some(None),
    };
    let out_of_order =
        findings.ok_or_record(inputs.required(InputName::OutOfOrder, |text| value::parse_choice(text, &POLICIES)));
    let gaps = findings.ok_or_record(inputs.required(InputName::Gaps, |text| value::parse_choice(text, &POLICIES)));
    let missing =
        findings.ok_or_record(inputs.required(InputName::Missing, |text| value::parse_choice(text, &MISSING_POLICIES)));
    // The configuration file has values for every command.
    let from = match command {
        Some(Command::Baseline) => findings.ok_or_record(inputs.optional(InputName::From, parse_source)),
        _ => Some(None),
    };
    let layout = match (&from, layout) {
        (Some(Some(source)), Some(layout)) => findings.ok_or_record(layout_for_takeover(inputs, source, layout)),
        (_, layout) => layout,
    };
    let tenants = resolve_tenants(inputs, ledger_table.as_ref(), findings);
    let placeholders = match executor {
        Some(ExecutorChoice::Sql) => findings.ok_or_record(resolve_placeholders(inputs, variables)),
        Some(ExecutorChoice::Image | ExecutorChoice::Server) | None => Some(Placeholders::default()),
    };
    let location = |path: &String| {
        let directory = runner.resolve_path(path);
        Location { migrations: runner.display_path(&directory), directory }
    };
    let mut locations: Vec<Location> = given_paths?.iter().map(location).collect();
    if let Some(fault) = nested_fault(&locations) {
        findings.faults.push(fault);
        return None;
    }
    let more_locations = locations.split_off(1);
    let Location { migrations, directory } = locations.pop()?;
    Some(SqlSettings {
        migrations,
        directory,
        more_locations,
        placeholders: placeholders?,
        layout: layout?,
        ledger_table: ledger_table?,
        target: target?,
        out_of_order: out_of_order?,
        gaps: gaps?,
        missing: missing?,
        tenants,
        from: from?,
    })
}

/// Returns the tenants, whose ledgers are each in a schema of its own.
fn resolve_tenants(
    inputs: &Inputs,
    ledger_table: Option<&Option<String>>,
    findings: &mut Findings,
) -> Option<TenantSettings> {
    let tenants = inputs.parsed_steps().tenants.clone()?;
    if let Some((table, (_, name))) =
        ledger_table.and_then(|table| Some((table.as_ref()?, table.as_ref()?.split_once('.')?)))
    {
        let label = inputs.label(InputName::LedgerTable);
        let cause = format!("{label} is `{table}`: with `tenants`, each ledger is in the schema of its tenant");
        findings.faults.push(Fault::new(Code::InputInvalid, cause).fix(format!("set `ledger-table: {name}`")));
    }
    if inputs.is_given(InputName::From) {
        let label = inputs.label(InputName::From);
        let cause = format!("{label} takes over one ledger, and with `tenants` there are several");
        findings.faults.push(Fault::new(Code::InputInvalid, cause).fix("remove `from`, or remove `tenants`"));
    }
    Some(tenants)
}
