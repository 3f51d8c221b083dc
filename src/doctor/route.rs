//! The findings about the SSH connection: each hop, its host key, its log-in, its clock; and the way from the bastion to
//! the database. Pure functions.

use crate::{
    fault::{Code, Fault},
    postgres::DatabaseTarget,
    run::{BastionFacts, Check, DoctorFinding},
    ssh::{Hop, Login, Route},
    way::WayIn,
};
use std::time::Duration;

/// Number of seconds by which a clock may differ.
const MAX_SKEW: u64 = 60;

const CLOCK_FIX: &str = "synchronise the clock of that machine (`timedatectl set-ntp true`): certificates, and the times in ledgers and \
    logs, depend on it";

const CERTIFICATE_FIX: &str =
    "let the CA sign the key in a step right before this one, for as long as `timeout` at least";

/// The checks wait for less time than a run, so a longer time limit would not help them.
const SLOW_HOP_FIX: &str = "check its firewall, and that of the machine before it; if it is only slow, `command: plan` waits for it, up to `connect-timeout`";

/// Returns the findings of all hops. `tried` has the results of those that were reached, in order; the one after them
/// had no time to answer.
pub(super) fn judge_hops(route: &Route, tried: &[Result<BastionFacts, Fault>], timeout: &Fault) -> Vec<DoctorFinding> {
    let first_failed = tried.iter().position(Result::is_err).unwrap_or(tried.len());
    let mut findings = Vec::new();
    for (at, hop) in route.hops.iter().enumerate() {
        let of_hop = match tried.get(at) {
            Some(Ok(facts)) => judge_connected(facts),
            Some(Err(fault)) => judge_refused(fault, hop),
            None if at == first_failed => vec![DoctorFinding::failed(Check::Hop, timeout.clone())],
            None => {
                let before = route.hops.get(first_failed).map(Hop::to_string).unwrap_or_default();
                vec![DoctorFinding::not_checked(Check::Hop, format!("it needs the connection to `{before}`"))]
            }
        };
        findings.extend(of_hop.into_iter().map(|finding| finding.about(hop.to_string())));
    }
    findings
}

/// Returns the fault of a hop that has not let us in within the time of the check.
pub(super) fn hop_timeout_fault(route: &Route, reached: usize) -> Fault {
    let hop = route.hops.get(reached).map(Hop::to_string).unwrap_or_default();
    let cause = format!("`{hop}` has not let us in within the time of the check");
    Fault::new(Code::BastionTimeout, cause).fix(SLOW_HOP_FIX)
}

fn judge_connected(facts: &BastionFacts) -> Vec<DoctorFinding> {
    vec![
        DoctorFinding::good(Check::Hop, format!("answers as {}", facts.banner)),
        judge_host_key(facts),
        DoctorFinding::good(Check::LogIn, format!("`{}` logs in by {}", facts.user, facts.login)),
    ]
}

fn judge_host_key(facts: &BastionFacts) -> DoctorFinding {
    let key = &facts.host_key;
    DoctorFinding::good(
        Check::HostKey,
        match &facts.host_certificate {
            None => format!("`{key}` is pinned"),
            Some(certificate) => format!("`{key}` counts; its certificate: {certificate}"),
        },
    )
}

/// Returns the finding about the certificate of the user, if there is one: a certificate that can't be used is an invalid
/// input. `now` is in seconds since 1970.
pub(super) fn judge_certificate(login: &Login, timeout: Duration, now: u64) -> Option<DoctorFinding> {
    let certificate = login.certificate.as_ref()?;
    let facts = certificate.describe();
    Some(match certificate.ends_within(now, timeout.as_secs()) {
        None => DoctorFinding::good(Check::UserCertificate, facts),
        Some(end) => {
            let detail = format!(
                "it is valid only {end}, which is within the `timeout` of a run, and a lost connection needs it again: {facts}"
            );
            DoctorFinding::warning(Check::UserCertificate, detail, CERTIFICATE_FIX)
        }
    })
}

