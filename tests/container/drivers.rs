//! Drivers, among them some that ignore `PGOPTIONS`, reach the database by `DATABASE_URL` alone and get our settings.

use crate::{engine::image, network::shared, step::Step};

/// The image from `tests/container/drivers`.
const DRIVERS: &str = "bastion-migrate-drivers:bookworm";

#[test]
fn every_driver_has_the_lock_timeout_of_the_step() {
    let database = shared().database();
    let drivers = ["psycopg2", "psycopg3", "asyncpg", "pg8000", "node-pg", "pdo", "jdbc"];
    let run: String = drivers.iter().map(|driver| format!("with-{driver}\n")).collect();
    let step = Step::in_image(&database, image(DRIVERS), &run).input("lock-timeout", "4321ms");
    let finished = step.input("retries", "0").run();
    let finished = drivers
        .iter()
        .fold(finished.succeeds_without_ledger(), |finished, driver| finished.logs(&format!("{driver} 4321ms ")));
    // pgjdbc sets its own application name after it has connected.
    let ours = drivers.iter().filter(|driver| **driver != "jdbc");
    ours.fold(finished, |finished, driver| finished.logs(&format!("{driver} 4321ms bastion-migrate"))).done();
}
