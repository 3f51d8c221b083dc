//! Much at once, each way: bytes alone, and COPY.
#![expect(clippy::print_stdout, reason = "it is there to be read")]

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

/// Of each way with each load.
const RUNS: usize = 5;

const DISTANCE: Duration = Duration::from_millis(50);

/// What is to be reached against `ssh -L` over [`DISTANCE`].
const TARGET: Target = Target::AtLeast(1.1);

/// So much that a run takes about a second.
const NEAR: Size = Size::megabytes_of(256);
const FAR: Size = Size::megabytes_of(64);

/// Prints the tables.
pub(crate) fn run() {
    heading(
        "Bulk",
        "Megabytes (10⁶) per second on one stream, from the request to the last byte or its acknowledgement. *bytes* come from \
         and go to a peer that does nothing else; *COPY* is PostgreSQL's, of rows of 8 kB that are made or dropped on the \
         spot. *direct* is without a bastion: over a distance it shows what the delay line lets through. The delay line \
         acknowledges at once, as a TCP with endless buffers would, so what bounds the others over a distance is SSH's window. \
         *Busy* is how many cores the client and its way kept busy: one thread that is the tunnel as well, or the client and `ssh`.",
    );
    let (world, runtime, peer) = (World::new(), runtime(), Peer::start());
    world.lab.database.sql("create table sink (line text); grant all on sink to public");
    for (distance, size) in [(Duration::ZERO, NEAR), (DISTANCE, FAR)] {
        let far = (!distance.is_zero()).then_some(distance);
        let roads = Roads::new(&world, &runtime, &peer, far);
        match far {
            None => println!("No distance, no delay line. {RUNS} runs of each, {size}:\n"),
            Some(far) => println!("{} ms of round trip. {RUNS} runs of each, {size}:\n", far.as_millis()),
        }
        let mut table =
            Table::new(["load", "direct", "tunnel", "ssh -L", "tunnel / ssh -L", "busy: tunnel", "busy: ssh -L"]);
        for load in load::ALL {
            let ways = [Way::Direct, Way::Tunnel, Way::Ssh];
            let [[direct, _], [tunnel, ours], [ssh, theirs]] =
                in_turns(RUNS, ways, |way| runtime.block_on(roads.measure(way, load, size)));
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
        runtime.block_on(roads.reach.close()).expect("the tunnel closes");
    }
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Direct,
    Tunnel,
    Ssh,
}

/// The ways to one port behind the bastion.
struct Ends {
    target: u16,
    /// Without a bastion, and as far away.
    line: Option<Flights>,
    forward: Forward,
}

/// All ways over one distance.
struct Roads<'a> {
    world: &'a World,
    /// In front of the bastion; for as long as the connections.
    _line: Option<Flights>,
    reach: Transport,
    bytes: Ends,
    rows: Ends,
}

impl<'a> Roads<'a> {
    fn new(world: &'a World, runtime: &Runtime, peer: &Peer, distance: Option<Duration>) -> Self {
        let line = distance.map(|distance| world.network(distance));
        let bastion = line.as_ref().map_or(world.lab.bastion.port, Flights::port);
        let ends = |target| Ends {
            target,
            line: distance.map(|distance| Flights::over(target, distance)),
            forward: Forward::start(world, bastion, target),
        };
        let reach = runtime.block_on(world.reach(bastion));
        Self { world, reach, bytes: ends(peer.port()), rows: ends(world.database_port()), _line: line }
    }

    /// Megabytes per second, and how many cores the client and its way kept busy.
    async fn measure(&self, way: Way, load: Load, size: Size) -> [f64; 2] {
        let ends = if load.is_copy() { &self.rows } else { &self.bytes };
        let carried = load.prepare(self.world, self.open(way, ends).await).await;
        let (spent, began) = (usage_of(way, ends), Instant::now());
        carried.carry(size).await;
        let took = began.elapsed();
        let spent = usage_of(way, ends).saturating_sub(spent);
        [size.megabytes() / took.as_secs_f64(), spent.as_secs_f64() / took.as_secs_f64()]
    }

    async fn open(&self, way: Way, ends: &Ends) -> TransportStream {
        let port = match way {
            Way::Tunnel => {
                return self.reach.open_stream("127.0.0.1", ends.target).await.expect("the bastion reaches it");
            }
            Way::Direct => ends.line.as_ref().map_or(ends.target, Flights::port),
            Way::Ssh => ends.forward.port,
        };
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("somebody listens");
        stream.set_nodelay(true).expect("the socket is ours");
        Either::Left(stream)
    }
}

fn usage_of(way: Way, ends: &Ends) -> Duration {
    let own = usage::of_this_thread();
    match way {
        Way::Direct | Way::Tunnel => own,
        Way::Ssh => own + ends.forward.usage(),
    }
}
