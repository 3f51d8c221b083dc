//! The time that the runner needs until the action works.

use crate::{
    ACTION,
    engine::{docker, image},
    network::shared,
    runner::manifest::Manifest,
    step::{Step, TOKEN},
};
use std::time::{Duration, Instant};

/// An image that is built takes ten minutes instead.
const LONGEST_START: Duration = Duration::from_secs(2);

/// The runner pulls an image before the first step of the job, even if it is there (`ActionManager.cs`).
#[test]
#[ignore = "measures a time, so it needs the machine for itself: `make release-dry-run` runs it"]
fn a_job_whose_image_is_there_starts_within_two_seconds() {
    let database = shared().database();
    let step = Step::new(&database).input("command", "status").file("migrations/0001_a.sql", "select 1;\n");
    image(&ACTION);
    let started = Instant::now();
    if let Some(reference) = Manifest::with_token(TOKEN).image {
        docker(&["pull", "--quiet", &reference]);
    }
    let running = step.start();
    running.wait_for_line("::add-mask::");
    let elapsed = started.elapsed();
    running.finish().finished.has_pending().pending(["0001_a"]).done();
    println!("{} started within {} ms", *ACTION, elapsed.as_millis());
    assert!(elapsed < LONGEST_START, "{elapsed:?}");
}
