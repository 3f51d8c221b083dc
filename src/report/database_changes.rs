//! Changes of the database by foreign commands before the migration, or instead of one.

use crate::{
    fault::Stage,
    run::event::{Event, ReadOnlyResult, StepState},
};

/// Knowledge about changes by foreign commands: tools, and steps of the user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum DatabaseChanges {
    /// They changed nothing: none was run, or the database was read again and is unchanged.
    #[default]
    Nothing,
    /// A read-only command was run, and the database was not read again yet.
    Unchecked,
    /// A command that may write was run; its changes are not checked.
    Unknown,
    /// A read-only command changed the database.
    Something,
}

impl DatabaseChanges {
    /// Returns the knowledge after this event, in this stage.
    pub(super) fn after_event(self, event: &Event, stage: Option<Stage>) -> Self {
        let runs_command = match event {
            Event::ReadOnlyChecked(ReadOnlyResult::Changed) => return Self::Something,
            Event::ReadOnlyChecked(ReadOnlyResult::Unchanged) if self == Self::Unchecked => return Self::Nothing,
            Event::CommandStarted { .. } => true,
            Event::StepChanged { fate, .. } => *fate == StepState::Running,
            _ => false,
        };
        match self {
            Self::Nothing | Self::Unchecked if runs_command => match stage {
                Some(Stage::Plan | Stage::Verify) => Self::Unchecked,
                _ => Self::Unknown,
            },
            known => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_by_commands_are_known_only_after_the_database_was_read_again() {
        let calling = Event::CommandStarted { command: "x".to_owned() };
        let asked = DatabaseChanges::Nothing.after_event(&calling, Some(Stage::Plan));
        assert_eq!(asked, DatabaseChanges::Unchecked);
        assert_eq!(
            asked.after_event(&Event::ReadOnlyChecked(ReadOnlyResult::Unchanged), None),
            DatabaseChanges::Nothing
        );
        assert_eq!(
            asked.after_event(&Event::ReadOnlyChecked(ReadOnlyResult::Changed), None),
            DatabaseChanges::Something
        );
        let worked = DatabaseChanges::Nothing.after_event(&calling, Some(Stage::Before));
        assert_eq!(
            worked.after_event(&Event::ReadOnlyChecked(ReadOnlyResult::Unchanged), None),
            DatabaseChanges::Unknown
        );
    }
}
