//! Certificates of hosts: `@cert-authority` in `ssh-known-hosts`. Each verdict is compared with that of OpenSSH's own
//! client on the same server and the same lines.

use crate::{
    action::Action,
    lab::{
        Lab,
        ssh_ca::{SshCa, openssh_logs_in},
        sshd::{Sshd, SshdOptions, fingerprint, hashed},
    },
};
use bastion_migrate::{
    fault::{Code, Fault},
    run::{BastionFacts, event::Events},
    ssh::{Route, Tunnel},
    way::WayIn,
};

/// Connects and disconnects.
pub(crate) fn connect(route: &Route) -> Result<BastionFacts, Fault> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let (events, _receiver) = Events::channel();
        let (tunnel, facts) = Tunnel::connect(route, &WayIn::Direct, &events).await?;
        tunnel.close().await.unwrap();
        Ok(facts)
    })
}

/// Returns our verdict on `localhost` with these lines; OpenSSH's has to be the same.
#[expect(clippy::panic_in_result_fn, reason = "a verdict other than that of OpenSSH is a failed test")]
fn verdict(what: &str, sshd: &Sshd, known_hosts: &str) -> Result<BastionFacts, Fault> {
    let ours = our_verdict(sshd, known_hosts);
    let (theirs, messages) = openssh_logs_in(sshd, "localhost", known_hosts, None);
    assert_eq!(ours.is_ok(), theirs, "{what}: {ours:?}\n{messages}");
    ours
}

fn our_verdict(sshd: &Sshd, known_hosts: &str) -> Result<BastionFacts, Fault> {
    let mut route = sshd.route();
    route.hops[0].host = "localhost".to_owned();
    route.known_hosts = Some(known_hosts.to_owned());
    connect(&route)
}

/// A server with one host key, which has a certificate.
fn certified(kind: &'static str, ca: &SshCa, arguments: &[&str]) -> Sshd {
    let sshd = Sshd::start(&SshdOptions { host_keys: vec![kind], ..SshdOptions::default() });
    sshd.show_certificate(kind, Some(&ca.sign(&sshd.host_key(kind), arguments)));
    sshd
}

const HOST: [&str; 5] = ["-h", "-I", "localhost 3", "-n", "localhost"];

#[test]
fn a_host_with_a_certificate_of_the_pinned_ca_is_accepted_in_every_way_to_write_it() {
    let ca = SshCa::ed25519();
    let sshd = certified("ed25519", &ca, &HOST);
    let (port, key) = (sshd.port, ca.public_key());
    let shown = fingerprint(&sshd.host_key("ed25519"));
    for lines in [
        format!("@cert-authority [localhost]:{port} {key}"),
        format!("@cert-authority localhost {key} our CA"),
        format!("@cert-authority *,!bastion {key}"),
        format!("@cert-authority local* {key}\n@cert-authority [localhost]:{port} {}", SshCa::ed25519().public_key()),
        format!("@cert-authority * {}\n@cert-authority * {key}", SshCa::ed25519().public_key()),
        hashed(&format!("@cert-authority [localhost]:{port} {key}\n")),
    ] {
        let facts = verdict(&lines, &sshd, &lines).unwrap_or_else(|fault| panic!("{lines}: {fault:?}"));
        assert_eq!(facts.host_key, format!("ssh-ed25519 {shown}"), "{lines}");
        let certificate = facts.host_certificate.unwrap_or_default();
        let expected =
            format!("`localhost 3` for localhost, valid for ever, of the CA ssh-ed25519 {}", fingerprint(&key));
        assert_eq!(certificate, expected, "{lines}");
    }
    for lines in [
        format!("@cert-authority bastion {key}"),
        format!("@cert-authority *,!localhost,![localhost]:* {key}"),
        format!("localhost {key}"),
    ] {
        let fault = verdict(&lines, &sshd, &lines).unwrap_err();
        let expected = if lines.starts_with('@') { Code::HostKeyUnpinned } else { Code::HostKeyMismatch };
        assert_eq!(fault.code, expected, "{lines}");
    }
}

#[test]
fn a_certificate_of_every_type_of_host_key_and_of_ca_is_accepted() {
    for (kind, ca) in [
        ("ed25519", ["-t", "ecdsa", "-b", "256"].as_slice()),
        ("ed25519", &["-t", "ecdsa", "-b", "384"]),
        ("ed25519", &["-t", "ecdsa", "-b", "521"]),
        ("ed25519", &["-t", "rsa", "-b", "2048"]),
        ("ecdsa", &["-t", "ed25519"]),
        ("rsa", &["-t", "ed25519"]),
        ("rsa", &["-t", "rsa", "-b", "3072"]),
    ] {
        let what = format!("{kind} {ca:?}");
        let ca = SshCa::new(ca);
        let sshd = certified(kind, &ca, &HOST);
        let line = format!("@cert-authority localhost {}", ca.public_key());
        let facts = verdict(&what, &sshd, &line).unwrap_or_else(|fault| panic!("{what}: {fault:?}"));
        assert!(facts.host_certificate.is_some_and(|of| of.starts_with("`localhost 3`")), "{what}");
    }
}

