//! The surfaces of typical runs, each kept in a golden file.

use super::{
    comment::{COMMENT_LIMIT, CommentStamp, comment_body},
    run_report::RunReport,
    sample::{self, SampleEvents, migration_id},
    summary::render_summary,
};
use crate::{
    fault::{Code, Excerpt, Fault, FilePosition, Stage},
    run::{
        Coverage, HalfDoneMigration, LedgerEntry, MigrationId, PlanAction, PlanFacts,
        event::{Event, Proof},
    },
    settings::Command,
};
use std::time::{Duration, UNIX_EPOCH};

const NAMES: [&str; 8] = [
    "create_customers",
    "create_orders",
    "add_email",
    "index_orders_by_customer",
    "add_currency",
    "fill_currency",
    "currency_not_null",
    "drop_old_totals",
];

/// Returns the events of a run with these migrations, until the first one starts.
fn planned(pending: Vec<MigrationId>, ledger: &str) -> SampleEvents {
    let plan = PlanFacts {
        change: PlanAction::Apply,
        coverage: Coverage::Complete,
        layout: "plain".to_owned(),
        ledger: ledger.to_owned(),
        recorded: 41,
        pending,
        digest: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
        reason: None,
    };
    let connected = sample::events_until_migration().into_iter().take_while(|(at, _)| *at < 250);
    let next =
        [(250, Event::Planned(plan)), (250, Event::StageDone(Stage::Plan)), (300, Event::StageStarted(Stage::Migrate))];
    connected.chain(next).collect()
}

fn files(count: usize) -> Vec<MigrationId> {
    (42..42 + count).zip(NAMES.iter().cycle()).map(|(index, name)| migration_id(index, name)).collect()
}

/// Adds the application of these migrations, one after the other.
fn apply(events: &mut SampleEvents, indexes: impl IntoIterator<Item = usize>, took: impl Fn(usize) -> u64) {
    for index in indexes {
        let start = events.last().map_or(0, |(at, _)| *at);
        let id = migration_id(index, NAMES[(index - 42) % NAMES.len()]);
        events.push((start, Event::Started(id)));
        events.push((start + took(index), Event::Applied { index, took: Duration::from_millis(took(index)) }));
    }
}

fn summary(events: &SampleEvents) -> String {
    render_summary(&sample::report_of(events), 1 << 20)
}

fn verified(mut events: SampleEvents) -> SampleEvents {
    let end = events.last().map_or(0, |(at, _)| *at) + 40;
    events.extend([(end, Event::StageDone(Stage::Migrate)), (end, Event::Verified(Proof::Ledger))]);
    events
}

#[test]
fn success_of_8_files() {
    let mut events = planned(files(8), "bastion_migrate.ledger");
    apply(&mut events, 42..50, |index| if index == 47 { 1_840 } else { 9 });
    insta::assert_snapshot!(summary(&verified(events)));
}

#[test]
fn failure_in_file_50_of_60() {
    let mut events = planned(files(60), "bastion_migrate.ledger");
    apply(&mut events, 42..91, |_| 7);
    let file = migration_id(91, NAMES[1]).file;
    let place = FilePosition {
        file,
        line: Some(14),
        column: Some(34),
        excerpt: Some(Excerpt::new("ALTER TABLE orders ADD FOREIGN KEY (custmer_id) REFERENCES customers;", 37)),
    };
    let fault =
        Fault::new(Code::StatementFailed, "column \"custmer_id\" referenced in foreign key constraint does not exist")
            .in_file(place)
            .sqlstate("42703");
    events.extend([(700, Event::Failed { index: 91 }), (700, Event::Fault(fault))]);
    insta::assert_snapshot!(summary(&events));
}

fn stamp() -> CommentStamp {
    CommentStamp {
        key: Some("prod".to_owned()),
        commit: Some("89abcdef0123456789abcdef0123456789abcdef".to_owned()),
        repository_url: Some("https://github.com/owner/name".to_owned()),
        written_at: UNIX_EPOCH + Duration::from_secs(1_795_982_535),
    }
}

#[test]
fn comment_with_a_plan() {
    let events = planned(files(8), "bastion_migrate.ledger").into_iter().take_while(|(at, _)| *at < 300).collect();
    let report = RunReport { command: Some(Command::Plan), ..sample::report_of(&events) };
    insta::assert_snapshot!(comment_body(&report, &stamp(), COMMENT_LIMIT));
}

/// Returns the events of a run over tenants, with two migrations each.
fn tenants(count: usize) -> SampleEvents {
    let schemas = (1..=count).flat_map(|number| [number, number]);
    let names = ["shop.0007_invoices", "shop.0008_invoice_lines"].into_iter().cycle();
    let ids = schemas.zip(names).enumerate().map(|(at, (number, name))| MigrationId {
        index: at + 1,
        ..MigrationId::of_tool(name.to_owned(), format!("tenant_{number:02}"))
    });
    planned(ids.collect(), "django_migrations in each schema")
}

#[test]
fn comment_with_a_reviewed_plan() {
    let pending = vec![migration_id(3, "index_orders"), migration_id(4, "drop_name")];
    let events = planned(pending, "bastion_migrate.ledger").into_iter().take_while(|(at, _)| *at < 300);
    let events = events.chain([(260, Event::Reviewed(std::sync::Arc::new(sample::reviewed_plan())))]).collect();
    let report = RunReport { command: Some(Command::Plan), ..sample::report_of(&events) };
    insta::assert_snapshot!(comment_body(&report, &stamp(), COMMENT_LIMIT));
}

