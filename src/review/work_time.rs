//! The time that work on a table takes, by its size and the rates of the server.

use super::{
    effect::TableWork,
    relation_facts::TableSize,
    units::{format_count, format_range, format_rows},
};
use crate::run::{Confidence, Estimate, format_bytes};
use std::time::Duration;

/// Two rates: units per second at which a server works if it is slow, and if it is fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateRange {
    /// The slow one.
    pub slow: u64,
    /// The fast one.
    pub fast: u64,
}

/// The rates at which a server works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkRates {
    /// Bytes per second that are read in a full scan.
    pub scan: RateRange,
    /// Bytes per second that are written in a rewrite of a table, without its indexes.
    pub rewrite: RateRange,
    /// Rows per second that are put into a new index.
    pub index: RateRange,
    /// Entries per second that are put into an index by an update, if the indexes fit into memory.
    pub entry: RateRange,
    /// The same if they don't.
    pub cold_entry: RateRange,
    /// The source of the rates.
    pub source: RateSource,
}

/// The source of the rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateSource {
    /// Servers in general.
    Typical,
    /// Earlier runs on this server.
    ThisServer,
}

const MEGABYTE: u64 = 1 << 20;

/// Bytes of indexes that fit into the memory of any server: half of that of the second smallest class of Amazon RDS.
const CACHED: u64 = 1 << 30;

impl WorkRates {
    /// The rates of servers in general. The slow ones are those of a cold cache on a volume with 125 MB/s, the baseline
    /// of an Amazon EBS volume of the type gp3, and of text in an index. The fast ones are those of data in memory:
    /// PostgreSQL 15 with 2 M rows in 178 MB and three indexes, on two busy cores, scanned 1 GB/s, put 0.25 M (text) to
    /// 1.1 M (numbers) rows per second into an index, and took 14 s for a rewrite, 69 s for an update of all rows (92,000
    /// entries of indexes per second, beside the rows) and 3 s for a delete, which leaves the indexes alone. With 5 M rows
    /// and four indexes of numbers, an update of all put 340,000 entries per second into them, and one of a tenth 310,000.
    /// The slow rates of entries are half of the least of these and, if each entry is on another page that is not in
    /// memory, that of a volume with 125 MB/s: a page of 8 kB is read, written, and written to the WAL as a whole, and a
    /// part of the entries share one. An update can't be HOT where the pages are full, so it is not assumed.
    pub const TYPICAL: Self = Self {
        scan: RateRange { slow: 100 * MEGABYTE, fast: 400 * MEGABYTE },
        rewrite: RateRange { slow: 25 * MEGABYTE, fast: 150 * MEGABYTE },
        index: RateRange { slow: 200_000, fast: 2_000_000 },
        entry: RateRange { slow: 50_000, fast: 800_000 },
        cold_entry: RateRange { slow: 10_000, fast: 800_000 },
        source: RateSource::Typical,
    };
}

/// The work on one table, for the estimate.
#[derive(Debug, Clone)]
pub(super) struct SizedWork<'a> {
    pub(super) work: &'a TableWork,
    pub(super) label: String,
    pub(super) size: TableSize,
    /// The rows that are changed, if the work changes rows.
    pub(super) changed: ChangedRows,
}

/// The rows that a statement changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangedRows {
    /// All of them.
    All,
    /// All of them are deleted.
    AllDeleted,
    /// Those that satisfy a condition.
    Some,
}

/// One part of an estimate: an amount and the rates at which it is worked off.
#[derive(Debug, Clone, Copy)]
struct Portion {
    amount: u64,
    rates: RateRange,
}

/// A part of an estimate, for its basis.
struct Contribution {
    basis: String,
    portions: Vec<Portion>,
    least: ChangedRows,
}

