//! Failures on the way to the bastion and through it, as the whole program reports them. `bastion.rs` tests the same
//! failures at the level of the library.

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        sshd::{Sshd, SshdOptions, fingerprint, hashed},
        stranger::FakeServer,
    },
    runner::Log,
};
use std::{net::TcpListener, time::Duration};

const USERS: &str = "create table users (id int);\n";

/// Time limit for every wait in these tests.
const LIMIT: Duration = Duration::from_secs(10);

/// A step through the bastion, with one file to apply.
fn migration(lab: &Lab) -> Action<'_> {
    Action::new(lab).file("migrations/0001_users.sql", USERS)
}

fn assert_applied(action: Action<'_>) {
    action.run().succeeds().applied(["0001_users"]).done();
}

/// Expects the step to fail with these texts in the log, without a change in the database.
fn assert_refused(lab: &Lab, action: Action<'_>, code: &'static str, texts: &[&str]) {
    fails_unchanged(lab, action, code, texts).done();
}

fn fails_unchanged(lab: &Lab, action: Action<'_>, code: &'static str, texts: &[&str]) -> Finished {
    let finished = action.run().fails(code, 3).logs(&format!("{code} in "));
    assert_eq!(lab.database.sql("select count(*) from pg_namespace where nspname = 'bastion_migrate'"), "0");
    texts.iter().fold(finished, |finished, text| finished.logs(text))
}

/// Creates a lab behind an sshd with these lines in its configuration.
fn configured(config: &str) -> Lab {
    Lab::new().behind(Sshd::start(&SshdOptions { config: config.to_owned(), ..SshdOptions::default() }))
}

fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port().to_string()
}

#[test]
fn the_known_hosts_line_that_the_first_run_prints_makes_the_second_one_work() {
    let lab = Lab::new();
    let first = migration(&lab).input("ssh-known-hosts", "").run();
    let log = Log::read(&first.log).shown;
    let start = format!("[127.0.0.1]:{} ssh-", lab.bastion.port);
    let line = log
        .lines()
        .map(|line| line.trim_start_matches("##[notice]").trim())
        .find(|line| line.starts_with(&start))
        .expect("the line is printed")
        .to_owned();
    first
        .fails("host-key-unpinned", 3)
        .notice(&line)
        .logs(&format!("no key is pinned for `127.0.0.1:{}`", lab.bastion.port))
        .logs(&fingerprint(&lab.bastion.host_key("ed25519")))
        .logs("fix: compare the fingerprint with the server's own")
        .logs("`ssh-known-hosts`")
        .logs("Pin the host key to continue (")
        .logs("next: store the line with `gh variable set SSH_KNOWN_HOSTS`, and run again")
        .summary("⏸️ bastion-migrate · Pin the host key to continue")
        .summary(&line)
        .summary("gh variable set SSH_KNOWN_HOSTS\n")
        .done();
    assert_applied(migration(&lab).input("ssh-known-hosts", line));
}

#[test]
fn a_host_key_that_is_not_the_pinned_one_stops_the_run_before_the_login() {
    let lab = configured("");
    let (port, key) = (lab.bastion.port, lab.bastion.host_key("ed25519"));
    let other = Sshd::plain().host_key("ed25519");
    let [shown, pinned] = [&key, &other].map(|key| fingerprint(key));
    for (known_hosts, code, texts) in [
        (
            format!("[127.0.0.1]:{port} {other}"),
            "host-key-mismatch",
            vec![shown.as_str(), "but pinned is", pinned.as_str(), "fix: find out why before you change anything"],
        ),
        (
            format!("{}\n@revoked * {key}", lab.bastion.known_hosts_line()),
            "host-key-revoked",
            vec!["`ssh-known-hosts` marks as revoked", "fix: do not connect"],
        ),
        (
            format!("@cert-authority * {other}"),
            "host-key-authority",
            vec![
                "only a @cert-authority line",
                "fix: see which CA has signed the host's key",
                "or pin the host's own key",
            ],
        ),
    ] {
        assert_refused(&lab, migration(&lab).input("ssh-known-hosts", known_hosts), code, &texts);
    }
    assert!(!lab.bastion.log().contains("userauth"), "the step tried to log in: {}", lab.bastion.log());
}

