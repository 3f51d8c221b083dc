//! From nothing to the answer of the first query.
#![expect(clippy::disallowed_methods, reason = "starts the parties")]
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use crate::{
    flights::Flights,
    openssh, program,
    sample::{Sample, Target, in_turns, milliseconds},
    table::{Table, heading},
    world::{DISTANCES, World, runtime},
};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, runtime::Runtime};

/// Of each party over each distance.
const RUNS: usize = 11;

/// The line of the log that tells what the database has answered.
const ANSWER: &str = "PostgreSQL";

/// At most this part of the time that `ssh -L` and psql take.
const TARGET: Target = Target::AtMost(0.75);

struct Topic {
    world: World,
    runtime: Runtime,
}

/// Asks through the bastion at the other end of this delay line.
type Party = fn(&Topic, &Flights) -> Answer;

/// When the answer came, and how many flights there had been.
struct Answer {
    at: Instant,
    flights: usize,
}

impl Answer {
    /// It is there.
    fn now(network: &Flights) -> Self {
        Self { at: Instant::now(), flights: network.count() }
    }
}

/// Prints the tables.
pub(crate) fn run() {
    heading(
        "First query",
        "Milliseconds from nothing to the first answer, and round trips counted in front of the bastion (TCP's own is not \
         among them). *library*: `Transport::connect`, `Session::connect`, `select 1`, in this process. *program*: \
         `bastion-migrate status` from its start until the log tells what the database has answered. *ssh + driver*: \
         `ssh -f -N -L`, and when it is back `select 1` with the library's driver in this process. *ssh + psql*: `ssh -f -N -L`, \
         then `psql -c 'select 1'`, as scripts do it: psql asks first whether the server speaks TLS, which it does not. No \
         password. Each run has a connection of its own.",
    );
    let topic = Topic { world: World::new(), runtime: runtime() };
    fs::create_dir(topic.world.home().join("migrations")).expect("there is room");
    fs::write(topic.world.home().join("migrations/0001_one.sql"), "select 1;\n").expect("there is room");
    let mut times = Table::new(["RTT", "library", "ssh + driver", "ratio", "program", "ssh + psql", "ratio"]);
    let mut flights = Table::new(["RTT", "library", "ssh + driver", "program", "ssh + psql"]);
    for distance in DISTANCES {
        let parties: [Party; 4] = [Topic::library, Topic::driver, Topic::program, Topic::psql];
        let [library, driver, program, psql] = in_turns(RUNS, parties, |party| topic.measure(distance, party));
        let rtt = format!("{} ms", distance.as_millis());
        flights.row([rtt.clone(), rounded(&library), rounded(&driver), rounded(&program), rounded(&psql)]);
        let [library, driver, program, psql] = [library, driver, program, psql].map(|[time, _]| time);
        times.row([
            rtt,
            library.to_string(),
            driver.to_string(),
            format!("{:.2}×", library.over(&driver)),
            program.to_string(),
            psql.to_string(),
            TARGET.judge(program.over(&psql)),
        ]);
    }
    println!("{RUNS} runs of each, in milliseconds:\n");
    times.print();
    println!("Round trips:\n");
    flights.print();
}

fn rounded([_, flights]: &[Sample; 2]) -> String {
    format!("{:.0}", flights.median())
}

impl Topic {
    /// Milliseconds and flights.
    fn measure(&self, distance: Duration, party: Party) -> [f64; 2] {
        let network = self.world.network(distance);
        let began = Instant::now();
        let answer = party(self, &network);
        let flights = u32::try_from(answer.flights).unwrap_or(u32::MAX);
        // What a script would leave in the background ends with its connection.
        network.cut();
        [milliseconds(answer.at.duration_since(began)), f64::from(flights)]
    }

    fn library(&self, network: &Flights) -> Answer {
        self.runtime.block_on(async {
            let reach = self.world.reach(network.port()).await;
            let session = self.world.session(&reach).await;
            session.client.simple_query("select 1").await.expect("the database answers");
            Answer::now(network)
        })
    }

    fn driver(&self, network: &Flights) -> Answer {
        let local = openssh::in_background(&self.world, network.port());
        self.runtime.block_on(async {
            let stream = TcpStream::connect(("127.0.0.1", local)).await.expect("ssh -L listens");
            let client = self.world.client(stream).await;
            client.simple_query("select 1").await.expect("the database answers");
            Answer::now(network)
        })
    }

    fn program(&self, network: &Flights) -> Answer {
        let migrations = self.world.home().join("migrations");
        first_line(
            program::step(&self.world, &self.world.lab.database, "status", &migrations, network.port()),
            ANSWER,
            network,
        )
    }

    fn psql(&self, network: &Flights) -> Answer {
        let local = openssh::in_background(&self.world, network.port());
        let mut psql = Command::new("psql");
        psql.args(["-X", "-A", "-t", "-c", "select 1"]).arg(self.world.url(&self.world.lab.database, local));
        psql.stdout(Stdio::piped());
        first_line(psql, "1", network)
    }
}

/// When the party said this, in a line that it may go on after.
fn first_line(mut party: Command, said: &str, network: &Flights) -> Answer {
    let mut child = party.spawn().expect("the party is installed");
    let lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines().map_while(Result::ok);
    let mut log = String::new();
    let mut answered = None;
    for line in lines {
        if answered.is_none() && line.contains(said) {
            answered = Some(Answer::now(network));
        }
        log.push_str(&line);
        log.push('\n');
    }
    drop(child.wait());
    answered.unwrap_or_else(|| panic!("`{said}` was not said:\n{log}"))
}
