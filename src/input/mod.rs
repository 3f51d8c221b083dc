//! What the user asked for: names from `action.yml`, values from every place they can come from, all faults at once.

mod settings;

pub use settings::{
    Command, CommentPolicy, GithubSettings, LayoutChoice, Policy, SafetySettings, Settings, SqlSettings,
};