#[test]
fn a_fingerprint_or_a_hashed_name_pins_as_well() {
    let lab = Lab::new();
    let print = fingerprint(&lab.bastion.host_key("ed25519"));
    assert_applied(migration(&lab).input("ssh-known-hosts", "").input("ssh-fingerprint", print.as_str()));
    let names = hashed(&format!("{}\n", lab.bastion.known_hosts_line()));
    assert!(names.starts_with("|1|"), "{names}");
    migration(&lab).input("ssh-known-hosts", names).run().nothing_to_do().logs(&print).done();
    let other = fingerprint(&Sshd::plain().host_key("ed25519"));
    let action = migration(&lab).input("ssh-known-hosts", "").input("ssh-fingerprint", other.as_str());
    action.run().fails("host-key-mismatch", 3).logs(&print).logs(&other).done();
}

#[test]
fn a_rejected_key_or_password_is_reported_with_the_methods_tried() {
    let (lab, other) = (configured(""), Sshd::plain());
    let user = lab.bastion.user();
    let refusal = format!("refused user `{user}`; tried: key; the server offers: publickey");
    let action = migration(&lab).secret("ssh-private-key", other.key().expose());
    let texts = [refusal.as_str(), "the key is ssh-ed25519 SHA256:", "authorized_keys"];
    assert_refused(&lab, action, "bastion-login", &texts);
    let tries = lab.bastion.log().matches("Connection from").count();
    assert_eq!(tries, 1, "repeated failed logins look like an attack");
    let action = migration(&lab).secret("ssh-private-key", "").secret("ssh-password", "not the password");
    let texts = ["tried: nothing; the server offers: publickey", "fix: check `ssh-user`; set `ssh-private-key`"];
    assert_refused(&lab, action, "bastion-login", &texts);
}

#[test]
fn a_password_is_sent_by_the_method_that_the_bastion_offers() {
    const PASSWORD: &str = "Corr3ct horse";
    for (config, method) in [
        ("PasswordAuthentication yes", "by password"),
        ("UsePAM yes\nKbdInteractiveAuthentication yes", "by keyboard-interactive"),
    ] {
        let options = SshdOptions { config: config.to_owned(), password: Some(PASSWORD), ..SshdOptions::default() };
        let lab = Lab::new().behind(Sshd::start(&options));
        let action = migration(&lab).secret("ssh-private-key", "").secret("ssh-password", PASSWORD);
        action.run().succeeds().applied(["0001_users"]).logs(method).done();
    }
}

#[test]
fn each_way_of_not_reaching_the_bastion_has_its_own_fault() {
    let lab = Lab::new();
    let (silent, web, closed) = (FakeServer::silent(), FakeServer::web(), closed_port());
    for (port, code, texts) in [
        (closed, "bastion-refused", ["refuses the connection", "check `ssh-port`, that sshd runs"]),
        (
            web.port.to_string(),
            "bastion-not-ssh",
            ["does not speak SSH; the last line it sent is: Content-Length: 0", "sshd's port"],
        ),
        (silent.port.to_string(), "bastion-timeout", ["accepts the connection and sends nothing", "`connect-timeout`"]),
    ] {
        let place = format!("`127.0.0.1:{port}`");
        let action = migration(&lab).input("ssh-port", port).input("connect-timeout", "1s");
        assert_refused(&lab, action, code, &[&place, texts[0], texts[1]]);
    }
    let action = migration(&lab).input("ssh-host", "bastion.invalid");
    assert_refused(
        &lab,
        action,
        "bastion-unknown",
        &["`bastion.invalid", "can't be resolved", "fix: check the spelling of `ssh-host`"],
    );
}

