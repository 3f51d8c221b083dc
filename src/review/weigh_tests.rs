//! Plans as pictures: a database, statements, and the weight that they have there.

use super::{
    AllowedLoss, Certainty, Destruction, LockMode, LockedRelation, PlanNames, Probe, RelationFacts, RelationKind,
    Scales, ScriptEffects, ScriptTransaction, StatementEffect, TableFacts, TableSize, TableWork, WorkRates,
    relation_facts::Descendants,
    table_facts::{ForeignKey, IndexFacts, SchemaFacts, ServerFacts, StatementFamilies, TypeFacts},
    test_effects::{effect, locked, name},
    weigh_plan,
};
use crate::{
    run::{Content, HeldUp, MigrationId, PlanReview, Risk, StatementReview},
    settings::RiskSettings,
};
use std::time::Duration;

const GIGABYTE: u64 = 1 << 30;

/// A database with these tables: a large one, one that refers to it, a small one, and one that was never analysed.
fn shop() -> TableFacts {
    let tables = [
        ("orders", Some(120_000_000), Some(38 * GIGABYTE)),
        ("lines", Some(400_000_000), Some(60 * GIGABYTE)),
        ("colours", Some(200), Some(16_384)),
        ("imported", None, None),
    ];
    let mut facts = TableFacts {
        foreign_keys: vec![ForeignKey { from: 2, to: 1 }],
        server: ServerFacts {
            lock_capacity: 6_400,
            statistics_age: Some(Duration::from_secs(3 * 86_400)),
            ..ServerFacts::default()
        },
        ..TableFacts::default()
    };
    for (oid, (table, rows, heap_bytes)) in (1..).zip(tables) {
        let size = TableSize { rows, heap_bytes, indexes: 2, ..TableSize::default() };
        add(&mut facts, RelationFacts { oid, name: table.to_owned(), size, ..RelationFacts::default() });
    }
    facts
}

fn add(facts: &mut TableFacts, relation: RelationFacts) {
    let relation = RelationFacts { schema: "public".to_owned(), ..relation };
    facts.names.insert(name(&relation.name), relation.oid);
    facts.relations.insert(relation.oid, relation);
}

fn statement(summary: &str, mode: LockMode, table: &str, work: Option<TableWork>) -> StatementEffect {
    StatementEffect {
        locks: vec![locked(mode, LockedRelation::Named(name(table)))],
        work: work.into_iter().collect(),
        ..effect(summary)
    }
}

fn adding_a_column(table: &str) -> StatementEffect {
    statement("ALTER TABLE … ADD COLUMN", LockMode::AccessExclusive, table, None)
}

fn building_an_index(table: &str) -> StatementEffect {
    statement("CREATE INDEX", LockMode::Share, table, Some(TableWork::BuildIndex(name(table))))
}

fn building_concurrently(table: &str) -> StatementEffect {
    let work = Some(TableWork::BuildIndex(name(table)));
    statement("CREATE INDEX CONCURRENTLY", LockMode::ShareUpdateExclusive, table, work)
}

fn creating(table: &str) -> StatementEffect {
    StatementEffect { creates: vec![name(table)], ..effect("CREATE TABLE") }
}

fn destroying(summary: &str, destruction: Destruction) -> StatementEffect {
    StatementEffect { destroys: vec![destruction], ..effect(summary) }
}

fn weigh_in(facts: &TableFacts, effects: &[StatementEffect], allowed: &[AllowedLoss]) -> PlanReview {
    let (settings, migration) = (RiskSettings::default(), MigrationId::of_tool("0001_one".to_owned(), String::new()));
    let scripts = [ScriptEffects { migration: &migration, transaction: ScriptTransaction::Whole, effects }];
    weigh_plan(&scripts, &Scales { facts, settings: &settings, rates: &WorkRates::TYPICAL, allowed })
}

/// Weighs one statement in the shop.
fn weigh(effect: StatementEffect) -> StatementReview {
    weigh_in(&shop(), &[effect], &[]).statements.remove(0)
}

