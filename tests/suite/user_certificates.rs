//! Certificates of users: `ssh-certificate`, against a real sshd with `TrustedUserCAKeys`, in every executor that the
//! suite has. Each verdict of the server is compared with what it gives OpenSSH's own client.

use crate::{
    action::Action,
    doctor::{findings, text},
    host_certificates::connect,
    lab::{
        Lab,
        server::Server,
        ssh_ca::{SshCa, openssh_forwards, openssh_logs_in},
        sshd::{Sshd, SshdOptions, fingerprint},
    },
};
use bastion_migrate::{
    fault::{Code, Fault},
    run::BastionFacts,
    secret::Secret,
    ssh::{Route, UserCertificate, check_private_key, seconds_since_1970},
};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

/// Options of a server that knows no key, but trusts a CA.
fn trusting(ca: &SshCa, more: &str) -> SshdOptions {
    let config = format!("{more}\nTrustedUserCAKeys {}\nAuthorizedKeysFile none", ca.public_path().display());
    SshdOptions { config, ..SshdOptions::default() }
}

fn read(certificate: &str, key: &Secret) -> Result<UserCertificate, Fault> {
    UserCertificate::read(certificate, Some(key), seconds_since_1970())
}

/// Returns the route with this certificate, which has to be valid.
fn route_with(sshd: &Sshd, certificate: &str) -> Route {
    let mut route = sshd.route();
    route.login.certificate = Some(read(certificate, &sshd.key()).unwrap_or_else(|fault| panic!("{fault:?}")));
    route
}

/// Returns the server's answer; OpenSSH's client has to get the same one.
#[expect(clippy::panic_in_result_fn, reason = "a verdict other than that of OpenSSH is a failed test")]
fn answer(what: &str, sshd: &Sshd, certificate: &str) -> Result<BastionFacts, Fault> {
    let ours = connect(&route_with(sshd, certificate));
    let (theirs, messages) = openssh_logs_in(sshd, "127.0.0.1", &sshd.known_hosts_line(), Some(certificate));
    assert_eq!(ours.is_ok(), theirs, "{what}: {ours:?}\n{messages}\n{}", sshd.log());
    ours
}

/// A step with one file, which logs in with this certificate.
fn step<'a>(lab: &'a Lab, certificate: &str) -> Action<'a> {
    Action::new(lab).file("migrations/0001_a.sql", "create table a (id int);").input("ssh-certificate", certificate)
}

#[test]
fn a_certificate_of_every_type_logs_in() {
    for (key, ca) in [
        (["-t", "ed25519"].as_slice(), ["-t", "ed25519"].as_slice()),
        (&["-t", "ecdsa", "-b", "256"], &["-t", "ecdsa", "-b", "384"]),
        (&["-t", "ecdsa", "-b", "384"], &["-t", "ecdsa", "-b", "521"]),
        (&["-t", "ecdsa", "-b", "521"], &["-t", "rsa", "-b", "2048"]),
        (&["-t", "rsa", "-b", "2048"], &["-t", "ed25519"]),
        (&["-t", "rsa", "-b", "2048", "-m", "PEM"], &["-t", "ed25519"]),
        (&["-t", "ecdsa", "-m", "PKCS8"], &["-t", "ed25519"]),
    ] {
        let ca = SshCa::new(ca);
        let user_key = [key, &["-N", ""]].concat();
        let sshd = Sshd::start(&SshdOptions { user_key, ..trusting(&ca, "") });
        let facts = answer("", &sshd, &ca.sign_user(&sshd)).unwrap_or_else(|fault| panic!("{key:?}: {fault:?}"));
        assert_eq!(facts.login, "certificate", "{key:?}");
        let certificate = facts.certificate.unwrap_or_default();
        assert!(certificate.starts_with(&format!("`deploy 7` for {}, valid until 20", sshd.user())), "{certificate}");
        assert!(certificate.ends_with(&fingerprint(&ca.public_key())), "{certificate}");
    }
}

