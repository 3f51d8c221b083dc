//! Readers and writers: two clients of pgbench, whose longest waits are read from its log of each transaction.
#![expect(clippy::disallowed_methods, reason = "starts pgbench, and lets it run for a while")]

use crate::{
    lab::{
        postgres::{Database, ROLE},
        process::program,
    },
    world::World,
};
use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const READ: &str = "\\set id random(1, 5000000)\nSELECT total FROM orders WHERE id = :id;\n";
const WRITE: &str = "\\set id random(1, 5000000)\nUPDATE orders SET total = total + 1 WHERE id = :id;\n";

/// Transactions of each client in a second.
const RATE: &str = "100";

/// The longest time that a load may last, in seconds.
const LIMIT: &str = "1800";

/// The beginning of the clients' `application_name`.
const NAME: &str = "load-";

/// The time in which transactions that have waited are completed.
const REST: Duration = Duration::from_secs(1);

/// The clients, while they run.
#[derive(Debug)]
pub(crate) struct Load<'w> {
    world: &'w World,
    database: &'w Database,
    reader: Child,
    writer: Child,
    /// The beginning of the part that counts.
    measured_from: SystemTime,
}

/// The longest waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LongestWaits {
    pub(crate) of_a_reader: Duration,
    pub(crate) of_a_writer: Duration,
}

impl<'w> Load<'w> {
    /// Starts the clients, and lets them run for this time before their waits count.
    pub(crate) fn start(world: &'w World, database: &'w Database, warm_up: Duration) -> Self {
        let [reader, writer] =
            [("read", READ), ("write", WRITE)].map(|(name, script)| start_client(world, database, name, script));
        thread::sleep(warm_up);
        Self { world, database, reader, writer, measured_from: SystemTime::now() }
    }

    /// Ends the clients, and returns their longest waits.
    pub(crate) fn stop(mut self) -> LongestWaits {
        thread::sleep(REST);
        // They end with their sessions, and write the rest of their logs; a signal would lose it.
        self.database.terminate(&format!("{NAME}%"));
        for client in [&mut self.reader, &mut self.writer] {
            client.wait().expect("it has ended");
        }
        let [of_a_reader, of_a_writer] = ["read", "write"].map(|name| self.longest_wait(name));
        LongestWaits { of_a_reader, of_a_writer }
    }

    /// Returns the longest transaction in the logs of this client that ended in the measured part. Each line has the
    /// client, the number of the transaction, its time in microseconds, the script, and its end in seconds and
    /// microseconds (pgbench's manual, "Per-Transaction Logging"); the time includes what it was late to begin.
    fn longest_wait(&self, name: &str) -> Duration {
        let from = self.measured_from.duration_since(UNIX_EPOCH).expect("it is after 1970");
        let logs = fs::read_dir(self.world.home()).expect("it is there").flatten().map(|entry| entry.path());
        let is_log = |path: &std::path::PathBuf| {
            path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{NAME}{name}.")))
        };
        let mut longest = Duration::ZERO;
        for log in logs.filter(is_log) {
            for line in fs::read_to_string(&log).expect("it is text").lines() {
                let numbers: Vec<u64> = line.split(' ').filter_map(|field| field.parse().ok()).collect();
                if let [_, _, took, _, seconds, micros, ..] = numbers.as_slice()
                    && Duration::from_secs(*seconds) + Duration::from_micros(*micros) >= from
                {
                    longest = longest.max(Duration::from_micros(*took));
                }
            }
            fs::remove_file(&log).expect("it is ours");
        }
        assert!(longest > Duration::ZERO, "the {name} client has done something");
        longest
    }
}

fn start_client(world: &World, database: &Database, name: &str, script: &str) -> Child {
    let path = world.home().join(format!("{name}.sql"));
    fs::write(&path, script).expect("there is room");
    Command::new(program("pgbench", "postgresql"))
        .current_dir(world.home())
        .env("PGAPPNAME", format!("{NAME}{name}"))
        .args(["--no-vacuum", "--client=1", "--log", "--host=127.0.0.1"])
        .args(["--rate", RATE, "--time", LIMIT, "--username", ROLE])
        .arg(format!("--log-prefix={NAME}{name}"))
        .arg(format!("--port={}", world.database_port()))
        .arg(format!("--file={}", path.display()))
        .arg(database.name())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("pgbench can be started")
}