#[test]
fn a_certificate_that_does_not_count_is_refused_with_the_reason() {
    let ca = SshCa::ed25519();
    let sshd = Sshd::plain();
    let key = sshd.host_key("ed25519");
    let line = format!("@cert-authority localhost {}", ca.public_key());
    for (arguments, why) in [
        (["-h", "-I", "a", "-n", "bastion"].as_slice(), "it is for bastion, not for `localhost`"),
        (&["-h", "-I", "a", "-n", "LOCALHOST"], "it is for LOCALHOST, not for `localhost`"),
        (&["-h", "-I", "a", "-n", "*.localhost,127.0.0.1"], "it is for *.localhost, 127.0.0.1, not for"),
        (
            &["-h", "-I", "a", "-n", "localhost", "-V", "20200101000000Z:20200102000000Z"],
            "it ended at 2020-01-02 00:00:00 UTC",
        ),
        (
            &["-h", "-I", "a", "-n", "localhost", "-V", "20900101000000Z:20910102000000Z"],
            "it is valid only from 2090-01-01",
        ),
        (&["-I", "a", "-n", "localhost"], "it is a user's, not a host's"),
        (
            &["-h", "-I", "a", "-n", "localhost", "-O", "critical:a@example.com=b"],
            "the critical option `a@example.com`",
        ),
    ] {
        sshd.show_certificate("ed25519", Some(&ca.sign(&key, arguments)));
        let fault = verdict(why, &sshd, &line).unwrap_err();
        assert_eq!(fault.code, Code::HostCertificate, "{why}: {fault:?}");
        assert!(
            fault.cause.contains(&format!("shows the certificate `a`, which does not count: {why}"))
                || fault.cause.contains(why),
            "{}",
            fault.cause
        );
        assert!(fault.detail.iter().any(|line| line.starts_with("the certificate is `a` for ")), "{:?}", fault.detail);
        // As in OpenSSH, the key in it may be pinned itself.
        let pinned = format!("{line}\nlocalhost {key}");
        let facts = verdict(why, &sshd, &pinned).unwrap_or_else(|fault| panic!("{why}: {fault:?}"));
        let certificate = facts.host_certificate.unwrap_or_default();
        assert!(certificate.starts_with("not used, because the key itself is pinned: "), "{certificate}");
    }
    for (arguments, accepted) in [
        (["-h", "-I", "a", "-n", "local*"].as_slice(), false),
        (&["-h", "-I", "a", "-n", "*"], false),
        (&["-h", "-I", "a", "-n", "bastion,localhost"], true),
        (&["-h", "-I", "a", "-n", "localhost", "-V", "-1d:+1d"], true),
        (&["-h", "-I", "a", "-n", "!localhost,localhost"], true),
    ] {
        sshd.show_certificate("ed25519", Some(&ca.sign(&key, arguments)));
        assert_eq!(verdict(&format!("{arguments:?}"), &sshd, &line).is_ok(), accepted, "{arguments:?}");
    }
}

#[test]
fn a_ca_that_signs_with_sha_1_proves_nothing() {
    let ca = SshCa::new(&["-t", "rsa", "-b", "2048"]);
    let line = format!("@cert-authority localhost {}", ca.public_key());
    for (algorithm, accepted) in [("ssh-rsa", false), ("rsa-sha2-256", true), ("rsa-sha2-512", true)] {
        let sshd = certified("ed25519", &ca, &[&["-t", algorithm], HOST.as_slice()].concat());
        let verdict = verdict(algorithm, &sshd, &line);
        assert_eq!(verdict.is_ok(), accepted, "{algorithm}");
        let cause = verdict.err().map(|fault| fault.cause).unwrap_or_default();
        assert_eq!(cause.contains("SHA-1"), !accepted, "{cause}");
    }
}

/// A certificate for no name counts for every host: OpenSSH 9 accepts it. Ours does not: one leaked key of any host with
/// such a certificate would stand in for every bastion.
#[test]
fn a_certificate_without_a_name_is_refused_although_an_older_client_accepts_it() {
    let ca = SshCa::ed25519();
    let sshd = certified("ed25519", &ca, &["-h", "-I", "nobody"]);
    let line = format!("@cert-authority localhost {}", ca.public_key());
    let fault = our_verdict(&sshd, &line).unwrap_err();
    assert_eq!(fault.code, Code::HostCertificate);
    assert!(fault.cause.ends_with("it is for no principal, not for `localhost`"), "{}", fault.cause);
}

