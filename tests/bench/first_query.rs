//! The time from the start to the response to the first query.
#![expect(clippy::disallowed_methods, reason = "starts the parties")]
#![expect(clippy::print_stdout, reason = "prints its results")]

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

/// Runs of each party over each distance.
const RUNS: usize = 11;

/// A text in the log line that the first response of the database causes.
const RESPONSE_TEXT: &str = "PostgreSQL";

/// The target against the time of `ssh -L` and psql.
const TARGET: Target = Target::AtMost(0.75);

struct Topic {
    world: World,
    runtime: Runtime,
}

/// Runs a query through the bastion at the other end of this delay line.
type Party = fn(&Topic, &Flights) -> Response;

/// The time of the response, and the number of flights before it.
struct Response {
    at: Instant,
    flights: usize,
}

impl Response {
    /// Records a response that has just arrived.
    fn now(network: &Flights) -> Self {
        Self { at: Instant::now(), flights: network.count() }
    }
}

/// Prints the tables.
pub(crate) fn run() {
    heading(
        "First query",
        "Milliseconds from the start to the first response, and round trips counted in front of the bastion (without TCP's \
         own). *library*: `Transport::connect`, `Session::connect`, `select 1`, in this process. *program*: \
         `bastion-migrate status` from its start until the log shows the database's response. *ssh + driver*: \
         `ssh -f -N -L`, and then `select 1` with the library's driver in this process. *ssh + psql*: `ssh -f -N -L`, \
         then `psql -c 'select 1'`, as scripts do it: psql first requests TLS, which the server does not support. No \
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
    /// Measures milliseconds and flights.
    fn measure(&self, distance: Duration, party: Party) -> [f64; 2] {
        let network = self.world.network(distance);
        let began = Instant::now();
        let response = party(self, &network);
        let flights = u32::try_from(response.flights).unwrap_or(u32::MAX);
        // Ends the `ssh` in the background.
        network.cut();
        [milliseconds(response.at.duration_since(began)), f64::from(flights)]
    }

    fn library(&self, network: &Flights) -> Response {
        self.runtime.block_on(async {
            let transport = self.world.transport(network.port()).await;
            let session = self.world.session(&transport).await;
            session.client.simple_query("select 1").await.expect("the database answers");
            Response::now(network)
        })
    }

    fn driver(&self, network: &Flights) -> Response {
        let local = openssh::in_background(&self.world, network.port());
        self.runtime.block_on(async {
            let stream = TcpStream::connect(("127.0.0.1", local)).await.expect("ssh -L listens");
            let client = self.world.client(stream).await;
            client.simple_query("select 1").await.expect("the database answers");
            Response::now(network)
        })
    }

    fn program(&self, network: &Flights) -> Response {
        let migrations = self.world.home().join("migrations");
        wait_for_line(
            program::step(&self.world, &self.world.lab.database, "status", &migrations, network.port()),
            RESPONSE_TEXT,
            network,
        )
    }

    fn psql(&self, network: &Flights) -> Response {
        let local = openssh::in_background(&self.world, network.port());
        let mut psql = Command::new("psql");
        psql.args(["-X", "-A", "-t", "-c", "select 1"]).arg(self.world.url(&self.world.lab.database, local));
        psql.stdout(Stdio::piped());
        wait_for_line(psql, "1", network)
    }
}

/// Runs the party to its end and returns when this text appeared in its output.
fn wait_for_line(mut party: Command, text: &str, network: &Flights) -> Response {
    let mut child = party.spawn().expect("the party is installed");
    let lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines().map_while(Result::ok);
    let mut log = String::new();
    let mut response = None;
    for line in lines {
        if response.is_none() && line.contains(text) {
            response = Some(Response::now(network));
        }
        log.push_str(&line);
        log.push('\n');
    }
    drop(child.wait());
    response.unwrap_or_else(|| panic!("`{text}` was not printed:\n{log}"))
}