#[test]
fn an_index_on_a_large_table_blocks_writes_for_minutes() {
    let review = weigh(building_an_index("orders"));
    assert_eq!((review.risk, review.blocks), (Risk::High, HeldUp::Writes));
    assert_eq!(review.locks, ["SHARE on orders (120 M rows, 38 GB)"]);
    assert_eq!(review.work, ["builds an index of orders (120 M rows, 38 GB)"]);
    assert_eq!(
        review.reasons,
        ["It blocks writes to orders (120 M rows, 38 GB) for 2 to 17 min: index of orders, 38 GB and 120 M rows, \
          at 100 MB to 400 MB/s and 200,000 to 2.0 M rows/s."]
    );
}

#[test]
fn the_same_index_concurrently_or_on_a_small_or_a_new_table_is_a_low_risk() {
    assert_eq!(weigh(building_concurrently("orders")).risk, Risk::Low);
    assert_eq!(weigh(building_an_index("colours")).risk, Risk::Low);
    let plan = weigh_in(&shop(), &[creating("notes"), building_an_index("notes")], &[]);
    assert_eq!(plan.risk, Risk::Low);
    let index = plan.statements.iter().find(|review| review.statement == 1).unwrap();
    assert_eq!(
        (&index.locks[..], index.blocks),
        (&["SHARE on notes (created by this plan)".to_owned()][..], HeldUp::Nothing)
    );
    assert_eq!(index.reasons, ["It works only on what this plan creates."]);
}

#[test]
fn a_table_that_is_only_created_if_it_does_not_exist_keeps_its_size() {
    assert_eq!(weigh_in(&shop(), &[creating("orders"), building_an_index("orders")], &[]).risk, Risk::High);
}

#[test]
fn a_short_lock_is_a_low_risk_unless_the_transaction_goes_on() {
    let short = weigh(adding_a_column("orders"));
    assert_eq!((short.risk, short.blocks), (Risk::Low, HeldUp::ReadsAndWrites));
    assert_eq!(
        short.reasons,
        ["It blocks reads and writes of orders (120 M rows, 38 GB) only for a moment, once it has the lock."]
    );
    let plan = weigh_in(&shop(), &[adding_a_column("orders"), building_concurrently("lines")], &[]);
    let worst = &plan.statements[0];
    assert_eq!((worst.statement, worst.risk), (1, Risk::High));
    assert!(
        worst.reasons[0].contains("still holds the locks of earlier statements")
            && worst.reasons[0].contains("reads and writes of orders"),
        "{:?}",
        worst.reasons
    );
}

#[test]
fn statements_in_transactions_of_their_own_keep_no_locks() {
    let (facts, settings, migration) = (shop(), RiskSettings::default(), MigrationId::default());
    let effects = [adding_a_column("orders"), building_concurrently("lines")];
    let transaction = ScriptTransaction::AsWritten;
    let scripts = [ScriptEffects { migration: &migration, transaction, effects: &effects }];
    let scales = Scales { facts: &facts, settings: &settings, rates: &WorkRates::TYPICAL, allowed: &[] };
    assert_eq!(weigh_plan(&scripts, &scales).risk, Risk::Low);
}

#[test]
fn a_table_that_was_never_analysed_is_a_medium_risk() {
    let review = weigh(building_an_index("imported"));
    assert_eq!((review.risk, &review.estimate), (Risk::Medium, &None));
    assert!(review.reasons[0].contains("for an unknown time, because imported was never analysed"), "{review:?}");
}

#[test]
fn what_is_not_known_is_a_medium_risk() {
    let code = StatementEffect { certainty: Certainty::MayBeMore("it runs PL/pgSQL".to_owned()), ..effect("DO") };
    assert_eq!(weigh(code).reasons[0], "It may do more than its text shows: it runs PL/pgSQL.");
    let missing = weigh(adding_a_column("renamed"));
    assert_eq!(missing.risk, Risk::Medium);
    assert!(missing.reasons[0].starts_with("renamed is not in this database now"), "{missing:?}");
    let unknown = TableFacts::unknown("the question took longer than 10 s");
    let review = weigh_in(&unknown, &[building_an_index("orders")], &[]);
    assert_eq!(review.risk, Risk::Medium);
    assert!(
        review.statements[0]
            .reasons
            .contains(&"The size of its tables is unknown: the question took longer than 10 s.".to_owned())
    );
}