/// Returns the estimate of this work; `None` if there is none, or if a size is unknown.
pub(super) fn estimate_work(works: &[SizedWork<'_>], rates: &WorkRates) -> Option<Estimate> {
    let contributions: Option<Vec<Contribution>> = works.iter().map(|work| contribution(work, rates)).collect();
    let contributions = contributions.filter(|contributions| !contributions.is_empty())?;
    let (mut from, mut to) = (0_u64, 0_u64);
    for part in &contributions {
        for portion in &part.portions {
            let time = |rate: u64| portion.amount.saturating_mul(1_000) / rate.max(1);
            to = to.saturating_add(time(portion.rates.slow));
            if part.least != ChangedRows::Some {
                from = from.saturating_add(time(portion.rates.fast));
            }
        }
    }
    let basis: Vec<String> = contributions.into_iter().map(|part| part.basis).collect();
    let confidence = match rates.source {
        _ if to < 1_000 => Confidence::High,
        RateSource::ThisServer => Confidence::Medium,
        RateSource::Typical => Confidence::Low,
    };
    Some(Estimate { from_ms: from, to_ms: to, basis: basis.join("; "), confidence })
}

/// Returns the estimate as a phrase, as in `3 to 9 min`.
pub(super) fn describe_estimate(estimate: &Estimate) -> String {
    format_range(Duration::from_millis(estimate.from_ms), Duration::from_millis(estimate.to_ms))
}

fn contribution(sized: &SizedWork<'_>, rates: &WorkRates) -> Option<Contribution> {
    let (size, label) = (&sized.size, &sized.label);
    let heap = size.heap_bytes?;
    let stored = heap.saturating_add(size.toast_bytes);
    let scan = Portion { amount: heap, rates: rates.scan };
    let per_second = |range: RateRange| format!("{} to {}/s", format_bytes(range.slow), format_bytes(range.fast));
    let rows_per_second = |range: RateRange| format!("{} to {}/s", format_count(range.slow), format_rows(range.fast));
    let indexed = |rows: u64, indexes: u64| Portion { amount: rows.saturating_mul(indexes), rates: rates.index };
    let (basis, portions, least) = match sized.work {
        TableWork::Scan(_) | TableWork::ScanDefaultPartition(_) => {
            let basis = format!("full scan of {label}, {}, at {}", format_bytes(heap), per_second(rates.scan));
            (basis, vec![scan], ChangedRows::All)
        }
        TableWork::Rewrite(_) => {
            let basis = format!(
                "rewrite of {label}, {}, at {}, and {} new indexes of {}, at {}",
                format_bytes(stored),
                per_second(rates.rewrite),
                size.indexes,
                format_rows(size.rows?),
                rows_per_second(rates.index)
            );
            let written = Portion { amount: stored, rates: rates.rewrite };
            (basis, vec![written, indexed(size.rows?, size.indexes)], ChangedRows::All)
        }
        TableWork::BuildIndex(_) | TableWork::RebuildIndex(_) => {
            let basis = format!(
                "index of {label}, {} and {}, at {} and {}",
                format_bytes(heap),
                format_rows(size.rows?),
                per_second(rates.scan),
                rows_per_second(rates.index)
            );
            (basis, vec![scan, indexed(size.rows?, 1)], ChangedRows::All)
        }
        TableWork::ChangeRows(_) | TableWork::ChangeAllRows(_) => change_of_rows(sized, (heap, size.rows?), rates),
    };
    Some(Contribution { basis, portions, least })
}

/// Returns what a change of rows takes. A new version of a row needs an entry in each index, and a deleted row none.
fn change_of_rows(
    SizedWork { size, label, changed, .. }: &SizedWork<'_>,
    (heap, rows): (u64, u64),
    rates: &WorkRates,
) -> (String, Vec<Portion>, ChangedRows) {
    let which = if *changed == ChangedRows::Some { "up to " } else { "" };
    let (verb, indexes) = match changed {
        ChangedRows::AllDeleted => ("delete", 0),
        ChangedRows::All | ChangedRows::Some => ("change", size.indexes),
    };
    let entry = if size.index_bytes > CACHED { rates.cold_entry } else { rates.entry };
    let entries = rows.saturating_mul(indexes);
    let rewritten = format!(
        "{verb} of {which}{} of {label}, {}, at {} to {}/s",
        format_rows(rows),
        format_bytes(heap),
        format_bytes(rates.rewrite.slow),
        format_bytes(rates.rewrite.fast)
    );
    let heap = Portion { amount: heap, rates: rates.rewrite };
    if entries == 0 {
        return (rewritten, vec![heap], *changed);
    }
    let (count, slow, fast) = (format_count(entries), format_count(entry.slow), format_count(entry.fast));
    let basis = format!("{rewritten}, with {count} entries of {indexes} indexes, at {slow} to {fast}/s");
    (basis, vec![heap, Portion { amount: entries, rates: entry }], *changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::test_effects::name;

    const LARGE: TableSize = TableSize {
        rows: Some(120_000_000),
        heap_bytes: Some(38 << 30),
        toast_bytes: 0,
        index_bytes: 8 << 30,
        indexes: 3,
    };

    fn estimate(work: &TableWork, size: TableSize, changed: ChangedRows, rates: &WorkRates) -> Option<Estimate> {
        estimate_work(&[SizedWork { work, label: "orders".to_owned(), size, changed }], rates)
    }

    #[test]
    fn a_scan_takes_as_long_as_its_bytes_can_be_read() {
        let estimate =
            estimate(&TableWork::Scan(name("orders")), LARGE, ChangedRows::All, &WorkRates::TYPICAL).unwrap();
        assert_eq!((estimate.from_ms, estimate.to_ms), (97_280, 389_120));
        assert_eq!(describe_estimate(&estimate), "1 to 7 min");
        assert_eq!(estimate.basis, "full scan of orders, 38 GB, at 100 MB to 400 MB/s");
        assert_eq!(estimate.confidence, Confidence::Low);
    }

    #[test]
    fn a_rewrite_takes_longer_than_an_index_and_an_index_longer_than_a_scan() {
        let longest = |work| estimate(&work, LARGE, ChangedRows::All, &WorkRates::TYPICAL).unwrap().to_ms;
        let (scan, index) = (longest(TableWork::Scan(name("o"))), longest(TableWork::BuildIndex(name("o"))));
        assert!(scan < index && index < longest(TableWork::Rewrite(name("o"))));
    }

    #[test]
    fn a_change_with_a_condition_may_concern_no_row() {
        let change =
            |changed| estimate(&TableWork::ChangeRows(name("o")), LARGE, changed, &WorkRates::TYPICAL).unwrap();
        assert_eq!(change(ChangedRows::Some).from_ms, 0);
        assert!(
            change(ChangedRows::All).from_ms > 0 && change(ChangedRows::Some).to_ms == change(ChangedRows::All).to_ms
        );
    }

    #[test]
    fn a_change_takes_what_its_indexes_take() {
        let change = |size| {
            let work = TableWork::ChangeAllRows(name("o"));
            estimate(&work, size, ChangedRows::All, &WorkRates::TYPICAL).unwrap()
        };
        // The table of docs/performance.md, "Rehearsal and truth", where it took 67 s.
        let size = TableSize {
            rows: Some(5_000_000),
            heap_bytes: Some(550 << 20),
            toast_bytes: 0,
            index_bytes: 400 << 20,
            indexes: 4,
        };
        let warm = change(size);
        assert_eq!((warm.from_ms, warm.to_ms), (28_666, 422_000));
        assert_eq!(
            warm.basis,
            "change of 5.0 M rows of orders, 550 MB, at 25 MB to 150 MB/s, with 20,000,000 entries of 4 indexes, at 50,000 to 800,000/s"
        );
        assert!(change(TableSize { index_bytes: 4 << 30, ..size }).to_ms > 4 * warm.to_ms);
        assert!(change(TableSize { indexes: 1, ..size }).to_ms < warm.to_ms / 3);
    }

    #[test]
    fn a_delete_leaves_the_indexes_alone() {
        let deleted = |indexes| {
            let size = TableSize { indexes, ..LARGE };
            estimate(&TableWork::ChangeAllRows(name("o")), size, ChangedRows::AllDeleted, &WorkRates::TYPICAL)
        };
        assert!(deleted(0).is_some() && deleted(0) == deleted(5));
    }

    #[test]
    fn rates_of_this_server_deserve_more_trust_and_a_moment_deserves_all() {
        let measured = WorkRates { source: RateSource::ThisServer, ..WorkRates::TYPICAL };
        let scan = TableWork::Scan(name("o"));
        assert_eq!(estimate(&scan, LARGE, ChangedRows::All, &measured).unwrap().confidence, Confidence::Medium);
        let small = TableSize { rows: Some(5), heap_bytes: Some(8_192), ..TableSize::default() };
        let short = estimate(&scan, small, ChangedRows::All, &WorkRates::TYPICAL).unwrap();
        assert_eq!((short.confidence, describe_estimate(&short).as_str()), (Confidence::High, "less than 1 s"));
    }

    #[test]
    fn there_is_no_estimate_without_a_size() {
        let unknown = TableSize::default();
        for work in [TableWork::Scan(name("o")), TableWork::Rewrite(name("o")), TableWork::BuildIndex(name("o"))] {
            assert_eq!(estimate(&work, unknown, ChangedRows::All, &WorkRates::TYPICAL), None);
        }
        assert_eq!(estimate_work(&[], &WorkRates::TYPICAL), None);
    }
}