/// Returns the findings about the clocks of the hops, all of which let us in.
pub(super) fn judge_clocks(route: &Route, ahead: &[Option<i64>]) -> Vec<DoctorFinding> {
    let hops = route.hops.iter().zip(ahead);
    hops.map(|(hop, ahead)| judge_clock(*ahead).about(hop.to_string())).collect()
}

fn judge_clock(ahead: Option<i64>) -> DoctorFinding {
    let Some(ahead) = ahead else {
        return DoctorFinding::not_checked(Check::Clock, "the login runs no `date`, or takes too long for it");
    };
    let direction = if ahead < 0 { "behind" } else { "ahead of" };
    let detail = format!("it is {} s {direction} the runner's", ahead.unsigned_abs());
    match ahead.unsigned_abs() {
        ..=MAX_SKEW => DoctorFinding::good(Check::Clock, detail),
        _ => DoctorFinding::warning(Check::Clock, detail, CLOCK_FIX),
    }
}

/// Assigns the fault to the step of the connection that it ended.
fn judge_refused(fault: &Fault, hop: &Hop) -> Vec<DoctorFinding> {
    let answers = || DoctorFinding::good(Check::Hop, "answers as an SSH server");
    match fault.code {
        Code::HostKeyUnpinned
        | Code::HostKeyMismatch
        | Code::HostKeyRevoked
        | Code::HostKeyAuthority
        | Code::HostCertificate
        | Code::PinInvalid => vec![
            answers(),
            DoctorFinding::failed(Check::HostKey, fault.clone()),
            DoctorFinding::not_checked(Check::LogIn, format!("it needs the right host key of `{hop}`")),
        ],
        Code::BastionLogin
        | Code::CertificatePrincipal
        | Code::CertificateRefused
        | Code::CertificateExpired
        | Code::CertificateNotYetValid
        | Code::KeyInvalid
        | Code::KeyPassphrase => vec![
            answers(),
            DoctorFinding::good(Check::HostKey, "it is pinned"),
            DoctorFinding::failed(Check::LogIn, fault.clone()),
        ],
        Code::BastionTimeout => vec![DoctorFinding::failed(Check::Hop, fault.clone().fix(SLOW_HOP_FIX))],
        _ => vec![DoctorFinding::failed(Check::Hop, fault.clone())],
    }
}

/// Returns the finding about a way without a bastion, from the result of a session over it.
pub(super) fn judge_way(way: &WayIn, fault: Option<&Fault>) -> DoctorFinding {
    let finding = match fault.filter(|fault| is_about_way(fault)) {
        None => DoctorFinding::good(Check::Hop, "leads to a server"),
        Some(fault) => DoctorFinding::failed(Check::Hop, fault.clone()),
    };
    finding.about(way.to_string().replace('`', ""))
}

/// Returns the fault of a way that was not open within the time of the check.
pub(super) fn way_timeout_fault(way: &WayIn) -> Fault {
    let cause = format!("{way} is not open within the time of the check");
    Fault::new(Code::ViaNotStarted, cause)
        .fix("pull its image in an earlier step; if it is only slow, `command: plan` waits for it")
}

/// Returns whether a connection failed on its way in, before it reached a server.
pub(super) fn is_about_way(fault: &Fault) -> bool {
    matches!(
        fault.code,
        Code::ViaRefused
            | Code::ViaFailed
            | Code::ViaNotStarted
            | Code::EngineAbsent
            | Code::EngineForbidden
            | Code::EngineTooOld
            | Code::EngineFailed
            | Code::SelfUnknown
            | Code::ImageMissing
            | Code::ImageDenied
            | Code::ImagePlatform
            | Code::ImageRateLimit
            | Code::RegistryUnreachable
    )
}