#[test]
fn tenants_with_one_failed() {
    let mut events = tenants(24);
    let applied = (1..=24).map(|index| (400, Event::Recorded { index, took: Some(Duration::from_millis(31)) }));
    events.extend(applied.filter(|(_, event)| !matches!(event, Event::Recorded { index: 14, .. })));
    let fault = (0..20).fold(
        Fault::new(Code::ToolFailed, "`python manage.py migrate_schemas --tenant` ended with code 1 in `tenant_07`: column \"total\" contains null values")
            .sqlstate("23502"),
        |fault, line| fault.detail(format!("  File \"/usr/lib/python3.12/site-packages/django/db/{line}.py\", line 7, in execute")),
    );
    events.extend([(900, Event::Failed { index: 14 }), (900, Event::Fault(fault))]);
    insta::assert_snapshot!(summary(&events));
}

#[test]
fn tenants_that_are_all_done() {
    let mut events = tenants(4);
    events.extend((1..=8).map(|index| (400, Event::Recorded { index, took: Some(Duration::from_millis(31)) })));
    insta::assert_snapshot!(summary(&verified(events)));
}

#[test]
fn doctor_with_a_finding_of_each_state() {
    let report = RunReport { command: Some(Command::Doctor), ..sample::report_of(&sample::doctor_events()) };
    insta::assert_snapshot!(render_summary(&report, 1 << 20));
}

#[test]
fn cancelled_run() {
    let mut events = planned(files(8), "bastion_migrate.ledger");
    apply(&mut events, 42..45, |_| 9);
    events.push((400, Event::Started(migration_id(45, NAMES[3]))));
    events.push((
        95_400,
        Event::Fault(Fault::new(Code::Cancelled, "the run was cancelled (SIGINT)").in_stage(Stage::Migrate)),
    ));
    insta::assert_snapshot!(summary(&events));
}

#[test]
fn run_in_doubt() {
    let mut events = planned(files(8), "bastion_migrate.ledger");
    apply(&mut events, 42..45, |_| 9);
    events.push((400, Event::Started(migration_id(45, NAMES[3]))));
    events.push((900, Event::InDoubt { index: 45 }));
    let fault = Fault::new(
        Code::CommitInDoubt,
        "the connection broke while `migrations/0045_index_orders_by_customer.sql` was being committed, and the database can't be reached to find out",
    );
    events.push((900, Event::Fault(fault)));
    insta::assert_snapshot!(summary(&events));
}

/// Returns a row of our own ledger; the first ones were recorded on a laptop.
fn ledger_entry(index: usize) -> LedgerEntry {
    LedgerEntry {
        id: migration_id(index, NAMES[index % NAMES.len()]),
        recorded_at: Some(format!("2026-01-{index:02}T23:59:59Z")),
        role: Some(if index == 1 { "o|wner_<b>".to_owned() } else { "owner".to_owned() }),
        run: (index > 1).then(|| format!("https://github.com/owner/name/actions/runs/{index}")),
    }
}

fn status(recorded: Vec<LedgerEntry>, half_done: Vec<HalfDoneMigration>) -> RunReport {
    let listed = Event::LedgerListed { recorded, half_done };
    let events = planned(files(2), "bastion_migrate.ledger").into_iter().take_while(|(at, _)| *at < 300);
    let events = events.chain([(250, listed)]).collect();
    RunReport { command: Some(Command::Status), ..sample::report_of(&events) }
}

#[test]
fn status_with_a_half_done_migration() {
    let gone =
        LedgerEntry { id: MigrationId { file: String::new(), ..migration_id(4, "gone") }, ..LedgerEntry::default() };
    let half = HalfDoneMigration {
        entry: LedgerEntry { id: migration_id(42, NAMES[0]), ..LedgerEntry::default() },
        statements_done: Some(2),
        change: PlanAction::Apply,
    };
    let recorded = vec![ledger_entry(1), ledger_entry(2), ledger_entry(3), gone];
    insta::assert_snapshot!(render_summary(&status(recorded, vec![half]), 1 << 20));
}

#[test]
fn status_of_a_ledger_that_has_versions_alone() {
    let entry = |index| LedgerEntry { id: migration_id(index, "add_email"), ..LedgerEntry::default() };
    insta::assert_snapshot!(render_summary(&status((1..4).map(entry).collect(), Vec::new()), 1 << 20));
}

#[test]
fn first_run_without_a_pin() {
    let line = "bastion.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKqP3S3n0fNnG0o3Yp3nVJ5zCjJ0Z8nYJm8m1JmXy0aB";
    let cause = "no key is pinned for `bastion.example.org`, which shows ssh-ed25519 \
        SHA256:uNiVztksCsDhcc0u9e8BrgJXVGDqYtKsvSMD5HqJRB0";
    let fault = Fault::new(Code::HostKeyUnpinned, cause).detail(line);
    insta::assert_snapshot!(summary(&vec![(0, Event::StageStarted(Stage::Bastion)), (480, Event::Fault(fault))]));
}