#[test]
fn the_other_ends_of_foreign_keys_are_named() {
    let mut drop = adding_a_column("orders");
    drop.locks.push(locked(LockMode::ShareRowExclusive, LockedRelation::ReferencesTo(name("orders"))));
    assert_eq!(weigh(drop).locks[1], "SHARE ROW EXCLUSIVE on lines (400 M rows, 60 GB)");
    let mut key = adding_a_column("lines");
    key.locks.push(locked(LockMode::ShareRowExclusive, LockedRelation::ReferencedBy(name("lines"))));
    assert_eq!(weigh(key).locks[1], "SHARE ROW EXCLUSIVE on orders (120 M rows, 38 GB)");
}

#[test]
fn an_index_stands_for_its_table() {
    let mut facts = shop();
    let (kind, index) = (RelationKind::Index, "orders_note".to_owned());
    add(&mut facts, RelationFacts { oid: 8, name: index, kind, ..RelationFacts::default() });
    facts.indexes.push(IndexFacts { oid: 8, table: 1, unique: false, only_one_for: Vec::new() });
    let dropping = |index| StatementEffect {
        locks: vec![locked(LockMode::AccessExclusive, LockedRelation::TableOfIndex(name(index)))],
        ..effect("DROP INDEX")
    };
    let plan = weigh_in(&facts, &[dropping("orders_note")], &[]);
    assert_eq!(plan.statements[0].locks, ["ACCESS EXCLUSIVE on orders (120 M rows, 38 GB)"]);
    let plan = weigh_in(&facts, &[creating("new_one"), dropping("new_one")], &[]);
    assert_eq!(plan.statements[0].locks, ["ACCESS EXCLUSIVE on the table of new_one (not in this database now)"]);
    assert_eq!(plan.risk, Risk::Medium, "its table may be a large one");
}

#[test]
fn partitions_are_counted_together_and_need_room_for_their_locks() {
    let mut facts = shop();
    let size = TableSize { rows: Some(9_000_000), heap_bytes: Some(GIGABYTE), indexes: 4_000, ..TableSize::default() };
    let descendants = Some(Descendants { count: 2_000, size });
    let none = TableSize { rows: Some(0), heap_bytes: Some(0), ..TableSize::default() };
    let kind = RelationKind::Partitioned;
    add(
        &mut facts,
        RelationFacts { oid: 9, name: "events".to_owned(), kind, size: none, descendants, ..RelationFacts::default() },
    );
    let mut alter = adding_a_column("events");
    alter.locks.push(locked(LockMode::AccessExclusive, LockedRelation::DescendantsOf(name("events"))));
    let plan = weigh_in(&facts, &[alter], &[]);
    assert_eq!(
        plan.statements[0].locks,
        [
            "ACCESS EXCLUSIVE on events (9.0 M rows, 1.0 GB)",
            "ACCESS EXCLUSIVE on the 2,000 partitions of events (9.0 M rows, 1.0 GB)"
        ]
    );
    assert!(plan.notes[0].starts_with("0001_one takes about 6,001 locks in one transaction"), "{:?}", plan.notes);
}

#[test]
fn a_loss_is_a_high_risk_with_what_is_known_of_it() {
    let mut facts = shop();
    facts.relations.get_mut(&1).unwrap().writes = 3_200_000;
    facts.relations.get_mut(&1).unwrap().views = 2;
    facts.probes.insert(1, Probe::MoreThan(10_000));
    let column = Destruction::Column { table: name("orders"), column: "note".to_owned() };
    let plan = weigh_in(&facts, &[destroying("ALTER TABLE", column)], &[]);
    let lost = &plan.statements[0].destroys[0];
    assert_eq!((lost.what.as_str(), lost.qualified.as_str()), ("drop orders.note", "drop public.orders.note"));
    assert_eq!((plan.risk, lost.content), (Risk::High, Content::Something));
    assert_eq!(lost.facts, "120 M rows, 38 GB, 3,200,000 rows written and 0 scans in the last 3 days, used by 2 views");
}