#[test]
fn a_certificate_is_read_in_every_form_that_people_paste() {
    let ca = SshCa::ed25519();
    let sshd = Sshd::start(&trusting(&ca, ""));
    let certificate = ca.sign_user(&sshd);
    let words: Vec<&str> = certificate.split_whitespace().collect();
    let broken: Vec<String> = words[1].as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into()).collect();
    for text in [
        certificate.clone(),
        format!("\u{feff}  {}\r\n", certificate.trim()),
        format!("\"{}\\n\"", certificate.trim()),
        format!("{{\"signed_key\": \"{}\"}}", certificate.trim()),
        words[1].to_owned(),
        format!("# of Vault\n{} {}\n", words[0], broken.join("\n")),
        format!("{} {} a comment of several words", words[0], words[1]),
        format!("{}\n{certificate}", sshd.public_key()),
    ] {
        assert_eq!(connect(&route_with(&sshd, &text)).map(|facts| facts.login).as_deref(), Ok("certificate"), "{text}");
    }
}

#[test]
fn a_certificate_that_can_not_be_used_is_refused_before_any_connection() {
    let (ca, lab) = (SshCa::ed25519(), Lab::new());
    let lab = lab.behind(Sshd::start(&trusting(&ca, "")));
    let sshd = &lab.bastion;
    let (public, user) = (sshd.public_key(), sshd.user());
    let sign = |arguments: &[&str]| ca.sign(&public, &[&["-I", "deploy 7", "-n", &user], arguments].concat());
    let other = Sshd::plain();
    for (text, code, cause, fix) in [
        (
            sign(&["-V", "20200101000000Z:20200102000000Z"]),
            "certificate-expired",
            "`ssh-certificate` (`deploy 7`) ended at 2020-01-02 00:00:00 UTC, and it is 20",
            "let the CA sign the key again",
        ),
        (
            sign(&["-V", "20900101000000Z:20900102000000Z"]),
            "certificate-not-yet-valid",
            "is valid only from 2090-01-01 00:00:00 UTC",
            "correct the clock",
        ),
        (
            ca.sign(&other.public_key(), &["-I", "x", "-n", &user]),
            "certificate-key",
            "`ssh-certificate` belongs to the key ssh-ed25519 SHA256:",
            "set `ssh-private-key` to the key that was signed",
        ),
        (
            sign(&["-O", "critical:no-such@example.com"]),
            "certificate-options",
            "the critical option `no-such@example.com`",
            "without this option",
        ),
        (
            sign(&["-O", "clear"]),
            "certificate-options",
            "lacks the extension `permit-port-forwarding`",
            "let the CA sign the key with `permit-port-forwarding`",
        ),
        (sign(&["-h"]), "certificate-invalid", "it is a host's certificate, not a user's", "without `-h`"),
        (public.clone(), "certificate-invalid", "it is a public key that no CA has signed", "let the CA sign it"),
        (sign(&[]).chars().take(300).collect(), "certificate-invalid", "it is cut off or damaged", "`-cert.pub` file"),
    ] {
        step(&lab, &text).run().fails(code, 2).error(cause).logs(fix).done();
        step(&lab, &text).input("command", "doctor").run().fails(code, 2).error(cause).done();
    }
    let without_key = step(&lab, &sign(&[])).secret("ssh-private-key", "").secret("ssh-password", "open barley");
    without_key.run().fails("certificate-key", 2).error("a certificate alone proves nothing").done();
    assert!(!sshd.log().contains("Connection from"), "{}", sshd.log());
}

