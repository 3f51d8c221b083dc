//! The backup in a container beside the action: `pg_dump` reaches the database through the same tunnel, for SQL files as for
//! the app's own tool, and nothing of the container or of an unfinished file stays.

use crate::{
    app::{DJANGO_5_2, MIGRATIONS, TROUBLE},
    engine::{docker, image, try_docker},
    network::{Database, MACHINE, ROLE, shared},
    process::poll,
    running::{Conclusion, EndedStage, Running},
    step::Step,
};
use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

/// A step with one SQL file and this backup, made in an image that has the programs of the server's version.
fn with_files<'a>(database: &'a Database, keys: &str) -> Step<'a> {
    let backup = format!("{{ image: '{}'{keys} }}", image(MACHINE));
    Step::new(database).file("migrations/0001_a.sql", "create table migrated ();").input("backup", backup)
}

fn shop(database: &Database, rows: u32) {
    database.sql(&format!(
        "create table orders (id int primary key, note text); insert into orders select n, \
         (select string_agg(md5(random()::text || m || n), '') from generate_series(1, 32) m) from generate_series(1, {rows}) n; \
         alter table orders owner to {ROLE}"
    ));
}

/// The files in the workspace's directory of backups.
fn backups(workspace: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(workspace.join("backups")) else { return Vec::new() };
    entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned()).collect()
}

/// Ends a step that leaves a backup, and returns the archive's list as the server's own `pg_restore` reads it.
fn listed_backup(running: Running<'_>) -> (EndedStage, String) {
    let ended = running.finish_with_files();
    let path = ended.layout.workspace().join(&ended.finished.outputs["backup"]);
    let workspace = fs::metadata(ended.layout.workspace()).expect("it is ours");
    let file = fs::metadata(&path).expect("the backup is there");
    assert_eq!((file.uid(), file.mode() & 0o777), (workspace.uid(), 0o600), "the job's other steps can read it");
    let mount = format!("{}:/backup.dump:ro", path.display());
    let list = docker(&["run", "--rm", "--volume", &mount, image(MACHINE), "pg_restore", "--list", "/backup.dump"]);
    (ended, list)
}

#[test]
fn a_backup_of_sql_files_is_made_beside_the_action() {
    let database = shared().database();
    shop(&database, 100);
    let (ended, list) = listed_backup(with_files(&database, "").start());
    assert_eq!(ended.conclusion, Conclusion::Succeeded);
    ended.finished.succeeds().applied(["0001_a"]).logs("with the rows of 1 table").summary("### Backup").done();
    assert!(list.contains(&format!("TABLE DATA public orders {ROLE}")), "{list}");
}

#[test]
fn the_tables_of_a_tools_plan_are_backed_up_before_it_migrates() {
    let database = shared().database();
    Step::of_app(&database, DJANGO_5_2).run().succeeds().applied(MIGRATIONS).done();
    let backup = format!("{{ image: '{}', tables: plan }}", image(MACHINE));
    let step = Step::of_app(&database, DJANGO_5_2).trouble("lock");
    let (ended, list) = listed_backup(step.input("backup", backup).start());
    assert!(list.contains("TABLE DATA public carriers_carrier") && !list.contains("customers_customer"), "{list}");
    ended.finished.succeeds().applied([TROUBLE]).logs("schema and data of 1 relation").done();
}

#[test]
fn the_usual_image_is_that_of_the_servers_version() {
    let database = shared().database();
    let step = with_files(&database, "").input("backup", "data").input("pull", "never");
    let refused = step.run().fails("image-missing", 2).pending(["0001_a"]);
    refused.error("postgres:15").done();
    assert_eq!(database.sql("select to_regclass('migrated')"), "");
}

/// Waits until the backup grows, and returns its container.
fn dumping(running: &Running<'_>, workspace: &Path) -> String {
    let grows = || {
        let incomplete = backups(workspace).into_iter().find(|name| name.ends_with(".incomplete"))?;
        (fs::metadata(workspace.join("backups").join(incomplete)).ok()?.len() > 0).then_some(())
    };
    running.wait_until("a growing backup", grows);
    running.wait_until("the container of pg_dump", || running.siblings().pop())
}

#[test]
fn a_container_that_is_killed_leaves_no_backup_and_no_migration() {
    let database = shared().database();
    shop(&database, 60_000);
    for pause in [0, 170, 410] {
        let step = with_files(&database, "");
        let workspace = step.layout.workspace();
        let running = step.start();
        let container = dumping(&running, &workspace);
        poll(Duration::from_millis(pause), || None::<()>);
        try_docker(&["kill", &container]);
        let finished = running.finish().finished.fails("backup-failed", 5).pending(["0001_a"]);
        finished.error("the dump was broken off").done();
        assert_eq!(database.sql("select to_regclass('migrated')"), "");
    }
}

#[test]
fn a_cancelled_backup_leaves_neither_its_container_nor_a_file() {
    let database = shared().database();
    shop(&database, 60_000);
    let step = with_files(&database, "");
    let workspace = step.layout.workspace();
    let running = step.start();
    dumping(&running, &workspace);
    let ended = running.cancel();
    assert_eq!(ended.conclusion, Conclusion::Cancelled);
    ended.finished.fails("cancelled", 130).pending(["0001_a"]).within(Duration::from_secs(7)).done();
    assert_eq!(database.sql("select to_regclass('migrated')"), "");
}

#[test]
fn a_command_reads_the_dump_in_the_container() {
    let database = shared().database();
    shop(&database, 100);
    let step = with_files(&database, ", to: { command: 'sha256sum && echo stored' }");
    step.run().succeeds().applied(["0001_a"]).logs("| stored").output("backup", "").done();
}

#[test]
fn a_snapshot_is_made_by_a_command_in_its_own_image() {
    let database = shared().database();
    let backup = format!("{{ image: '{}', command: 'echo snapshot of $PGDATABASE' }}", image(MACHINE));
    let step = with_files(&database, "").input("backup", backup);
    let finished = step.run().succeeds().applied(["0001_a"]);
    finished.logs(&format!("| snapshot of {}", database.name())).logs("the command ended with code 0").done();
}