#[test]
fn only_a_look_proves_that_a_table_is_empty() {
    let drop = || destroying("DROP TABLE colours", Destruction::Table(name("colours")));
    let content = |facts: &TableFacts| {
        let plan = weigh_in(facts, &[drop()], &[]);
        (plan.risk, plan.statements[0].destroys[0].content)
    };
    let mut facts = shop();
    facts.relations.get_mut(&3).unwrap().size.rows = Some(0);
    assert_eq!(content(&facts), (Risk::High, Content::Unknown));
    for (probe, expected) in [
        (Probe::Rows(0), (Risk::Low, Content::Nothing)),
        (Probe::Rows(3), (Risk::High, Content::Something)),
        (Probe::Unreadable("another session holds a lock".to_owned()), (Risk::High, Content::Unknown)),
    ] {
        facts.probes.insert(3, probe);
        assert_eq!(content(&facts), expected);
    }
}

#[test]
fn every_kind_of_loss_has_a_name_that_can_be_allowed() {
    let mut facts = shop();
    facts.schemas.push(SchemaFacts { name: "old".to_owned(), tables: 12, size: TableSize::default() });
    facts.types.push(TypeFacts { name: name("mood"), schema: "public".to_owned(), columns: 2 });
    add(
        &mut facts,
        RelationFacts { oid: 8, name: "lines_order".to_owned(), kind: RelationKind::Index, ..RelationFacts::default() },
    );
    let only_one_for = vec!["lines_order_fkey".to_owned()];
    facts.indexes.push(IndexFacts { oid: 8, table: 2, unique: false, only_one_for });
    let orders = || name("orders");
    let columns = vec!["status".to_owned(), "Note".to_owned()];
    for (summary, destruction, expected) in [
        ("DROP TABLE orders", Destruction::Table(orders()), &["drop orders"][..]),
        ("TRUNCATE orders", Destruction::Rows(orders()), &["truncate orders"]),
        ("DELETE FROM orders", Destruction::Rows(orders()), &["delete orders"]),
        (
            "UPDATE orders",
            Destruction::Values { table: orders(), columns },
            &["update orders.status", "update orders.\"Note\""],
        ),
        (
            "ALTER TABLE orders",
            Destruction::Narrowed { table: orders(), column: "total".to_owned(), to: "int".to_owned() },
            &["narrow orders.total"],
        ),
        ("DROP SCHEMA old", Destruction::Schema("old".to_owned()), &["drop schema old"]),
        ("DROP TYPE mood", Destruction::Type(name("mood")), &["drop type mood"]),
        ("DROP INDEX lines_order", Destruction::Index(name("lines_order")), &["drop index lines_order"]),
    ] {
        let plan = weigh_in(&facts, &[destroying(summary, destruction.clone())], &[]);
        let lost = &plan.statements[0].destroys;
        assert_eq!(lost.iter().map(|object| object.what.as_str()).collect::<Vec<_>>(), expected, "{summary}");
        assert_eq!(plan.risk, Risk::High, "{summary}");
        let allow = |what: &String| AllowedLoss { what: what.to_uppercase(), reason: "nobody reads it".to_owned() };
        let allowed: Vec<AllowedLoss> = lost.iter().map(|object| allow(&object.qualified)).collect();
        let plan = weigh_in(&facts, &[destroying(summary, destruction)], &allowed);
        assert_eq!(plan.risk, Risk::Low, "{summary}");
        assert!(plan.statements[0].reasons[1].ends_with("It is allowed: nobody reads it."), "{plan:?}");
    }
}

#[test]
fn an_allowance_without_a_loss_is_unused() {
    let allow = |what: &str| AllowedLoss { what: what.to_owned(), reason: "it is old".to_owned() };
    let allowed = [allow("drop  Public.colours"), allow("drop orders")];
    let plan = weigh_in(&shop(), &[destroying("DROP TABLE colours", Destruction::Table(name("colours")))], &allowed);
    assert_eq!(plan.risk, Risk::Low);
    assert_eq!(crate::review::weighed_destruction::unused_losses(&plan, &allowed), [&allowed[1]]);
}

#[test]
fn an_index_that_no_foreign_key_needs_is_no_loss() {
    let mut facts = shop();
    add(
        &mut facts,
        RelationFacts { oid: 8, name: "lines_order".to_owned(), kind: RelationKind::Index, ..RelationFacts::default() },
    );
    facts.indexes.push(IndexFacts { oid: 8, table: 2, unique: false, only_one_for: Vec::new() });
    let plan = weigh_in(&facts, &[destroying("DROP INDEX lines_order", Destruction::Index(name("lines_order")))], &[]);
    assert_eq!((plan.risk, &plan.statements[0].destroys[..]), (Risk::Low, &[][..]));
}

