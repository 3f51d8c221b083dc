//! The SSH connection, and everything behind it: the database and the server are examined at the same time.

use super::{
    database_examination::{DatabaseExaminer, ExaminedDatabase},
    route,
    server::judge_server,
};
use crate::{
    fault::{Code, Fault},
    run::{Check, DoctorFinding, event::Events},
    settings::Settings,
    site::ServerSite,
    ssh::{Route, Tunnel, seconds_since_1970, try_route},
    transport::Transport,
    way::OpenWay,
};
use futures_util::future::{OptionFuture, join};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Time limit for the SSH connection, all hops together. Limits are counted from the start of the checks.
const ROUTE_LIMIT: Duration = Duration::from_secs(4);

/// Time limit for each hop.
const HOP_LIMIT: Duration = Duration::from_millis(3_500);

/// Time limit for everything before the plan.
pub(super) const PREPARATION_LIMIT: Duration = Duration::from_secs(6);

/// The answers behind the SSH connection.
#[derive(Debug)]
pub(super) struct BehindRoute {
    pub(super) findings: Vec<DoctorFinding>,
    /// The connection; `None` if a hop did not let us in.
    pub(super) transport: Option<Transport>,
    pub(super) database: Option<ExaminedDatabase>,
    pub(super) server: Vec<DoctorFinding>,
}

/// Connects to the bastion, and examines what is behind it.
pub(super) async fn examine_behind_route(
    settings: &Settings,
    examiner: Option<DatabaseExaminer<'_>>,
    server: Option<&ServerSite<'_>>,
    (events, begin): (&Events, Instant),
) -> BehindRoute {
    let (mut findings, transport) = match &settings.route {
        None => examine_way(settings, events, begin + ROUTE_LIMIT).await,
        Some(route) => examine_route(route, settings, events, begin + ROUTE_LIMIT).await,
    };
    let login = settings.route.as_ref().map(|route| &route.login);
    findings
        .extend(login.and_then(|login| route::judge_certificate(login, settings.safety.timeout, seconds_since_1970())));
    let Some(transport) = transport else {
        let skipped = server.map(|_| DoctorFinding::not_checked(Check::Shell, "it needs the connection to the server"));
        return BehindRoute { findings, transport: None, database: None, server: skipped.into_iter().collect() };
    };
    let database: OptionFuture<_> = examiner.map(|examiner| examiner.examine(&transport)).into();
    // One after the other: a server may allow one program at a time.
    let on_hops = async {
        let tunnel: OptionFuture<_> = transport.tunnel().map(Tunnel::clocks_ahead).into();
        let clocks = tunnel.await.unwrap_or_default();
        let server: OptionFuture<_> =
            server.map(|server| examine_server(settings, server, &transport, begin + PREPARATION_LIMIT)).into();
        (clocks, server.await.unwrap_or_default())
    };
    let (database, (clocks, server)) = join(Box::pin(database), Box::pin(on_hops)).await;
    if let (None, false, Some(examined)) = (&settings.route, settings.is_direct(), &database) {
        findings.push(route::judge_way(&settings.way, examined.session.as_ref().err()));
    }
    if let Some(route) = &settings.route {
        findings.extend(route::judge_clocks(route, &clocks));
        let target = settings.database.as_ref().zip(database.as_ref());
        let forwarding =
            target.map(|(target, examined)| route::judge_forwarding(target, examined.session.as_ref().err()));
        findings.extend(forwarding);
    }
    BehindRoute { findings, transport: Some(transport), database, server }
}

/// Opens the way to the database where there is no bastion. Whether it leads there is judged by the session.
async fn examine_way(
    settings: &Settings,
    events: &Events,
    deadline: Instant,
) -> (Vec<DoctorFinding>, Option<Transport>) {
    let opening = Box::pin(Transport::connect(None, &settings.way, events));
    match timeout_at(deadline, opening).await.unwrap_or_else(|_late| Err(route::way_timeout_fault(&settings.way))) {
        Ok(transport) => (Vec::new(), Some(transport)),
        Err(fault) => (vec![route::judge_way(&settings.way, Some(&fault))], None),
    }
}

async fn examine_route(
    route: &Route,
    settings: &Settings,
    events: &Events,
    deadline: Instant,
) -> (Vec<DoctorFinding>, Option<Transport>) {
    let connect_timeout = route.connect_timeout.min(HOP_LIMIT);
    let quick = Route { connect_timeout, ..route.clone() };
    let mut tried = Vec::new();
    let tunnel = timeout_at(deadline, async {
        match Box::pin(OpenWay::open(&settings.way, events)).await {
            Ok(way) => Box::pin(try_route(&quick, way, |hop| tried.push(hop))).await,
            Err(fault) => {
                tried.push(Err(fault));
                None
            }
        }
    });
    let tunnel = tunnel.await;
    let findings = route::judge_hops(route, &tried, &route::hop_timeout_fault(route, tried.len()));
    (findings, tunnel.ok().flatten().map(Transport::Tunnel))
}

async fn examine_server(
    settings: &Settings,
    server: &ServerSite<'_>,
    transport: &Transport,
    deadline: Instant,
) -> Vec<DoctorFinding> {
    let directory = settings.server.as_ref().and_then(|server| server.working_directory.as_deref());
    match timeout_at(deadline, server.examine(transport)).await {
        Ok(examined) => judge_server(&examined, directory),
        Err(_) => {
            let silent = "the login's shell has not answered within the time of the check";
            vec![DoctorFinding::failed(Check::Shell, Fault::new(Code::ServerNoShell, silent))]
        }
    }
}