#[test]
fn another_ca_and_a_revoked_one_are_refused() {
    let (ca, other) = (SshCa::ed25519(), SshCa::ed25519());
    let sshd = certified("ed25519", &ca, &HOST);
    let (key, ca_key, other_key) = (sshd.host_key("ed25519"), ca.public_key(), other.public_key());
    let trusting = |key: &str| format!("@cert-authority localhost {key}");
    let both = [&ca_key, &other_key].map(|key| fingerprint(key));
    for (lines, code, texts) in [
        (
            trusting(&other_key),
            Code::HostKeyAuthority,
            vec!["shows a certificate of the CA", &both[0], "trusts", &both[1]],
        ),
        (
            format!("{}\n@revoked * {ca_key}", trusting(&ca_key)),
            Code::HostKeyRevoked,
            vec![both[0].as_str(), "in line 2"],
        ),
        (format!("{}\n@revoked * {key}", trusting(&ca_key)), Code::HostKeyRevoked, vec!["marks as revoked"]),
        (format!("{}\n@revoked * {ca_key}\nlocalhost {key}", trusting(&ca_key)), Code::HostKeyRevoked, vec![]),
        (format!("{}\nlocalhost {other_key}", trusting(&other_key)), Code::HostKeyAuthority, vec![]),
    ] {
        let fault = verdict(&lines, &sshd, &lines).unwrap_err();
        assert_eq!(fault.code, code, "{lines}: {fault:?}");
        assert!(texts.iter().all(|text| fault.cause.contains(text)), "{texts:?}: {}", fault.cause);
    }
    for lines in [
        format!("{}\nlocalhost {key}", trusting(&other_key)),
        format!("{}\n@revoked * {other_key}", trusting(&ca_key)),
        format!("{}\n@revoked bastion {ca_key}", trusting(&ca_key)),
    ] {
        verdict(&lines, &sshd, &lines).unwrap_or_else(|fault| panic!("{lines}: {fault:?}"));
    }
}

#[test]
fn a_host_without_a_certificate_needs_a_pin_of_its_own() {
    let (ca, sshd) = (SshCa::ed25519(), Sshd::plain());
    let line = format!("@cert-authority localhost {}", ca.public_key());
    let fault = verdict("none", &sshd, &line).unwrap_err();
    assert_eq!(fault.code, Code::HostKeyAuthority);
    assert!(fault.cause.contains("which shows no certificate but the key ssh-ed25519"), "{}", fault.cause);
    let pinned = format!("{line}\n[localhost]:{} {}", sshd.port, sshd.host_key("ed25519"));
    assert_eq!(verdict("pinned", &sshd, &pinned).unwrap().host_certificate, None);
    assert!(verdict("the line shown", &sshd, &fault.detail[0]).is_ok(), "{:?}", fault.detail);
}

#[test]
fn a_fingerprint_pins_the_key_inside_of_a_certificate() {
    let (ca, other) = (SshCa::ed25519(), SshCa::ed25519());
    let sshd = certified("ed25519", &ca, &HOST);
    let mut route = sshd.route();
    route.known_hosts = Some(format!("@cert-authority * {}", other.public_key()));
    route.fingerprint = Some(fingerprint(&sshd.host_key("ed25519")));
    let facts = connect(&route).unwrap();
    assert!(facts.host_certificate.is_some_and(|of| of.contains("no @cert-authority line has the CA")));
}

#[test]
fn a_run_shows_the_certificate_of_the_host_and_the_doctor_its_verdict() {
    let ca = SshCa::ed25519();
    let sshd = certified("ed25519", &ca, &HOST);
    let lab = Lab::new().behind(sshd);
    let line = format!("@cert-authority localhost {}", ca.public_key());
    let step = |line: &str| {
        let step = Action::new(&lab).file("migrations/0001_a.sql", "create table a (id int);");
        step.input("ssh-host", "localhost").input("ssh-known-hosts", line)
    };
    step(&line)
        .input("command", "doctor")
        .run()
        .succeeds()
        .logs("counts; its certificate: `localhost 3` for localhost, valid for ever, of the CA ssh-ed25519 SHA256:")
        .done();
    step(&format!("@cert-authority localhost {}", SshCa::ed25519().public_key()))
        .input("command", "doctor")
        .run()
        .fails("host-key-authority", 3)
        .error("shows a certificate of the CA")
        .done();
    step(&line)
        .run()
        .succeeds()
        .applied(["0001_a"])
        .logs("certificate `localhost 3` for localhost, valid for ever, of the CA ssh-ed25519 SHA256:")
        .summary("Host certificate")
        .done();
    let other =
        ca.sign(&lab.bastion.host_key("ed25519"), &["-h", "-I", "old", "-n", "localhost", "-V", "20200101:20200102"]);
    lab.bastion.show_certificate("ed25519", Some(&other));
    step(&line)
        .run()
        .fails("host-certificate", 3)
        .error("shows the certificate `old`, which does not count: it ended at 2020-01-0")
        .logs("fix: let the CA sign the host's key again")
        .done();
}