#[test]
fn a_thing_that_does_not_exist_is_no_loss_unless_it_may_get_its_name_before() {
    let drop = || destroying("DROP TABLE IF EXISTS gone", Destruction::Table(name("gone")));
    assert_eq!(weigh(drop()).destroys[0].content, Content::Nothing);
    let rename = effect("ALTER TABLE orders RENAME TO gone");
    let plan = weigh_in(&shop(), &[rename, drop()], &[]);
    assert_eq!((plan.risk, plan.statements[0].destroys[0].content), (Risk::High, Content::Unknown));
    let plan = weigh_in(&shop(), &[creating("gone"), drop()], &[]);
    assert_eq!(plan.risk, Risk::Low);
}

#[test]
fn the_worst_statement_comes_first() {
    let effects = [effect("SELECT"), building_concurrently("orders"), building_an_index("orders")];
    let order: Vec<usize> = weigh_in(&shop(), &effects, &[]).statements.iter().map(|review| review.statement).collect();
    assert_eq!(order, [2, 1, 0]);
}

#[test]
fn an_old_count_and_the_users_of_a_table_are_told() {
    let mut facts = shop();
    let orders = facts.relations.get_mut(&1).unwrap();
    (orders.analyzed_ago, orders.modified_since) = (Some(Duration::from_secs(12 * 86_400)), 60_000_000);
    let (families, counted_for) = (3, Some(Duration::from_secs(600)));
    let most_frequent = "SELECT".to_owned();
    facts.families.push(StatementFamilies { table: 1, families, calls: 12_000, counted_for, most_frequent });
    let reasons = &weigh_in(&facts, &[building_an_index("orders")], &[]).statements[0].reasons;
    assert_eq!(
        reasons[1..],
        [
            "60 M rows of orders have changed since its size was counted 12 days ago.",
            "orders is used by 1,200 calls per minute, most often SELECT."
        ]
    );
}

#[test]
fn disk_space_is_mentioned_where_much_is_written() {
    let rewrite =
        statement("ALTER TABLE", LockMode::AccessExclusive, "orders", Some(TableWork::Rewrite(name("orders"))));
    let plan = weigh_in(&shop(), &[rewrite], &[]);
    assert_eq!(
        plan.notes,
        ["Rewrites and new indexes need up to 38 GB of disk space; SQL can't show how much is free."]
    );
    assert_eq!(weigh_in(&shop(), &[building_an_index("colours")], &[]).notes, [""; 0]);
}

#[test]
fn tables_are_looked_into_if_they_lose_data_or_were_never_counted() {
    let facts = shop();
    let effects = [
        building_an_index("imported"),
        adding_a_column("orders"),
        destroying("DROP TABLE colours", Destruction::Table(name("colours"))),
    ];
    let names = PlanNames::of(&effects);
    let looked: Vec<&str> = facts.tables_to_probe(&names).iter().map(|table| table.name.as_str()).collect();
    assert_eq!(looked, ["colours", "imported"]);
}

#[test]
fn ten_thousand_statements_are_weighed_in_a_second() {
    let mut facts = TableFacts::default();
    for oid in 1..=10_000 {
        let size = TableSize { rows: Some(1_000_000), heap_bytes: Some(GIGABYTE), indexes: 1, ..TableSize::default() };
        add(&mut facts, RelationFacts { oid, name: format!("t_{oid}"), size, ..RelationFacts::default() });
    }
    let (settings, migration) = (RiskSettings::default(), MigrationId::default());
    let effects: Vec<StatementEffect> = (0..10_000)
        .flat_map(|number| [creating(&format!("n_{number}")), building_an_index(&format!("t_{number}"))])
        .collect();
    let transaction = ScriptTransaction::Whole;
    let scripts: Vec<ScriptEffects<'_>> =
        effects.chunks(2).map(|effects| ScriptEffects { migration: &migration, transaction, effects }).collect();
    let start = std::time::Instant::now();
    let scales = Scales { facts: &facts, settings: &settings, rates: &WorkRates::TYPICAL, allowed: &[] };
    assert_eq!(weigh_plan(&scripts, &scales).statements.len(), 20_000);
    // Quadratic work would take minutes, on any machine.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