/// What we refuse without asking the server, the server refuses OpenSSH's client; and what lacks a right only, it lets in
/// without that right.
#[test]
fn what_is_refused_before_any_connection_is_of_no_use_to_openssh_either() {
    let ca = SshCa::ed25519();
    let (sshd, other) = (Sshd::start(&trusting(&ca, "")), Sshd::plain());
    let user = sshd.user();
    let sign = |public: &str, arguments: &[&str]| ca.sign(public, &[&["-I", "x", "-n", &user], arguments].concat());
    let own = sshd.public_key();
    for (what, code, certificate) in [
        ("expired", Code::CertificateExpired, sign(&own, &["-V", "20200101000000Z:20200102000000Z"])),
        ("not yet valid", Code::CertificateNotYetValid, sign(&own, &["-V", "20900101000000Z:20900102000000Z"])),
        ("another key", Code::CertificateKey, sign(&other.public_key(), &[])),
        ("a host's", Code::CertificateInvalid, sign(&own, &["-h"])),
        ("cut off", Code::CertificateInvalid, sign(&own, &[]).chars().take(300).collect()),
    ] {
        assert_eq!(read(&certificate, &sshd.key()).unwrap_err().code, code, "{what}");
        let (logs_in, messages) = openssh_logs_in(&sshd, "127.0.0.1", &sshd.known_hosts_line(), Some(&certificate));
        assert!(!logs_in, "{what}: {messages}");
    }
    let lab = Lab::new().behind(sshd);
    let sshd = &lab.bastion;
    let (critical, without_forwarding, good) =
        (sign(&own, &["-O", "critical:no-such@example.com"]), sign(&own, &["-O", "clear"]), sign(&own, &[]));
    for certificate in [&critical, &without_forwarding] {
        step(&lab, certificate).run().fails("certificate-options", 2).done();
        let (forwards, messages) = openssh_forwards(sshd, certificate);
        assert!(!forwards, "{messages}");
    }
    assert!(!openssh_logs_in(sshd, "127.0.0.1", &sshd.known_hosts_line(), Some(&critical)).0);
    assert!(openssh_logs_in(sshd, "127.0.0.1", &sshd.known_hosts_line(), Some(&without_forwarding)).0);
    let (forwards, messages) = openssh_forwards(sshd, &good);
    assert!(forwards, "{messages}");
}

#[test]
fn a_refused_certificate_is_named_with_its_likely_reason() {
    let (ca, stranger) = (SshCa::ed25519(), SshCa::ed25519());
    let revoked = tempfile::NamedTempFile::new().unwrap();
    fs::set_permissions(revoked.path(), Permissions::from_mode(0o644)).unwrap();
    let sshd = Sshd::start(&trusting(&ca, &format!("RevokedKeys {}", revoked.path().display())));
    let (public, user) = (sshd.public_key(), sshd.user());
    let sign = |ca: &SshCa, arguments: &[&str]| ca.sign(&public, &[&["-I", "deploy 7"], arguments].concat());
    let authority = fingerprint(&ca.public_key());

    let fault = answer("principal", &sshd, &sign(&ca, &["-n", "ops,backup"])).unwrap_err();
    assert_eq!(fault.code, Code::CertificatePrincipal);
    let cause = format!("refused user `{user}` with the certificate `deploy 7`, which is for ops, backup");
    assert!(fault.cause.ends_with(&cause), "{}", fault.cause);
    let fault = answer("no principal", &sshd, &sign(&ca, &[])).unwrap_err();
    assert!(
        fault.code == Code::CertificatePrincipal && fault.cause.ends_with("which is for no principal"),
        "{fault:?}"
    );

    let fault = answer("CA", &sshd, &sign(&stranger, &["-n", &user])).unwrap_err();
    assert_eq!(fault.code, Code::CertificateRefused);
    assert!(fault.cause.ends_with(&fingerprint(&stranger.public_key())), "{}", fault.cause);
    assert!(fault.fix.contains("`TrustedUserCAKeys`") && fault.fix.contains("`RevokedKeys`"), "{}", fault.fix);

    let fault = answer("address", &sshd, &sign(&ca, &["-n", &user, "-O", "source-address=192.0.2.0/24"])).unwrap_err();
    assert!(fault.code == Code::CertificateRefused && fault.cause.ends_with(&authority), "{fault:?}");
    assert!(
        fault.detail.iter().any(|line| line.contains("only for connections from 192.0.2.0/24")),
        "{:?}",
        fault.detail
    );

    let good = sign(&ca, &["-n", &user]);
    assert!(answer("good", &sshd, &good).is_ok());
    fs::write(revoked.path(), &public).unwrap();
    let fault = answer("revoked", &sshd, &good).unwrap_err();
    assert!(fault.code == Code::CertificateRefused && fault.cause.ends_with(&authority), "{fault:?}");
}