/// Returns the finding about the way from the bastion to the database, from the result of a connection through it.
pub(super) fn judge_forwarding(target: &DatabaseTarget, fault: Option<&Fault>) -> DoctorFinding {
    let address = format!("{}:{}", target.host, target.port);
    match fault.filter(|fault| is_about_forwarding(fault)) {
        None => DoctorFinding::good(Check::Forwarding, "the bastion opens connections to it").about(address),
        Some(fault) => DoctorFinding::failed(Check::Forwarding, fault.clone()).about(address),
    }
}

/// Returns whether a connection to the database failed before it reached a server.
pub(super) fn is_about_forwarding(fault: &Fault) -> bool {
    matches!(
        fault.code,
        Code::ForwardingForbidden
            | Code::DatabaseUnknown
            | Code::DatabaseRefused
            | Code::DatabaseTimeout
            | Code::BastionLost
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(hosts: &[&str]) -> Route {
        let hop = |host: &&str| Hop { host: (*host).to_owned(), port: 22, user: "u".to_owned() };
        Route {
            hops: hosts.iter().map(hop).collect(),
            login: Login::default(),
            known_hosts: None,
            fingerprint: None,
            connect_timeout: Duration::from_secs(1),
            keepalive: Duration::from_secs(1),
        }
    }

    fn facts(host: &str) -> BastionFacts {
        BastionFacts {
            host: host.to_owned(),
            port: 22,
            user: "u".to_owned(),
            banner: "SSH-2.0-x".to_owned(),
            host_key: "ssh-ed25519 SHA256:a".to_owned(),
            host_certificate: None,
            login: "key".to_owned(),
            certificate: None,
        }
    }

    fn judged(hosts: &[&str], tried: &[Result<BastionFacts, Fault>]) -> Vec<String> {
        let route = route(hosts);
        let findings = judge_hops(&route, tried, &hop_timeout_fault(&route, tried.len()));
        findings.iter().map(|finding| format!("{} {}", finding.state.sign(), finding.subject())).collect()
    }

    #[test]
    fn everything_behind_a_dead_hop_is_not_checked() {
        let refused = Fault::new(Code::BastionRefused, "no");
        let expected = ["✅ hop a:22", "✅ host key a:22", "✅ log-in a:22", "❌ hop b:22", "➖ hop c:22"];
        assert_eq!(judged(&["a", "b", "c"], &[Ok(facts("a")), Err(refused)]), expected);
        assert_eq!(judged(&["a", "b"], &[]), ["❌ hop a:22", "➖ hop b:22"]);
    }

    #[test]
    fn a_fault_belongs_to_the_step_that_it_ended() {
        let of = |code| judged(&["a"], &[Err(Fault::new(code, "x"))]);
        assert_eq!(of(Code::HostKeyMismatch), ["✅ hop a:22", "❌ host key a:22", "➖ log-in a:22"]);
        assert_eq!(of(Code::BastionLogin), ["✅ hop a:22", "✅ host key a:22", "❌ log-in a:22"]);
        assert_eq!(of(Code::BastionNotSsh), ["❌ hop a:22"]);
    }

    #[test]
    fn a_way_is_a_hop_of_its_own() {
        let judged = |fault: Option<Fault>| {
            let finding = judge_way(&WayIn::Runner { port: 15_432 }, fault.as_ref());
            format!("{} {}", finding.state.sign(), finding.subject())
        };
        assert_eq!(judged(None), "✅ hop runner:15432");
        assert_eq!(judged(Some(Fault::new(Code::ViaRefused, "no"))), "❌ hop runner:15432");
        assert_eq!(judged(Some(Fault::new(Code::DatabaseLogin, "no"))), "✅ hop runner:15432");
    }

    #[test]
    fn a_clock_may_differ_by_a_minute() {
        for (ahead, state) in [(Some(60), "good"), (Some(61), "warning"), (Some(-61), "warning"), (None, "not-checked")]
        {
            assert_eq!(judge_clock(ahead).state.name(), state, "{ahead:?}");
        }
    }
}
