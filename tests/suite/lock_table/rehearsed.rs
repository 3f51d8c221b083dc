//! What a rehearsal sees of each form, held against what another session sees of it.

use super::{
    forms::{FIXTURE, FORMS},
    measure::{Measured, Prober},
    server_version,
};
use crate::lab::{self, postgres::Database};
use bastion_migrate::{
    rehearsal::{ObservedStatement, observe_scripts},
    review::{LockMode, MigrationScript, PlanPath, ScriptTransaction, statement_effects},
    run::MigrationId,
    schema::SchemaDescription,
    sql::QualifiedName,
};
use std::collections::{BTreeMap, BTreeSet};
use tokio::{runtime::Builder, sync::mpsc::unbounded_channel};
use tokio_postgres::{Client, Config, NoTls};

/// A statement that fails, so that the transaction of a form is rolled back.
const END: &str = ";\nselect 1 / 0";

async fn observe(client: &Client, statement: &str, version: u32) -> Result<ObservedStatement, String> {
    let script = MigrationScript {
        id: MigrationId { file: "0001_form.sql".to_owned(), ..MigrationId::default() },
        sql: format!("{statement}{END}"),
        transaction: ScriptTransaction::Whole,
        hidden: Vec::new(),
    };
    let effects = statement_effects(&script, version);
    let (_sender, mut messages) = unbounded_channel();
    let place = (&PlanPath::Session, &SchemaDescription::default());
    let observed = observe_scripts(client, &mut messages, &[(script, effects)], place).await;
    let mut observed = observed.map_err(|fault| fault.cause)?;
    let mut statements = observed.scripts.pop().map(|script| script.statements).unwrap_or_default();
    if statements.len() != 2 {
        return Err(format!("{statements:?}"));
    }
    Ok(statements.remove(0))
}

/// Returns the differences between both views, one per line.
pub(super) fn differences(seen: &ObservedStatement, measured: &Measured) -> Vec<String> {
    let own = |name: &&QualifiedName| name.schema.as_deref() == Some("public");
    let names = |names: &BTreeSet<QualifiedName>| -> BTreeSet<String> {
        names.iter().filter(own).map(|name| name.name.clone()).collect()
    };
    let mut locks: BTreeMap<String, LockMode> = BTreeMap::new();
    for lock in seen.held.iter().filter(|lock| own(&&lock.relation)) {
        let strongest = locks.entry(lock.relation.name.clone()).or_insert(lock.mode);
        *strongest = lock.mode.max(*strongest);
    }
    let mut found = Vec::new();
    if locks != measured.locks {
        found.push(format!("locks: {locks:?}, and from outside {:?}", measured.locks));
    }
    for (what, seen, measured) in [
        ("rewritten", names(&seen.rewritten), &measured.rewritten),
        ("scanned", names(&seen.scanned), &measured.scanned),
    ] {
        if seen != *measured {
            found.push(format!("{what}: {seen:?}, and from outside {measured:?}"));
        }
    }
    found
}

fn compare_all(database: &Database) -> (usize, Vec<String>) {
    let (version, prober) = (server_version(database), Prober::new(database));
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    let role = format!("watcher_{}", database.name());
    database.sql(&format!("create role {role} login superuser password 'watched'"));
    let url = format!("postgres://{role}:watched@localhost:{}/{}", database.server().port(), database.name());
    let config: Config = url.parse().expect("it is a URL");
    let (client, connection) = runtime.block_on(config.connect(NoTls)).expect("the database accepts the login");
    let _driver = runtime.spawn(connection);
    // The owner of the tables.
    runtime.block_on(client.batch_execute("set role postgres")).expect("a superuser takes any role");
    let (mut forms, mut found) = (0, Vec::new());
    for (_, statement) in FORMS.iter().filter(|(from, _)| *from * 10_000 <= version) {
        let measured = prober.measure_in_transaction(database, statement).expect("the form can be run");
        match runtime.block_on(observe(&client, statement, version)) {
            Ok(seen) => {
                found.extend(differences(&seen, &measured).into_iter().map(|line| format!("{statement}\n    {line}")));
            }
            Err(error) => found.push(format!("{statement}\n    {error}")),
        }
        forms += 1;
    }
    (forms, found)
}

#[test]
fn a_rehearsal_sees_what_another_session_sees_of_every_form() {
    let database = lab::shared().database();
    database.sql(FIXTURE);
    let (forms, found) = compare_all(&database);
    assert!(forms >= 120, "{forms} forms");
    assert!(found.is_empty(), "{} of {forms} forms differ:\n{}", found.len(), found.join("\n"));
}
