//! Drivers that read no `PGOPTIONS`, among others, reach the database by `DATABASE_URL` alone and have our settings.

use crate::{engine::image, network::shared, step::Step};

/// From `tests/container/drivers`.
const DRIVERS: &str = "bastion-migrate-drivers:bookworm";

#[test]
fn every_driver_has_the_lock_timeout_of_the_step() {
    let database = shared().database();
    let drivers = ["psycopg2", "psycopg3", "asyncpg", "pg8000", "node-pg", "pdo", "jdbc"];
    let run: String = drivers.iter().map(|driver| format!("with-{driver}\n")).collect();
    let step = Step::in_image(&database, image(DRIVERS), &run).input("lock-timeout", "4321ms");
    let told = step.input("retries", "0").run();
    let told = drivers.iter().fold(told.unrecorded(), |told, driver| told.says(&format!("{driver} 4321ms ")));
    // pgjdbc names itself when it is connected.
    let ours = drivers.iter().filter(|driver| **driver != "jdbc");
    ours.fold(told, |told, driver| told.says(&format!("{driver} 4321ms bastion-migrate"))).done();
}
