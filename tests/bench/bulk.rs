//! Bulk transfer in both directions: plain bytes and COPY.
#![expect(clippy::print_stdout, reason = "prints its results")]

#[path = "bulk/ciphers.rs"]
pub(crate) mod ciphers;
#[path = "bulk/load.rs"]
mod load;
#[path = "bulk/peer.rs"]
mod peer;

use crate::{
    flights::Flights,
    openssh::Forward,
    sample::{Target, in_turns},
    table::{Table, heading},
    usage,
    world::{World, runtime},
};
use bastion_migrate::transport::{Transport, TransportStream};
use load::{Load, Size};
use peer::Peer;
use std::time::{Duration, Instant};
use tokio::{net::TcpStream, runtime::Runtime};
use tokio_util::either::Either;

/// Runs of each connection with each load.
const RUNS: usize = 5;

const DISTANCE: Duration = Duration::from_millis(50);

/// The target against `ssh -L` over [`DISTANCE`].
const TARGET: Target = Target::AtLeast(1.1);

/// Sizes for which a run takes about a second.
const NEAR: Size = Size::megabytes_of(256);
const FAR: Size = Size::megabytes_of(64);

/// Prints the tables.
pub(crate) fn run() {
    heading(
        "Bulk",
        "Megabytes (10⁶) per second on one stream, from the request to the last byte or its acknowledgement. *bytes* come from \
         and go to a peer that does nothing else; *COPY* is PostgreSQL's, with rows of 8 kB that are generated or discarded. \
         *direct* is without a bastion: over a distance it shows the capacity of the delay line. The delay line \
         acknowledges at once, as TCP with unlimited buffers would, so SSH's window limits the others over a distance. \
         *Busy* is the number of cores that the client and its tunnel kept busy: one thread for both, or the client and `ssh`.",
    );
    let (world, runtime, peer) = (World::new(), runtime(), Peer::start());
    world.lab.database.sql("create table sink (line text); grant all on sink to public");
    for (distance, size) in [(Duration::ZERO, NEAR), (DISTANCE, FAR)] {
        let far = (!distance.is_zero()).then_some(distance);
        let connections = Connections::new(&world, &runtime, &peer, far);
        match far {
            None => println!("No distance, no delay line. {RUNS} runs of each, {size}:\n"),
            Some(far) => println!("{} ms of round trip. {RUNS} runs of each, {size}:\n", far.as_millis()),
        }
        let mut table =
            Table::new(["load", "direct", "tunnel", "ssh -L", "tunnel / ssh -L", "busy: tunnel", "busy: ssh -L"]);
        for load in load::ALL {
            let vias = [Via::Direct, Via::Tunnel, Via::Ssh];
            let [[direct, _], [tunnel, ours], [ssh, theirs]] =
                in_turns(RUNS, vias, |via| runtime.block_on(connections.measure(via, load, size)));
            let ratio = tunnel.over(&ssh);
            table.row([
                load.name().to_owned(),
                direct.to_string(),
                tunnel.to_string(),
                ssh.to_string(),
                far.map_or_else(|| format!("{ratio:.2}×"), |_| TARGET.judge(ratio)),
                format!("{:.2}", ours.median()),
                format!("{:.2}", theirs.median()),
            ]);
        }
        table.print();
        runtime.block_on(connections.transport.close()).expect("the tunnel closes");
    }
}

#[derive(Debug, Clone, Copy)]
enum Via {
    Direct,
    Tunnel,
    /// The tunnel, with the client on another thread.
    TwoThreads,
    Ssh,
}

/// The connections to one port behind the bastion.
struct Ends {
    target: u16,
    /// A delay line of the same distance without a bastion.
    line: Option<Flights>,
    forward: Forward,
}

/// All connections over one distance.
struct Connections<'a> {
    world: &'a World,
    /// The delay line in front of the bastion; it has to outlive the connections.
    _line: Option<Flights>,
    transport: Transport,
    bytes: Ends,
    rows: Ends,
}

impl<'a> Connections<'a> {
    fn new(world: &'a World, runtime: &Runtime, peer: &Peer, distance: Option<Duration>) -> Self {
        let line = distance.map(|distance| world.network(distance));
        let bastion = line.as_ref().map_or(world.lab.bastion.port, Flights::port);
        let ends = |target| Ends {
            target,
            line: distance.map(|distance| Flights::over(target, distance)),
            forward: Forward::start(world, bastion, target),
        };
        let transport = runtime.block_on(world.transport(bastion));
        Self { world, transport, bytes: ends(peer.port()), rows: ends(world.database_port()), _line: line }
    }

    /// Measures megabytes per second and the number of cores that the client and its tunnel kept busy.
    async fn measure(&self, via: Via, load: Load, size: Size) -> [f64; 2] {
        let ends = if load.is_copy() { &self.rows } else { &self.bytes };
        let prepared = load.prepare(self.world, self.open(via, ends).await).await;
        let (spent, began) = (usage_of(via, ends), Instant::now());
        match via {
            Via::TwoThreads => prepared.transfer_on_another_thread(size).await,
            Via::Direct | Via::Tunnel | Via::Ssh => prepared.transfer(size).await,
        }
        let took = began.elapsed();
        let spent = usage_of(via, ends).saturating_sub(spent);
        [size.megabytes() / took.as_secs_f64(), spent.as_secs_f64() / took.as_secs_f64()]
    }

    async fn open(&self, via: Via, ends: &Ends) -> TransportStream {
        let port = match via {
            Via::Tunnel | Via::TwoThreads => {
                return self.transport.open_stream("127.0.0.1", ends.target).await.expect("the bastion reaches it");
            }
            Via::Direct => ends.line.as_ref().map_or(ends.target, Flights::port),
            Via::Ssh => ends.forward.port,
        };
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the port is open");
        stream.set_nodelay(true).expect("the socket is ours");
        Either::Left(Either::Left(stream))
    }
}

fn usage_of(via: Via, ends: &Ends) -> Duration {
    let own = usage::of_this_thread();
    match via {
        Via::Direct | Via::Tunnel | Via::TwoThreads => own,
        Via::Ssh => own + ends.forward.usage(),
    }
}
