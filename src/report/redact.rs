//! Redaction of the report before it is rendered. Redacting only the rendered text would be too late: Markdown escaping
//! inserts a comment into a password like `a@b`, and a secret that is split or cut is not recognised.
//!
//! Every struct is destructured completely, so that a new field can't be forgotten.

use super::{
    entries::{MigrationReport, NoticeReport, StepReport, UsageReport},
    run_report::RunReport,
    visible_text::clip_text,
};
use crate::{
    fault::{Excerpt, Fault, FilePosition},
    run::{
        AftercareFacts, BackupFacts, BastionFacts, CareFinding, DatabaseFacts, DestroyedObject, DoctorFinding,
        Estimate, FindingLevel, FindingState, HalfDoneMigration, ImageFacts, LedgerEntry, LintFinding, LongWait,
        MadeBackup, MigrationChanges, MigrationId, PastOutcome, PastRun, PlanFacts, PlanReview, RehearsalFacts,
        RehearsedStatement, ReviewedPlan, ShownScript, StatementReview, TunnelFacts,
        event::{Event, NoticeSubject, StepId},
    },
    secret::Redactor,
};
use std::sync::Arc;

/// A value whose texts can be redacted.
pub(super) trait Redact {
    fn redacted(&self, redactor: &Redactor) -> Self;
}

impl RunReport {
    /// Returns the report without secrets in its texts, for the renderers.
    #[must_use]
    pub fn redacted(&self, redactor: &Redactor) -> Self {
        Redact::redacted(self, redactor)
    }
}

impl Redact for String {
    fn redacted(&self, redactor: &Redactor) -> Self {
        redactor.redact(self).into_owned()
    }
}

impl<T: Redact> Redact for Option<T> {
    fn redacted(&self, redactor: &Redactor) -> Self {
        self.as_ref().map(|value| value.redacted(redactor))
    }
}

impl<T: Redact> Redact for Vec<T> {
    fn redacted(&self, redactor: &Redactor) -> Self {
        self.iter().map(|value| value.redacted(redactor)).collect()
    }
}

/// Implements [`Redact`]. `redacted! { Type { texts } { values } }`: the texts are redacted; the values contain no text
/// and are copied.
macro_rules! redacted {
    ($($type:ident { $($text:ident),* } { $($value:ident),* })*) => {$(
        impl Redact for $type {
            fn redacted(&self, redactor: &Redactor) -> Self {
                let Self { $($text,)* $($value,)* } = self;
                Self { $($text: $text.redacted(redactor),)* $($value: $value.clone(),)* }
            }
        }
    )*};
}

redacted! {
    FilePosition { file, excerpt } { line, column }
    Fault { cause, fix, place, sqlstate, detail } { stage, code }
    AftercareFacts { analyzed, validated, findings } {}
    CareFinding { object, problem, sql } { kind }
    BastionFacts { host, user, banner, host_key, host_certificate, login, certificate } { port }
    DatabaseFacts { host, name, role, acting_role, version, tls, pooler } { port }
    ImageFacts { reference, id, digest } {}
    TunnelFacts { host, alias } { port }
    BackupFacts { content, destination, made } { estimate_bytes }
    MadeBackup { path, sha256, proof, restore } { bytes }
    PlanFacts { layout, ledger, pending, digest, reason } { recorded, change, coverage }
    PlanReview { statements, notes } { risk }
    StatementReview { migration, place, summary, locks, work, estimate, destroys, in_the_way, reasons } { statement, blocks, risk }
    RehearsalFacts { digest, copy, lacks, rounds, changes, migrations, statements, unobserved } { temp_bytes }
    MigrationChanges { migrations, lines } { omitted }
    RehearsedStatement { seen, notices, error, differences } { times, transaction, took_ms, rows, wal_bytes, verdict }
    Estimate { basis } { from_ms, to_ms, confidence }
    DestroyedObject { what, qualified, facts, allowed } { content }
    ReviewedPlan { review, scripts, findings, unused_allowances } {}
    ShownScript { migration, sql, hidden } {}
    LintFinding { level, migration, rule, message, help, place } { line }
    MigrationReport { id } { fate, started_ms, took_ms, statements }
    HalfDoneMigration { entry } { statements_done, change }
    LongWait { what, why } { waited }
    NoticeReport { severity, text, file } {}
    UsageReport { command } { usage }
    StepReport { id } { fate, started_ms, took_ms }
    DoctorFinding { object, state } { check }
    RunReport {
        environment, pin_variable, run_url, files_url, findings, bastion, database, image, usage, settings, tunnel, plan, review, rehearsal, backup, recorded, half_done, history, migrations, steps, schema, aftercare, blocked, notices,
        warnings, faults
    } { command, stages, changed, verified, proof, skipped, duration_ms }
}

