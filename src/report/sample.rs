//! Sample runs for the tests of the renderers.

use super::run_report::RunReport;
use crate::{
    fault::{Code, Excerpt, Fault, FilePosition, Stage},
    github::runner::Runner,
    run::{
        AftercareFacts, BastionFacts, CareFinding, CareFindingKind, Check, Confidence, Content, Coverage,
        DatabaseFacts, DestroyedObject, DoctorFinding, Estimate, FindingLevel, HeldUp, LintFinding, MigrationId,
        PlanAction, PlanFacts, PlanReview, ReviewedPlan, Risk, ShownScript, StatementReview, TunnelFacts,
        event::{Event, NoticeSubject, Proof},
    },
    settings::Command,
};
use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

/// Events with their times, in milliseconds since the start of the run.
pub(super) type SampleEvents = Vec<(u64, Event)>;

pub(super) fn migration_id(index: usize, name: &str) -> MigrationId {
    MigrationId {
        index,
        version: index.to_string(),
        name: name.to_owned(),
        file: format!("migrations/{index:04}_{name}.sql"),
        ..MigrationId::default()
    }
}

/// Returns the report of a successful `command: tunnel`.
pub(super) fn tunnel_report() -> RunReport {
    let found = events_until_migration()
        .into_iter()
        .filter(|(_, event)| matches!(event, Event::Bastion(_) | Event::Database(_)));
    let tunnel =
        TunnelFacts { host: "127.0.0.1".to_owned(), port: 49153, alias: "bastion-migrate-tunnel-4f2c".to_owned() };
    let events = found.chain([(300, Event::Tunnel(tunnel))]).collect();
    RunReport { command: Some(Command::Tunnel), duration_ms: 300, ..report_of(&events) }
}

/// Returns the events of a run with two pending migrations, until the second one starts.
pub(super) fn events_until_migration() -> SampleEvents {
    let bastion = BastionFacts {
        host: "bastion.example.org".to_owned(),
        port: 22,
        user: "deploy".to_owned(),
        banner: "SSH-2.0-OpenSSH_9.2p1".to_owned(),
        host_key: "ssh-ed25519 SHA256:abc".to_owned(),
        host_certificate: None,
        login: "key".to_owned(),
        certificate: None,
    };
    let database = DatabaseFacts {
        host: "db.internal".to_owned(),
        port: 5432,
        name: "shop".to_owned(),
        role: "owner".to_owned(),
        acting_role: None,
        version: "16.4".to_owned(),
        tls: "verify-full".to_owned(),
        pooler: None,
    };
    let plan = PlanFacts {
        change: PlanAction::Apply,
        coverage: Coverage::Complete,
        layout: "plain".to_owned(),
        ledger: "bastion_migrate.ledger".to_owned(),
        recorded: 2,
        pending: vec![migration_id(3, "add_email"), migration_id(4, "drop_name")],
        digest: "sha256:4f2c".to_owned(),
        reason: None,
    };
    vec![
        (0, Event::StageStarted(Stage::Bastion)),
        (90, Event::Bastion(bastion)),
        (100, Event::StageDone(Stage::Bastion)),
        (100, Event::StageStarted(Stage::Database)),
        (150, Event::Waiting { what: "the database".to_owned(), why: "the server is starting up".to_owned() }),
        (200, Event::Database(database)),
        (200, Event::StageDone(Stage::Database)),
        (200, Event::StageStarted(Stage::Plan)),
        (250, Event::Planned(plan)),
        (250, Event::StageDone(Stage::Plan)),
        (300, Event::StageStarted(Stage::Migrate)),
        (300, Event::Started(migration_id(3, "add_email"))),
        (312, Event::Applied { index: 3, took: Duration::from_millis(12) }),
        (320, Event::Started(migration_id(4, "drop_name"))),
    ]
}

/// Returns the result of an after-care.
pub(super) fn aftercare_facts() -> AftercareFacts {
    let finding = CareFinding {
        kind: CareFindingKind::InvalidIndex,
        object: "public.\"a|b\"".to_owned(),
        problem: "no query uses it, and every write maintains it".to_owned(),
        sql: "REINDEX INDEX CONCURRENTLY public.\"a|b\"".to_owned(),
    };
    AftercareFacts {
        analyzed: vec!["public.orders".to_owned(), "public.users".to_owned()],
        validated: vec!["positive on public.orders".to_owned()],
        findings: vec![finding],
    }
}

/// Returns the events of `command: doctor` with a finding of each state.
pub(super) fn doctor_events() -> SampleEvents {
    let login = Fault::new(Code::BastionLogin, "`b:22` refused user `deploy`; tried: key").detail("the key is ed25519");
    let findings = [
        DoctorFinding::good(Check::Files, "4 files in `migrations`, in the layout plain"),
        DoctorFinding::good(Check::HostKey, "ssh-ed25519 SHA256:abc is pinned").about("b:22"),
        DoctorFinding::failed(Check::LogIn, login).about("b:22"),
        DoctorFinding::not_checked(Check::Session, "it needs the connection to `b:22`"),
        DoctorFinding::warning(Check::Sequences, "public.a_id_seq has used 91 %", "make `a.id` a bigint"),
    ];
    findings.into_iter().map(|finding| (700, Event::Examined(finding))).collect()
}

