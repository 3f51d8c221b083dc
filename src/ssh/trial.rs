//! One attempt to connect, hop by hop, with the facts of each hop: for a check of the route, which has no time for a
//! second attempt.

use super::{
    clock::seconds_since_1970,
    connection::HopConnection,
    host_key::HostKeyPins,
    libssh2::ConnectError,
    route::{Hop, Route},
    tunnel::{HopOrigin, Tunnel, close_all, try_connect_hop},
};
use crate::{fault::Fault, run::BastionFacts, way::OpenWay};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::{io::AsyncReadExt as _, time::timeout};

/// Time limit for asking a hop for its time.
const CLOCK_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Longest output that is read from `date`, in bytes.
const MAX_CLOCK_OUTPUT: u64 = 64;

/// Connects once, and passes the facts of each hop, or the fault of the one that ended the attempt, to `on_hop` at once:
/// the future may be dropped at a deadline. Returns the connection if every hop let us in.
pub async fn try_route(
    route: &Route,
    way: OpenWay,
    mut on_hop: impl FnMut(Result<BastionFacts, Fault>),
) -> Option<Tunnel> {
    let bastion = route.hops.last()?;
    let mut connections: Vec<HopConnection> = Vec::with_capacity(route.hops.len());
    let mut last_hop: Option<&Hop> = None;
    for (number, hop) in (1..).zip(&route.hops) {
        let fingerprint = route.fingerprint.as_deref().filter(|_| number == route.hops.len());
        let connected = match HostKeyPins::parse(route.known_hosts.as_deref(), fingerprint) {
            Ok(pins) => {
                let before = match connections.last().zip(last_hop) {
                    Some((connection, hop)) => HopOrigin::Hop(connection, hop),
                    None => HopOrigin::Here(&way),
                };
                try_connect_hop(route, hop, &pins, before).await
            }
            Err(fault) => Err(ConnectError::Permanent(fault)),
        };
        match connected {
            Ok((connection, facts)) => {
                connections.push(connection);
                last_hop = Some(hop);
                on_hop(Ok(facts));
            }
            Err(ConnectError::Permanent(fault) | ConnectError::Transient(fault)) => {
                let cause = connections.iter().find_map(HopConnection::loss_fault);
                on_hop(Err(cause.unwrap_or(fault)));
                close_all(connections).await.unwrap_or_default();
                way.close().await.unwrap_or_default();
                return None;
            }
        }
    }
    Some(Tunnel::of_hops(connections, way, bastion, route.connect_timeout))
}

impl Tunnel {
    /// Returns for each hop the seconds by which its clock is ahead of ours, negative if it is behind; `None` if its
    /// login runs no `date` in time.
    pub async fn clocks_ahead(&self) -> Vec<Option<i64>> {
        join_all(self.connections().iter().map(read_clock)).await
    }
}

/// Returns the seconds by which the hop's clock is ahead of ours.
async fn read_clock(connection: &HopConnection) -> Option<i64> {
    timeout(CLOCK_TIMEOUT, async {
        let process = connection.start_program("date -u +%s", Vec::new(), CLOCK_TIMEOUT).await.ok()?;
        let mut output = String::new();
        process.stdio.take(MAX_CLOCK_OUTPUT).read_to_string(&mut output).await.ok()?;
        let now = i64::try_from(seconds_since_1970()).ok()?;
        Some(output.trim().parse::<i64>().ok()?.saturating_sub(now))
    })
    .await
    .ok()
    .flatten()
}