impl Redact for Excerpt {
    fn redacted(&self, redactor: &Redactor) -> Self {
        self.map_line(|line, column| {
            let (line, column) = redactor.redact_with_position(line, column);
            (line.into_owned(), column)
        })
    }
}

/// Maximum length of a migration's title, in characters: it is shown in lines and tables.
const MAX_TITLE_LENGTH: usize = 120;

impl Redact for MigrationId {
    fn redacted(&self, redactor: &Redactor) -> Self {
        let Self { index, version, name, file, schema, title } = self;
        Self {
            index: *index,
            version: version.redacted(redactor),
            name: name.redacted(redactor),
            file: file.redacted(redactor),
            schema: schema.redacted(redactor),
            title: clip_text(&redactor.redact(title), MAX_TITLE_LENGTH),
        }
    }
}

/// Maximum length of a role and of a run's page in a ledger, in characters: they are shown in lines and tables.
const MAX_ORIGIN_LENGTH: usize = 200;

impl Redact for LedgerEntry {
    fn redacted(&self, redactor: &Redactor) -> Self {
        let Self { id, recorded_at, role, run } = self;
        let clipped = |text: &Option<String>| Some(clip_text(&redactor.redact(text.as_ref()?), MAX_ORIGIN_LENGTH));
        Self {
            id: id.redacted(redactor),
            recorded_at: recorded_at.redacted(redactor),
            role: clipped(role),
            run: clipped(run),
        }
    }
}

impl Redact for PastRun {
    fn redacted(&self, redactor: &Redactor) -> Self {
        let text = |text: &String| clip_text(&redactor.redact(text), MAX_ORIGIN_LENGTH);
        let optional = |value: &Option<String>| value.as_ref().map(text);
        let outcome = match &self.outcome {
            PastOutcome::Recorded(outcome) => PastOutcome::Recorded(text(outcome)),
            known => known.clone(),
        };
        Self {
            started_at: self.started_at.clone(),
            ended_at: self.ended_at.clone(),
            outcome,
            reason: optional(&self.reason),
            fault: self.fault.redacted(redactor),
            command: text(&self.command),
            executor: text(&self.executor),
            planned: self.planned,
            done: self.done,
            plan_digest: optional(&self.plan_digest),
            environment: optional(&self.environment),
            image: optional(&self.image),
            role: text(&self.role),
            actor: optional(&self.actor),
            triggering_actor: optional(&self.triggering_actor),
            approved_by: optional(&self.approved_by),
            repository: optional(&self.repository),
            commit: optional(&self.commit),
            git_ref: optional(&self.git_ref),
            workflow: optional(&self.workflow),
            run: optional(&self.run),
            attempt: self.attempt,
        }
    }
}

/// Maximum length of a step's name, in characters: it is shown in headings.
const MAX_STEP_NAME_LENGTH: usize = 80;

impl Redact for StepId {
    fn redacted(&self, redactor: &Redactor) -> Self {
        let Self { phase, at, name } = self;
        Self { phase: *phase, at: *at, name: clip_text(&redactor.redact(name), MAX_STEP_NAME_LENGTH) }
    }
}

impl Redact for NoticeSubject {
    fn redacted(&self, redactor: &Redactor) -> Self {
        match self {
            Self::Migration(index) => Self::Migration(*index),
            Self::File(file) => Self::File(file.redacted(redactor)),
        }
    }
}

impl<T: Redact> Redact for Arc<T> {
    fn redacted(&self, redactor: &Redactor) -> Self {
        Self::new(T::redacted(self, redactor))
    }
}

impl Redact for FindingLevel {
    fn redacted(&self, redactor: &Redactor) -> Self {
        match self {
            Self::Allowed(reason) => Self::Allowed(reason.redacted(redactor)),
            Self::Warning | Self::Error => self.clone(),
        }
    }
}

