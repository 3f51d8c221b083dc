//! What is known of changes in the database before the migration, or instead of one.

use crate::{
    fault::Stage,
    run::event::{Event, ReadOnlyResult, StepState},
};

/// Whether others have changed it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Changed {
    /// They have not: nobody has had it, or it was read again.
    #[default]
    Nothing,
    /// They were asked, and it was not read again yet.
    Asked,
    /// They have worked there, and nobody looks at that.
    Unknown,
    /// They have.
    Something,
}

impl Changed {
    /// What is known once this has happened in this stage.
    pub(super) fn after(self, event: &Event, stage: Option<Stage>) -> Self {
        let is_let_at = match event {
            Event::ReadOnlyChecked(ReadOnlyResult::Changed) => return Self::Something,
            Event::ReadOnlyChecked(ReadOnlyResult::Unchanged) if self == Self::Asked => return Self::Nothing,
            Event::CommandStarted { .. } => true,
            Event::StepChanged { fate, .. } => *fate == StepState::Running,
            _ => false,
        };
        match self {
            Self::Nothing | Self::Asked if is_let_at => match stage {
                Some(Stage::Plan | Stage::Verify) => Self::Asked,
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
        let asked = Changed::Nothing.after(&calling, Some(Stage::Plan));
        assert_eq!(asked, Changed::Asked);
        assert_eq!(asked.after(&Event::ReadOnlyChecked(ReadOnlyResult::Unchanged), None), Changed::Nothing);
        assert_eq!(asked.after(&Event::ReadOnlyChecked(ReadOnlyResult::Changed), None), Changed::Something);
        let worked = Changed::Nothing.after(&calling, Some(Stage::Before));
        assert_eq!(worked.after(&Event::ReadOnlyChecked(ReadOnlyResult::Unchanged), None), Changed::Unknown);
    }
}
