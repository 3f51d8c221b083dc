//! What is known of changes in the database before the migration, or instead of one.

use crate::{
    fault::Stage,
    run::event::{Event, ReadOnlyResult, StepState},
};

/// Whether others have changed it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum DatabaseChanges {
    /// They have not: nobody has had it, or it was read again.
    #[default]
    Nothing,
    /// They were asked, and it was not read again yet.
    Unchecked,
    /// They have worked there, and nobody looks at that.
    Unknown,
    /// They have.
    Something,
}

impl DatabaseChanges {
    /// What is known once this has happened in this stage.
    pub(super) fn after_event(self, event: &Event, stage: Option<Stage>) -> Self {
        let is_let_at = match event {
            Event::ReadOnlyChecked(ReadOnlyResult::Changed) => return Self::Something,
            Event::ReadOnlyChecked(ReadOnlyResult::Unchanged) if self == Self::Unchecked => return Self::Nothing,
            Event::CommandStarted { .. } => true,
            Event::StepChanged { fate, .. } => *fate == StepState::Running,
            _ => false,
        };
        match self {
            Self::Nothing | Self::Unchecked if is_let_at => match stage {
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
    fn what_others_did_is_known_only_once_it_was_read_again() {
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