impl Redact for FindingState {
    fn redacted(&self, redactor: &Redactor) -> Self {
        match self {
            Self::Good { detail } => Self::Good { detail: detail.redacted(redactor) },
            Self::Warning { detail, fix, code } => {
                Self::Warning { detail: detail.redacted(redactor), fix: fix.redacted(redactor), code: *code }
            }
            Self::Failed(fault) => Self::Failed(Box::new(Fault::redacted(fault, redactor))),
            Self::NotChecked { detail } => Self::NotChecked { detail: detail.redacted(redactor) },
        }
    }
}

impl Redact for Event {
    fn redacted(&self, redactor: &Redactor) -> Self {
        match self {
            Self::Note(sentence) => Self::Note(sentence.redacted(redactor)),
            Self::Waiting { what, why } => Self::Waiting { what: what.redacted(redactor), why: why.redacted(redactor) },
            Self::LongWait(wait) => Self::LongWait(wait.redacted(redactor)),
            Self::Bastion(facts) => Self::Bastion(facts.redacted(redactor)),
            Self::Database(facts) => Self::Database(facts.redacted(redactor)),
            Self::Examined(finding) => Self::Examined(finding.redacted(redactor)),
            Self::Planned(facts) => Self::Planned(facts.redacted(redactor)),
            Self::Reviewed(plan) => Self::Reviewed(plan.redacted(redactor)),
            Self::Rehearsed(facts) => Self::Rehearsed(facts.redacted(redactor)),
            Self::Backup(facts) => Self::Backup(facts.redacted(redactor)),
            Self::LedgerListed { recorded, half_done } => {
                Self::LedgerListed { recorded: recorded.redacted(redactor), half_done: half_done.redacted(redactor) }
            }
            Self::History(runs) => Self::History(runs.redacted(redactor)),
            Self::SchemaAssigned { index, schema } => {
                Self::SchemaAssigned { index: *index, schema: schema.redacted(redactor) }
            }
            Self::Started(id) => Self::Started(id.redacted(redactor)),
            Self::Unplanned(id) => Self::Unplanned(id.redacted(redactor)),
            Self::Notice { severity, text, about } => Self::Notice {
                severity: severity.redacted(redactor),
                text: text.redacted(redactor),
                about: about.redacted(redactor),
            },
            Self::ToolMigrationStarted { name, schema, clock } => Self::ToolMigrationStarted {
                name: name.redacted(redactor),
                schema: schema.redacted(redactor),
                clock: *clock,
            },
            Self::Ended { name, schema, took } => {
                Self::Ended { name: name.redacted(redactor), schema: schema.redacted(redactor), took: *took }
            }
            Self::ResourceUsage { command, usage } => {
                Self::ResourceUsage { command: command.redacted(redactor), usage: *usage }
            }
            Self::CommandStarted { command } => Self::CommandStarted { command: command.redacted(redactor) },
            Self::Output { line } => Self::Output { line: line.redacted(redactor) },
            Self::Blocked { text } => Self::Blocked { text: text.redacted(redactor) },
            Self::Tunnel(facts) => Self::Tunnel(facts.redacted(redactor)),
            Self::Image(facts) => Self::Image(facts.redacted(redactor)),
            Self::Aftercare(facts) => Self::Aftercare(facts.redacted(redactor)),
            Self::SchemaChanged { changes } => Self::SchemaChanged { changes: changes.redacted(redactor) },
            Self::SettingsDelivered { way } => Self::SettingsDelivered { way: way.redacted(redactor) },
            Self::Steps(ids) => Self::Steps(ids.redacted(redactor)),
            Self::StepChanged { id, fate } => Self::StepChanged { id: id.redacted(redactor), fate: *fate },
            Self::Warning(fault) => Self::Warning(fault.redacted(redactor)),
            Self::Fault(fault) => Self::Fault(fault.redacted(redactor)),
            Self::StageStarted(_)
            | Self::StageDone(_)
            | Self::Locked { .. }
            | Self::StatementDone { .. }
            | Self::Resumed { .. }
            | Self::Applied { .. }
            | Self::Recorded { .. }
            | Self::Baselined { .. }
            | Self::RolledBack { .. }
            | Self::Unrecorded { .. }
            | Self::Failed { .. }
            | Self::Cancelled { .. }
            | Self::LostInCrash { .. }
            | Self::InDoubt { .. }
            | Self::MessagesSkipped { .. }
            | Self::LinesOmitted { .. }
            | Self::ReadOnlyChecked(_)
            | Self::Verified(_) => self.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            comment::{CommentStamp, comment_body},
            console::ConsoleKind,
            log::Log,
            outputs::step_outputs,
            sample::{self, SharedBuffer},
            summary::render_summary,
        },
        *,
    };
    use crate::{github::runner::Runner, secret::Secret};
    use proptest::prelude::*;
    use std::time::Duration;

