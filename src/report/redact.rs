//! Secrets leave the report before anything renders it. Redacting only what was rendered is too late: Markdown writes the
//! password `a|b` as `a\|b`, which no redactor knows.
//!
//! Every struct is taken apart in full, so that a new field can't be forgotten.

use super::outcome::{MigrationReport, NoticeReport, Report};
use crate::{
    fault::{Fault, Place},
    run::event::{BastionFacts, DatabaseFacts, Event, MigrationId, PlanFacts},
    secret::Redactor,
};

/// The same without any secret in its texts.
pub(super) trait Redacted {
    fn redacted(&self, redactor: &Redactor) -> Self;
}

impl Report {
    /// The same report without a secret in any of its texts: what renderers are given.
    #[must_use]
    pub fn redacted(&self, redactor: &Redactor) -> Self {
        Redacted::redacted(self, redactor)
    }
}

impl Redacted for String {
    fn redacted(&self, redactor: &Redactor) -> Self {
        redactor.redact(self)
    }
}

impl<T: Redacted> Redacted for Option<T> {
    fn redacted(&self, redactor: &Redactor) -> Self {
        self.as_ref().map(|value| value.redacted(redactor))
    }
}

impl<T: Redacted> Redacted for Vec<T> {
    fn redacted(&self, redactor: &Redactor) -> Self {
        self.iter().map(|value| value.redacted(redactor)).collect()
    }
}

/// `redacted! { Type { texts } { values } }`: the texts are redacted, the values can't hold any and are copied.
macro_rules! redacted {
    ($($type:ident { $($text:ident),* } { $($value:ident),* })*) => {$(
        impl Redacted for $type {
            fn redacted(&self, redactor: &Redactor) -> Self {
                let Self { $($text,)* $($value,)* } = self;
                Self { $($text: $text.redacted(redactor),)* $($value: $value.clone(),)* }
            }
        }
    )*};
}

redacted! {
    Place { file, excerpt } { line, column }
    Fault { cause, fix, place, sqlstate, detail } { stage, code }
    BastionFacts { host, user, host_key, login } { port }
    DatabaseFacts { host, name, role, version, tls } { port }
    MigrationId { name, file } { version }
    PlanFacts { layout, ledger, pending, digest } { recorded }
    MigrationReport { id } { fate, started_ms, took_ms }
    NoticeReport { severity, text } {}
    Report {
        environment, run_url, bastion, database, plan, migrations, notices, warnings, faults
    } { command, stages, verified, duration_ms }
}

impl Redacted for Event {
    fn redacted(&self, redactor: &Redactor) -> Self {
        match self {
            Self::Note(sentence) => Self::Note(sentence.redacted(redactor)),
            Self::Waiting { what, why } => Self::Waiting { what: what.redacted(redactor), why: why.redacted(redactor) },
            Self::Bastion(facts) => Self::Bastion(facts.redacted(redactor)),
            Self::Database(facts) => Self::Database(facts.redacted(redactor)),
            Self::Planned(facts) => Self::Planned(facts.redacted(redactor)),
            Self::Started(id) => Self::Started(id.redacted(redactor)),
            Self::Notice { severity, text } => {
                Self::Notice { severity: severity.redacted(redactor), text: text.redacted(redactor) }
            }
            Self::Warning(fault) => Self::Warning(fault.redacted(redactor)),
            Self::Fault(fault) => Self::Fault(fault.redacted(redactor)),
            Self::Entered(_)
            | Self::Left(_)
            | Self::Locked { .. }
            | Self::Statement { .. }
            | Self::Applied { .. }
            | Self::Failed { .. }
            | Self::InDoubt { .. }
            | Self::Verified => self.clone(),
        }
    }
}
