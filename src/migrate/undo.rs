//! Reads the SQL that undoes migrations.

use super::{
    blocks::unreadable, filled_text::Filling, migration::Migration, options_file::find_opt_out,
    parsed_file::ParsedFile, way_back::WayBack, work::Work,
};
use crate::{
    fault::{Code, Fault},
    layout::Layout,
    run::MigrationId,
};
use std::fs;

/// Reads the ways back of these migrations; each has the version before it.
///
/// # Errors
///
/// `no-way-back` for each that has none, and every fault of their texts.
pub fn read_ways_back(
    migrations: Vec<(Migration, Option<String>)>,
    layout: Layout,
) -> Result<Vec<Migration>, Vec<Fault>> {
    let (mut undone, mut faults) = (Vec::new(), Vec::new());
    for (index, (migration, previous)) in (1..).zip(migrations) {
        let migration = Migration { id: MigrationId { index, ..migration.id.clone() }, ..migration };
        undone.extend(read_way_back(migration, layout, previous).map_err(|found| faults.extend(found)));
    }
    if faults.is_empty() { Ok(undone) } else { Err(faults) }
}

/// Returns the migration with the statements that undo it.
fn read_way_back(migration: Migration, layout: Layout, previous: Option<String>) -> Result<Migration, Vec<Fault>> {
    let Some(way_back) = &migration.way_back else {
        let cause = format!("`{}` can't be undone: it has no {}", migration.id.file, layout.way_back());
        return Err(vec![Fault::new(Code::NoWayBack, cause).in_file(migration.whole_file())]);
    };
    let bytes = fs::read(&way_back.path).map_err(|error| vec![unreadable(&way_back.file, &error)])?;
    let opt_out = find_opt_out(&way_back.path, layout);
    let WayBack { file, path, sections, placeholders } = way_back;
    let (bytes, replaced) = Filling { file, path, layout, placeholders }.fill_in(bytes)?;
    let parsed = ParsedFile::from_way_back(file, bytes, (layout, opt_out), sections);
    let parsed = ParsedFile::restored(parsed, replaced)?;
    Ok(Migration {
        body: parsed.body,
        execution: parsed.execution.into(),
        modes: parsed.modes,
        note: parsed.note,
        leaves_traces: parsed.leaves_traces,
        checks: parsed.checks,
        path_reset: parsed.path_reset,
        replaced: parsed.replaced,
        work: Work::Undo { previous },
        ..migration
    })
}
