//! What a database has of the application's migrations.

use crate::{
    agreement::{Trace, TransactionMode},
    app::{MIGRATIONS, TROUBLE, with_trouble},
    judgement::{Evidence, Reading},
    look::read_runs,
    network::Database,
};
use std::collections::BTreeMap;

/// Query for the effect of each migration and its count. The rows of the last one but one are in a table that may not
/// be there yet.
const EFFECTS: &str = "select 'carriers.0001_initial', count(to_regclass('carriers_carrier')) \
    union all select 'suppliers.0001_initial', count(to_regclass('suppliers_supplier')) \
    union all select 'customers.0001_initial', count(to_regclass('customers_customer')) \
    union all select 'customers.0002_region', count(*) from information_schema.columns \
        where table_name = 'customers_customer' and column_name = 'region' \
    union all select 'customers.0003_first_customer', case when to_regclass('customers_customer') is null then 0 \
        else (xpath('/row/times/text()', query_to_xml('select count(*) as times from customers_customer', true, true, '')))[1]::text::int end \
    union all select 'trouble.0001_trouble', count(to_regclass('trouble_slow'))";

/// Migrations without statements that Django defers to the end; the others are recorded after their commit.
const RECORDED_WITHIN: [&str; 3] = [MIGRATIONS[3], MIGRATIONS[4], TROUBLE];

/// The database that the application is migrated in.
pub(super) struct AppDatabase<'d>(pub(super) &'d Database);

impl Evidence for AppDatabase<'_> {
    fn read(&self) -> Reading {
        let session = self.0.session();
        let sql = |query: &str| session.sql(query);
        let effects = sql(EFFECTS);
        let effects: BTreeMap<&str, &str> = effects.lines().filter_map(|row| row.split_once('|')).collect();
        let has_ledger = !sql("select to_regclass('django_migrations')").is_empty();
        let ledger = if has_ledger {
            sql("select app || '.' || name from django_migrations order by id")
        } else {
            String::new()
        };
        let times = |name: &str| ledger.lines().filter(|row| *row == name).count();
        let twice = with_trouble().filter(|name| times(name) > 1).map(|name| format!("{name} is recorded twice"));
        let unknown = ledger.lines().filter(|row| with_trouble().all(|name| name != *row));
        let unknown = unknown.map(|row| format!("the ledger has a row of no migration: {row}"));
        let trace = |name: &str| Trace {
            name: name.to_owned(),
            mode: if RECORDED_WITHIN.contains(&name) {
                TransactionMode::SingleTransaction
            } else {
                TransactionMode::RecordedAfterwards
            },
            effects: vec![effects.get(name).map(|times| times.parse().expect("a count is a number"))],
            recorded: times(name) > 0,
            progress: None,
        };
        let wrong = twice.chain(unknown).collect();
        Reading { traces: with_trouble().map(trace).collect(), places: 1, rows: read_runs(&sql), wrong }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// A database with nothing to migrate.
pub(super) struct OtherDatabase<'d>(pub(super) &'d Database);

impl Evidence for OtherDatabase<'_> {
    fn read(&self) -> Reading {
        let session = self.0.session();
        Reading { rows: read_runs(&|query: &str| session.sql(query)), ..Reading::default() }
    }

    fn flush(&self) {
        self.0.flush();
    }
}