/// Returns the review of a plan with two migrations.
pub(super) fn reviewed_plan() -> ReviewedPlan {
    let [index, drop] = [migration_id(3, "index_orders"), migration_id(4, "drop_name")];
    let place = |file: &MigrationId, line| FilePosition { line: Some(line), ..FilePosition::of_file(&file.file) };
    let building = StatementReview {
        migration: index.clone(),
        place: Some(place(&index, 1)),
        summary: "CREATE INDEX orders_total ON orders".to_owned(),
        locks: vec!["SHARE on public.orders (120 M rows, 38 GB)".to_owned()],
        blocks: HeldUp::Writes,
        work: vec!["builds an index on public.orders".to_owned()],
        estimate: Some(Estimate {
            from_ms: 180_000,
            to_ms: 540_000,
            basis: "an index of 120 M rows, at 200,000 to 700,000 rows per second".to_owned(),
            confidence: Confidence::Low,
        }),
        in_the_way: vec!["pid 41 `report` (role `app`, idle in transaction for 12 min): select".to_owned()],
        risk: Risk::High,
        reasons: vec!["writes to public.orders wait for 3 to 9 min".to_owned()],
        ..StatementReview::default()
    };
    let dropping = StatementReview {
        migration: drop.clone(),
        place: Some(place(&drop, 2)),
        summary: "ALTER TABLE users DROP COLUMN name".to_owned(),
        locks: vec!["ACCESS EXCLUSIVE on public.users (2,000 rows, 1 MB)".to_owned()],
        blocks: HeldUp::ReadsAndWrites,
        destroys: vec![DestroyedObject {
            what: "drop users.name".to_owned(),
            qualified: "drop public.users.name".to_owned(),
            facts: "2,000 rows".to_owned(),
            content: Content::Something,
            allowed: Some("moved to accounts".to_owned()),
        }],
        risk: Risk::Medium,
        reasons: vec!["it destroys data".to_owned()],
        ..StatementReview::default()
    };
    let finding = |id: &MigrationId, rule: &str, level| LintFinding {
        level,
        migration: id.name_without_schema().into_owned(),
        rule: rule.to_owned(),
        message: "During normal index creation, table updates are blocked.".to_owned(),
        help: Some("Use `concurrently`.".to_owned()),
        line: 1,
        place: Some(place(id, 1)),
    };
    ReviewedPlan {
        review: PlanReview {
            risk: Risk::High,
            statements: vec![building, dropping],
            notes: vec!["the replica `standby` lags 3 s behind".to_owned()],
        },
        scripts: vec![
            ShownScript {
                migration: index.clone(),
                sql: "CREATE INDEX orders_total ON orders (total);\n".to_owned(),
                hidden: Vec::new(),
            },
            ShownScript {
                migration: drop.clone(),
                sql: "-- note: ``` in a comment\nALTER TABLE users DROP COLUMN name;\n".to_owned(),
                hidden: vec!["runs Python code: not shown".to_owned()],
            },
        ],
        findings: vec![
            finding(&index, "require-concurrent-index-creation", FindingLevel::Warning),
            finding(&drop, "ban-drop-column", FindingLevel::Allowed("nobody reads it".to_owned())),
        ],
        unused_allowances: vec!["drop users.nick".to_owned()],
    }
}

pub(super) fn successful_events() -> SampleEvents {
    let mut events = events_until_migration();
    events.extend([
        (
            1_400,
            Event::Notice {
                severity: "NOTICE".to_owned(),
                text: "table \"x\" | skipping\n::error::no".to_owned(),
                about: Some(NoticeSubject::Migration(4)),
            },
        ),
        (1_420, Event::Applied { index: 4, took: Duration::from_millis(1_100) }),
        (1_500, Event::StageDone(Stage::Migrate)),
        (1_600, Event::Verified(Proof::Ledger)),
    ]);
    events
}

pub(super) fn failed_events() -> SampleEvents {
    let place = FilePosition {
        file: "migrations/0004_drop_name.sql".to_owned(),
        line: Some(2),
        column: Some(13),
        excerpt: Some(Excerpt::new("ALTER TABLE userz DROP name;", 13)),
    };
    let fault = Fault::new(Code::StatementFailed, "relation \"userz\" does not exist")
        .in_file(place)
        .sqlstate("42P01")
        .detail("HINT: ##[error]look at `users`");
    let mut events = events_until_migration();
    events.extend([(330, Event::Failed { index: 4 }), (330, Event::Fault(fault))]);
    events
}

pub(super) fn unpinned_events() -> SampleEvents {
    let fault = Fault::new(Code::HostKeyUnpinned, "no key is pinned for `bastion.example.org`")
        .detail("bastion.example.org ssh-ed25519 AAAA");
    vec![(0, Event::StageStarted(Stage::Bastion)), (50, Event::Fault(fault))]
}

pub(super) fn report_of(events: &SampleEvents) -> RunReport {
    let runner = Runner {
        server_url: Some("https://github.com".to_owned()),
        repository: Some("owner/name".to_owned()),
        run_id: Some("1".to_owned()),
        commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
        ..Runner::default()
    };
    let mut report = RunReport::new(Some(Command::Migrate), Some("prod".to_owned()), &runner);
    events.iter().for_each(|(at, event)| report.fold_event(event, Duration::from_millis(*at)));
    report
}

/// A stream whose content can be read afterwards.
#[derive(Clone, Default)]
pub(super) struct SharedBuffer(Arc<Mutex<Vec<u8>>>);

impl Write for SharedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SharedBuffer {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}
