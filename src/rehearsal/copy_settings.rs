//! The settings of a run against the copy: those of the original, with another database and without its surroundings.

use crate::{
    postgres::DatabaseTarget,
    settings::{
        Command, DestructionPolicy, LintLevel, LintSettings, Policy, RiskSettings, SafetySettings, Settings,
        SqlSettings, StepSettings,
    },
    way::WayIn,
};
use std::collections::BTreeSet;

/// A round of the program against the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyRound {
    /// The pending migrations are applied.
    Forward,
    /// The migrations after this one are rolled back; `0` is all.
    Back(String),
}

/// Returns the settings of a round. The approvals and refusals belong to the original, whose plan they are about.
#[must_use]
pub fn settings_for_copy(original: &Settings, database: DatabaseTarget, round: &CopyRound) -> Settings {
    let (command, sql) = match round {
        CopyRound::Forward => (Command::Migrate, original.sql.clone()),
        CopyRound::Back(target) => {
            (Command::Rollback, SqlSettings { target: Some(target.clone()), ..original.sql.clone() })
        }
    };
    let risk = RiskSettings {
        max: None,
        destructive: DestructionPolicy::Warn,
        plan_max_age: None,
        ..original.safety.risk.clone()
    };
    Settings {
        command,
        sql,
        route: None,
        way: WayIn::Direct,
        database: Some(database),
        steps: StepSettings::default(),
        schema_file: None,
        aftercare: BTreeSet::new(),
        backup: None,
        rehearsal: None,
        safety: SafetySettings {
            expect_plan: None,
            expect_rehearsal: None,
            start_when: None,
            lint: LintSettings { level: LintLevel::Off, ..original.safety.lint.clone() },
            risk,
            audit: Policy::Refuse,
            ..original.safety.clone()
        },
        ..original.clone()
    }
}