    /// Returns the sample runs with this text in every field that contains a text.
    fn tainted(text: &str) -> Vec<sample::SampleEvents> {
        let taint =
            |events: sample::SampleEvents| events.into_iter().map(|(at, event)| (at, taint(event, text))).collect();
        let mut reviewed = sample::successful_events();
        reviewed.insert(9, (260, Event::Reviewed(Arc::default())));
        [reviewed, sample::failed_events(), sample::unpinned_events(), sample::doctor_events()]
            .into_iter()
            .map(taint)
            .collect()
    }

    fn taint(event: Event, text: &str) -> Event {
        let text = || format!("a {text} b");
        let id = |id: MigrationId| MigrationId { name: text(), file: text(), schema: text(), title: text(), ..id };
        match event {
            Event::Bastion(_) => Event::Bastion(BastionFacts {
                host: text(),
                port: 22,
                user: text(),
                banner: text(),
                host_key: text(),
                host_certificate: Some(text()),
                login: text(),
                certificate: Some(text()),
            }),
            Event::Database(_) => Event::Database(DatabaseFacts {
                host: text(),
                port: 5432,
                name: text(),
                role: text(),
                acting_role: Some(text()),
                version: text(),
                tls: text(),
                pooler: Some(text()),
            }),
            Event::Planned(plan) => Event::Planned(PlanFacts {
                change: plan.change,
                coverage: plan.coverage,
                layout: text(),
                ledger: text(),
                recorded: 1,
                pending: plan.pending.into_iter().map(id).collect(),
                digest: text(),
                reason: Some(text()),
            }),
            Event::Examined(finding) => Event::Examined(DoctorFinding {
                object: text(),
                state: match finding.state {
                    FindingState::Good { .. } => FindingState::Good { detail: text() },
                    FindingState::NotChecked { .. } => FindingState::NotChecked { detail: text() },
                    FindingState::Warning { code, .. } => FindingState::Warning { detail: text(), fix: text(), code },
                    FindingState::Failed(fault) => {
                        let fault = Fault { cause: text(), fix: text(), detail: vec![text()], ..*fault };
                        FindingState::Failed(Box::new(fault))
                    }
                },
                ..finding
            }),
            Event::Reviewed(_) => Event::Reviewed(Arc::new(tainted_review(&text()))),
            Event::Started(started) => Event::Started(id(started)),
            Event::Waiting { .. } => Event::Waiting { what: text(), why: text() },
            Event::Notice { .. } => {
                Event::Notice { severity: text(), text: text(), about: Some(NoticeSubject::File(text())) }
            }
            Event::Fault(fault) => Event::Fault(Fault {
                cause: text(),
                fix: text(),
                place: fault.place.map(|place| FilePosition {
                    file: text(),
                    excerpt: Some(Excerpt::new(&text(), 3)),
                    ..place
                }),
                sqlstate: Some(text()),
                detail: vec![text(), text()],
                ..fault
            }),
            other => other,
        }
    }