#[test]
fn a_certificate_signed_with_sha_1_is_refused_with_this_reason() {
    let ca = SshCa::new(&["-t", "rsa", "-b", "2048"]);
    let sshd = Sshd::start(&trusting(&ca, ""));
    let sign = |algorithm| ca.sign(&sshd.public_key(), &["-t", algorithm, "-I", "x", "-n", &sshd.user()]);
    assert!(answer("rsa-sha2-256", &sshd, &sign("rsa-sha2-256")).is_ok());
    let fault = answer("ssh-rsa", &sshd, &sign("ssh-rsa")).unwrap_err();
    assert_eq!(fault.code, Code::CertificateRefused);
    assert!(fault.detail.iter().any(|line| line.contains("SHA-1")), "{:?}", fault.detail);
}

#[test]
fn a_server_may_let_in_other_principals_and_the_key_itself() {
    let ca = SshCa::ed25519();
    let principals = tempfile::NamedTempFile::new().unwrap();
    fs::write(principals.path(), "deployers\n").unwrap();
    fs::set_permissions(principals.path(), Permissions::from_mode(0o644)).unwrap();
    let more = format!("AuthorizedPrincipalsFile {}", principals.path().display());
    let sshd = Sshd::start(&trusting(&ca, &more));
    let certificate = ca.sign(&sshd.public_key(), &["-I", "x", "-n", "deployers"]);
    assert_eq!(answer("mapped", &sshd, &certificate).map(|facts| facts.login).as_deref(), Ok("certificate"));

    // A server that has the key in authorized_keys, and knows no CA.
    let plain = Sshd::plain();
    let certificate = ca.sign_user(&plain);
    let facts = answer("key", &plain, &certificate).unwrap();
    assert_eq!((facts.login.as_str(), facts.certificate), ("key (the certificate was refused)", None));
}

#[test]
fn one_certificate_logs_in_on_every_hop() {
    let ca = SshCa::ed25519();
    let (gate, bastion) = (Sshd::start(&trusting(&ca, "")), Sshd::start(&trusting(&ca, "")));
    let lab = Lab::new().behind(bastion);
    let certificate = ca.sign_user(&lab.bastion);
    let pins = format!("{}\n{}", gate.known_hosts_line(), lab.bastion.known_hosts_line());
    let jump = format!("{}@127.0.0.1:{}", gate.user(), gate.port);
    step(&lab, &certificate)
        .input("ssh-jump", jump)
        .input("ssh-known-hosts", pins)
        .run()
        .succeeds()
        .applied(["0001_a"])
        .logs("by certificate")
        .done();
    for sshd in [&gate, &*lab.bastion] {
        assert!(sshd.log().contains("Accepted publickey") && sshd.log().contains("ID deploy 7"), "{}", sshd.log());
    }
}

#[test]
fn a_run_shows_the_certificate_and_no_part_of_the_key() {
    let ca = SshCa::ed25519();
    let lab = Lab::new().behind(Sshd::start(&trusting(&ca, "")));
    let certificate = ca.sign_user(&lab.bastion);
    let shown = format!("certificate `deploy 7` for {}, valid until 20", lab.bastion.user());
    step(&lab, &certificate)
        .run()
        .succeeds()
        .applied(["0001_a"])
        .logs(&format!("{}@127.0.0.1:{} by certificate", lab.bastion.user(), lab.bastion.port))
        .logs(&shown)
        .summary("Certificate")
        .done();
    let key = format!("{}\n", ca.sign(&lab.bastion.public_key(), &["-I", "x", "-n", "nobody-here"]));
    step(&lab, &key).run().fails("certificate-principal", 3).error("which is for nobody-here").done();
}