#[test]
fn a_bastion_that_does_not_forward_connections_is_reported() {
    let other_target = "PermitOpen db.internal:5432";
    for lab in [
        configured("AllowTcpForwarding no"),
        configured(other_target),
        Lab::new().behind(Sshd::start(&SshdOptions { key_options: "restrict".to_owned(), ..SshdOptions::default() })),
    ] {
        let place = format!("does not forward connections to `localhost:{}`", lab.database.server().port());
        let texts = [place.as_str(), "`AllowTcpForwarding yes`", "`PermitOpen`", "`restrict`"];
        assert_refused(&lab, migration(&lab), "forwarding-forbidden", &texts);
    }
}

/// Creates a bastion behind a jump host; both accept the jump host's user.
fn behind_a_jump_host() -> (Lab, Sshd) {
    let jump = Sshd::plain();
    let last = Sshd::plain();
    last.authorize(&jump);
    (Lab::new().behind(last), jump)
}

fn migration_through<'a>(lab: &'a Lab, jump: &Sshd) -> Action<'a> {
    migration(lab)
        .input("ssh-jump", format!("{}@127.0.0.1:{}", jump.user(), jump.port))
        .input("ssh-known-hosts", format!("{}\n{}", jump.known_hosts_line(), lab.bastion.known_hosts_line()))
        .secret("ssh-private-key", jump.key().expose())
}

#[test]
fn a_migration_goes_through_a_jump_host_to_the_bastion() {
    let (lab, jump) = behind_a_jump_host();
    assert_applied(migration_through(&lab, &jump));
    assert!(jump.log().contains("Accepted publickey"), "{}", jump.log());
    assert_eq!(jump.sessions(), Vec::<u32>::new());
}

#[test]
fn the_hop_that_is_unpinned_or_unreachable_is_named() {
    let (lab, jump) = behind_a_jump_host();
    let hops = [jump.port, lab.bastion.port].map(|port| format!("127.0.0.1:{port}"));
    let lines = [jump.known_hosts_line(), lab.bastion.known_hosts_line()];
    for (pinned, named, line) in [(&lines[1], &hops[0], &lines[0]), (&lines[0], &hops[1], &lines[1])] {
        let action = migration_through(&lab, &jump).input("ssh-known-hosts", pinned.as_str());
        assert_refused(&lab, action, "host-key-unpinned", &[&format!("no key is pinned for `{named}`"), line]);
    }
    let action = migration_through(&lab, &jump).input("ssh-port", closed_port());
    assert_refused(
        &lab,
        action,
        "bastion-refused",
        &[&format!("jump host `{}` can't connect to `127.0.0.1:", hops[0])],
    );
}

#[test]
fn a_bastion_that_drops_the_first_connection_is_tried_again() {
    let lab = Lab::new();
    let proxy = FakeServer::dropping_first(lab.bastion.port);
    migration(&lab)
        .input("ssh-port", proxy.port.to_string())
        .input("ssh-known-hosts", format!("127.0.0.1 {}", lab.bastion.host_key("ed25519")))
        .run()
        .succeeds()
        .applied(["0001_users"])
        .logs(&format!("waiting for the connection to 127.0.0.1:{}", proxy.port))
        .logs("closes the connection without an SSH greeting")
        .done();
}

#[test]
fn a_bastion_that_dies_before_the_database_answers_is_reported_as_the_cause() {
    let lab = configured("");
    let silent = FakeServer::silent();
    let running = migration(&lab).secret("database-url", lab.database.url_at("localhost", silent.port)).start();
    silent.wait_for_connection();
    lab.bastion.kill_sessions();
    running
        .finish()
        .fails("bastion-lost", 3)
        .logs(&format!("bastion-lost in database: the connection to `127.0.0.1:{}`", lab.bastion.port))
        .logs("fix: see the bastion's sshd log")
        .never_logs("database-")
        .within(LIMIT)
        .done();
    assert_eq!(lab.database.sql("select count(*) from pg_namespace where nspname = 'bastion_migrate'"), "0");
}
