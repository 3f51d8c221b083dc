//! Repeated `select 1` on open connections: the latency and cost that each kind of connection adds.
#![expect(clippy::print_stdout, reason = "prints its results")]

use crate::{
    openssh::Forward,
    sample::{Sample, Target, in_turns, microseconds},
    table::{Table, heading},
    usage,
    world::{World, runtime},
};
use bastion_migrate::transport::Transport;
use futures_util::future::join_all;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_postgres::Client;

/// Runs of each party with each number of streams.
const RUNS: usize = 9;

/// Duration of each run.
const FOR: Duration = Duration::from_millis(700);

const STREAMS: usize = 50;

/// The targets against `ssh -L`: the latency of one stream, the rate of many.
const LATENCY: Target = Target::AtMost(0.9);
const RATE: Target = Target::AtLeast(1.0);

/// Prints the table.
pub(crate) fn run() {
    heading(
        "Small queries",
        "A closed loop of `select 1` on each stream; no distance, no delay line. The client is the same for all, on one \
         thread: over streams of the tunnel, over TCP to the port of `ssh -L`, and over TCP without a bastion. *CPU* is \
         that of the client's thread, which is the tunnel's as well, and of the process `ssh`; sshd and PostgreSQL are not \
         counted.",
    );
    let world = World::new();
    let runtime = runtime();
    let transport = runtime.block_on(world.transport(world.lab.bastion.port));
    let forward = Forward::start(&world, world.lab.bastion.port, world.database_port());
    let mut table = Table::new(["streams", "connection", "p50, µs", "queries/s", "CPU, µs/query"]);
    let mut verdicts = Table::new(["streams", "latency, tunnel / ssh -L", "rate, tunnel / ssh -L"]);
    for streams in [1, STREAMS] {
        let direct = runtime.block_on(over_tcp(&world, world.database_port(), streams));
        let tunnel = runtime.block_on(through_tunnel(&world, &transport, streams));
        let ssh = runtime.block_on(over_tcp(&world, forward.port, streams));
        let connections = [
            Connections { clients: &direct, usage: &|| Duration::ZERO },
            Connections { clients: &tunnel, usage: &|| Duration::ZERO },
            Connections { clients: &ssh, usage: &|| forward.usage() },
        ];
        let samples = in_turns(RUNS, connections, |connections| runtime.block_on(connections.measure()));
        for (name, figures) in ["direct", "tunnel", "ssh -L"].into_iter().zip(&samples) {
            let [latency, rate, cost] = figures.each_ref().map(ToString::to_string);
            table.row([streams.to_string(), name.to_owned(), latency, rate, cost]);
        }
        let [_, [our_latency, our_rate, ..], [their_latency, their_rate, ..]] = &samples;
        let latency = our_latency.over(their_latency);
        let rate = our_rate.over(their_rate);
        verdicts.row(match streams {
            1 => [streams.to_string(), LATENCY.judge(latency), format!("{rate:.2}×")],
            _ => [streams.to_string(), format!("{latency:.2}×"), RATE.judge(rate)],
        });
    }
    println!("{RUNS} runs of each, {} ms long:\n", FOR.as_millis());
    table.print();
    verdicts.print();
    runtime.block_on(transport.close()).expect("the tunnel closes");
}

async fn over_tcp(world: &World, port: u16, streams: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..streams {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the port is open");
        stream.set_nodelay(true).expect("the socket is ours");
        clients.push(world.client(stream).await);
    }
    clients
}

async fn through_tunnel(world: &World, transport: &Transport, streams: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..streams {
        let stream =
            transport.open_stream("127.0.0.1", world.database_port()).await.expect("the bastion reaches the database");
        clients.push(world.client(stream).await);
    }
    clients
}

/// Connections of one kind, and the CPU time of the other process that they pass, so far.
#[derive(Clone, Copy)]
struct Connections<'a> {
    clients: &'a [Client],
    usage: &'a dyn Fn() -> Duration,
}

impl Connections<'_> {
    /// Measures the median latency in microseconds, queries per second, and CPU microseconds per query.
    async fn measure(self) -> [f64; 3] {
        let usage = || (self.usage)() + usage::of_this_thread();
        let (spent, began) = (usage(), Instant::now());
        let latencies = join_all(self.clients.iter().map(|client| closed_loop(client, began + FOR))).await.concat();
        let (took, spent) = (began.elapsed(), usage().saturating_sub(spent));
        let queries = u32::try_from(latencies.len()).map_or(f64::INFINITY, f64::from);
        let rate = queries / took.as_secs_f64();
        [Sample::of(latencies).median(), rate, microseconds(spent) / queries]
    }
}

/// Runs queries until this time and returns the latency of each, in microseconds.
async fn closed_loop(client: &Client, until: Instant) -> Vec<f64> {
    let mut latencies = Vec::new();
    let mut sent = Instant::now();
    while sent < until {
        client.simple_query("select 1").await.expect("the database answers");
        let answered = Instant::now();
        latencies.push(microseconds(answered.duration_since(sent)));
        sent = answered;
    }
    latencies
}