#[test]
fn the_doctor_shows_the_certificate_and_warns_of_its_end() {
    let ca = SshCa::ed25519();
    let lab = Lab::new().behind(Sshd::start(&trusting(&ca, "")));
    let (public, user) = (lab.bastion.public_key(), lab.bastion.user());
    let doctor = |minutes: u32, timeout: &str| {
        let validity = format!("-1m:+{minutes}m");
        let certificate = ca.sign(&public, &["-I", "deploy 7", "-n", &user, "-V", &validity]);
        step(&lab, &certificate).input("command", "doctor").input("timeout", timeout).run()
    };
    for (minutes, timeout, state) in [(60, "30m", "good"), (20, "30m", "warning"), (20, "10m", "good")] {
        let finished = doctor(minutes, timeout);
        let found = findings(&finished);
        let about = found.iter().find(|finding| text(finding, "subject") == "user certificate").expect("it is checked");
        assert_eq!(text(about, "state"), state, "{about}");
        assert!(text(about, "detail").contains(&format!("`deploy 7` for {user}, valid until 20")), "{about}");
        assert_eq!(text(about, "fix").contains("right before this one"), state == "warning", "{about}");
        finished.succeeds().done();
    }
}

#[test]
fn commands_on_the_server_run_with_a_certificate_unless_it_forces_another_command() {
    let ca = SshCa::ed25519();
    let trusted = format!("TrustedUserCAKeys {}", ca.public_path().display());
    let (lab, server) = (Lab::new(), Server::configured(&trusted));
    let user = server.login().name().to_owned();
    let key = tempfile::tempdir().unwrap();
    let own = new_key(key.path());
    let sign = |arguments: &[&str]| ca.sign(&own.1, &[&["-I", "deploy 7", "-n", &user], arguments].concat());
    let on_server = |certificate: &str| {
        Action::on_server(&lab, &server)
            .secret("ssh-private-key", own.0.expose())
            .input("ssh-certificate", certificate)
            .input("tool", "custom")
            .input("run", "echo it ran")
    };
    // No tunnel to a database, so no forwarding.
    let ran = on_server(&sign(&["-O", "clear"])).run().succeeds().logs("it ran").logs("by certificate");
    ran.warning("no database is given").done();
    on_server(&sign(&["-O", "force-command=/bin/true"]))
        .run()
        .fails("certificate-options", 2)
        .error("the server runs `/bin/true` in place of every command of this run")
        .logs("fix: let the CA sign the key without `force-command`")
        .done();
}

/// Creates a key in this directory; returns it, and its public half as `type base64`.
fn new_key(directory: &Path) -> (Secret, String) {
    let path = directory.join("key");
    crate::lab::sshd::keygen(&path, &["-t", "ed25519", "-N", ""]);
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    let key = Secret::new(fs::read_to_string(path).unwrap());
    check_private_key(&key, None).unwrap();
    (key, public.split(' ').take(2).map(str::trim).collect::<Vec<_>>().join(" "))
}

#[test]
fn a_forced_command_is_no_obstacle_for_a_tunnel() {
    let ca = SshCa::ed25519();
    let lab = Lab::new().behind(Sshd::start(&trusting(&ca, "")));
    let arguments = ["-I", "x", "-n", &lab.bastion.user(), "-O", "force-command=/bin/false"];
    let certificate = ca.sign(&lab.bastion.public_key(), &arguments);
    step(&lab, &certificate).run().succeeds().applied(["0001_a"]).done();
}