    /// Returns the sample review with this text in every field that contains a text.
    fn tainted_review(text: &str) -> ReviewedPlan {
        let mut plan = sample::reviewed_plan();
        let all = || text.to_owned();
        for statement in &mut plan.review.statements {
            statement.summary = all();
            statement.place.iter_mut().for_each(|place| place.file = all());
            for list in [&mut statement.locks, &mut statement.work, &mut statement.in_the_way, &mut statement.reasons] {
                *list = vec![all(), all()];
            }
            statement.estimate.iter_mut().for_each(|estimate| estimate.basis = all());
            for object in &mut statement.destroys {
                (object.what, object.qualified, object.facts, object.allowed) = (all(), all(), all(), Some(all()));
            }
            (statement.migration.name, statement.migration.file) = (all(), all());
        }
        for script in &mut plan.scripts {
            (script.sql, script.hidden, script.migration.name, script.migration.file) =
                (all(), vec![all()], all(), all());
        }
        for finding in &mut plan.findings {
            (finding.migration, finding.rule, finding.message, finding.help) = (all(), all(), all(), Some(all()));
            finding.place.iter_mut().for_each(|place| place.file = all());
            if let FindingLevel::Allowed(reason) = &mut finding.level {
                *reason = all();
            }
        }
        (plan.review.notes, plan.unused_allowances) = (vec![all()], vec![all()]);
        plan
    }

    /// Returns every surface of a run, with its name.
    fn surfaces(events: &sample::SampleEvents, secret: &Secret) -> Vec<(&'static str, String)> {
        let redactor = Redactor::new([secret]);
        let mut report = sample::report_of(events);
        report.environment = Some(format!("env {}", secret.expose()));
        let buffer = SharedBuffer::default();
        for screen in [ConsoleKind::Pipe, ConsoleKind::ColourTerminal] {
            let mut log =
                Log::on_stream(Box::new(buffer.clone()), &Runner::default(), screen, std::slice::from_ref(secret));
            events.iter().for_each(|(at, event)| log.log_event(event, Duration::from_millis(*at)));
            log.log_headline(&report);
        }
        let mut log = Log::on_stream(
            Box::new(buffer.clone()),
            &Runner { in_actions: true, ..Runner::default() },
            ConsoleKind::Pipe,
            std::slice::from_ref(secret),
        );
        events.iter().for_each(|(at, event)| log.log_event(event, Duration::from_millis(*at)));
        let log = buffer.text();
        let log = log.lines().filter(|line| !line.starts_with("::add-mask::")).collect::<Vec<_>>().join("\n");
        let report = report.redacted(&redactor);
        let stamp = CommentStamp {
            key: report.environment.clone(),
            commit: None,
            repository_url: None,
            written_at: std::time::SystemTime::UNIX_EPOCH,
        };
        let mut all = vec![
            ("log", log),
            ("summary", redactor.redact(&render_summary(&report, 1_000_000)).into_owned()),
            ("comment", redactor.redact(&comment_body(&report, &stamp, 60_000)).into_owned()),
            ("marker", super::super::comment_marker(report.environment.as_deref().unwrap_or_default())),
        ];
        all.extend(step_outputs(&report));
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        // `Zq` and `qZ` are in no other text; between them are characters that Markdown, JSON and the runner escape.
        #[test]
        fn no_surface_shows_a_secret(middle in "([|<>&\"'\\\\`*_#\\[\\]!$%:,;=~{}@/ü\n ]|##\\[|::){1,12}") {
            let secret = Secret::new(format!("Zq{middle}qZ"));
            for events in tainted(secret.expose()) {
                for (surface, text) in surfaces(&events, &secret) {
                    prop_assert!(!text.contains("Zq") && !text.contains("qZ"), "{surface}: {text}");
                }
            }
        }
    }

    #[test]
    fn redacting_only_the_rendered_text_would_be_too_late() {
        let secret = Secret::new("a|b@c<d");
        let mut report = sample::report_of(&sample::successful_events());
        report.notices[0].text = secret.expose().to_owned();
        let redactor = Redactor::new([&secret]);
        assert!(redactor.redact(&render_summary(&report, 100_000)).contains(r"a\|b@<!-- -->c&lt;d"));
        assert!(!render_summary(&report.redacted(&redactor), 100_000).contains("c&lt;d"));
    }

    #[test]
    fn outputs_stay_valid_json_when_the_secret_is_a_json_token() {
        for word in ["true", "null", ",", "\"", "0"] {
            let report = sample::report_of(&sample::successful_events()).redacted(&Redactor::new([&Secret::new(word)]));
            for (name, value) in step_outputs(&report).iter().filter(|(name, _)| ["report", "applied"].contains(name)) {
                assert!(serde_json::from_str::<serde_json::Value>(value).is_ok(), "{word} in {name}: {value}");
            }
        }
    }
}
