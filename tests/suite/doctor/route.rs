//! Planted faults on the way to the database, and on GitHub.

use super::{Expected, doctor, fault, findings, finds, finds_all, in_state, text, warning};
use crate::{
    action::Action,
    lab::{
        Lab,
        github::{Answer, Github, WriteAccess},
        sshd::{Sshd, SshdOptions},
        stranger::FakeServer,
    },
};
use serde_json::{Value, json};

#[test]
fn a_hop_that_does_not_let_us_in_is_found() {
    let lab = Lab::new();
    let stopped = Sshd::plain();
    stopped.stop();
    let at = |port: u16| doctor(&lab).input("ssh-port", port.to_string());
    finds(
        "stopped",
        at(stopped.port),
        fault("bastion-refused", 3, "hop 127.0.0.1:", "refuses the connection", "ssh-port"),
    );
    finds(
        "unknown",
        doctor(&lab).input("ssh-host", "nowhere.invalid"),
        fault("bastion-unknown", 3, "hop nowhere.invalid:", "can't be resolved", "spelling"),
    );
    let web = FakeServer::web();
    finds("web", at(web.port), fault("bastion-not-ssh", 3, "hop", "does not speak SSH", "sshd's port"));
    let silent = FakeServer::silent();
    finds("silent", at(silent.port), fault("bastion-timeout", 3, "hop", "", "firewall"));
}

#[test]
fn a_host_key_that_is_not_the_pinned_one_is_found() {
    let (lab, other) = (Lab::new(), Sshd::plain());
    let (line, foreign) = (lab.bastion.known_hosts_line(), other.host_key("ed25519"));
    let name = line.split_once(' ').expect("a line of known_hosts").0;
    let pinned = |lines: String| doctor(&lab).input("ssh-known-hosts", lines);
    finds(
        "other",
        pinned(format!("{name} {foreign}")),
        fault("host-key-mismatch", 3, "host key 127.0.0.1:", "but pinned is", "find out why"),
    );
    finds(
        "revoked",
        pinned(format!("@revoked {line}")),
        fault("host-key-revoked", 3, "host key", "marks as revoked", "do not connect"),
    );
    finds(
        "authority",
        pinned(format!("@cert-authority {line}")),
        fault("host-key-authority", 3, "host key", "@cert-authority", "or pin the host's own key"),
    );
    finds(
        "unpinned",
        doctor(&lab).input("ssh-known-hosts", ""),
        fault("host-key-unpinned", 3, "host key", "no key is pinned", "compare the fingerprint"),
    );
    let unpinned = doctor(&lab).input("ssh-known-hosts", "").run();
    unpinned.fails("host-key-unpinned", 3).logs(&line).summary("Pin the host key to continue").done();
}

#[test]
fn a_log_in_that_is_refused_is_found_with_the_methods_that_the_server_offers() {
    let (lab, other) = (Lab::new(), Sshd::plain());
    finds(
        "key",
        doctor(&lab).secret("ssh-private-key", other.key().expose()),
        fault("bastion-login", 3, "log-in 127.0.0.1:", "the server offers: publickey", "authorized_keys"),
    );
    finds(
        "user",
        doctor(&lab).input("ssh-user", "nobody-here"),
        fault("bastion-login", 3, "log-in", "refused user `nobody-here`", "check `ssh-user`"),
    );
}

#[test]
fn forwarding_that_is_forbidden_is_found() {
    for (planted, options) in [
        ("restrict", SshdOptions { key_options: "restrict".to_owned(), ..SshdOptions::default() }),
        ("AllowTcpForwarding", SshdOptions { config: "AllowTcpForwarding no".to_owned(), ..SshdOptions::default() }),
        ("PermitOpen", SshdOptions { config: "PermitOpen localhost:1".to_owned(), ..SshdOptions::default() }),
    ] {
        let lab = Lab::new().behind(Sshd::start(&options));
        let expected = fault("forwarding-forbidden", 3, "forwarding localhost:", "does not forward", "PermitOpen");
        finds(planted, doctor(&lab), expected);
    }
}

#[test]
fn a_dead_second_hop_leaves_everything_behind_it_unchecked_and_the_rest_checked() {
    let (lab, gate) = (Lab::new(), Sshd::plain());
    gate.authorize(&lab.bastion);
    let jump = |port: u16| {
        let pins = format!("{}\n{}", gate.known_hosts_line(), lab.bastion.known_hosts_line());
        let jump = format!("{}@127.0.0.1:{}", gate.user(), gate.port);
        doctor(&lab).input("ssh-jump", jump).input("ssh-known-hosts", pins).input("ssh-port", port.to_string())
    };
    let whole = jump(lab.bastion.port).run();
    assert_eq!(in_state(&findings(&whole), "good").iter().filter(|subject| subject.starts_with("hop ")).count(), 2);
    whole.succeeds().done();

    let dead = jump(9).run();
    let found = findings(&dead);
    assert_eq!(in_state(&found, "failed"), ["hop 127.0.0.1:9"]);
    assert_eq!(in_state(&found, "not-checked"), ["plan", "session"]);
    let good = in_state(&found, "good");
    let first = format!("hop 127.0.0.1:{}", gate.port);
    assert!(good.contains(&"files") && good.contains(&"event") && good.contains(&first.as_str()), "{found:#?}");
    dead.fails("bastion-refused", 3).done();
}

#[test]
fn a_login_that_runs_no_commands_is_no_fault_for_files() {
    let options = SshdOptions { config: "ForceCommand /usr/sbin/nologin".to_owned(), ..SshdOptions::default() };
    let lab = Lab::new().behind(Sshd::start(&options));
    let clock = format!("clock 127.0.0.1:{}", lab.bastion.port);
    super::is_healthy(doctor(&lab), &[clock.as_str()]);
}

/// Returns the step in a run that this event started, with a comment for every command.
fn on_event<'a>(step: Action<'a>, url: &str, payload: &Value) -> Action<'a> {
    let step = step.input("comment", "always").file("event.json", payload.to_string());
    let event = step.workspace().join("event.json").display().to_string();
    step.env("GITHUB_EVENT_PATH", event).env("GITHUB_EVENT_NAME", "pull_request").env("GITHUB_API_URL", url)
}

#[test]
fn a_token_that_can_not_comment_is_found_and_no_comment_is_written() {
    let (lab, github) = (Lab::new(), Github::start(WriteAccess::Allowed));
    let own = json!({ "pull_request": { "number": 3 } });
    let healthy = on_event(doctor(&lab), &github.url(), &own).run();
    let found = findings(&healthy);
    let token = found.iter().find(|finding| text(finding, "subject") == "token").expect("a row");
    assert!(text(token, "detail").starts_with("it reads the pull request 3"), "{token}");
    healthy.succeeds().done();
    assert_eq!((github.comments(), github.lines()), (Vec::new(), vec!["POST /graphql".to_owned()]));

    github.answer("/graphql", [Answer::message(401, "Bad credentials")]);
    let rejected = warning("token", "401 Bad credentials", "check `github-token`");
    finds("rejected", on_event(doctor(&lab), &github.url(), &own), Expected { code: "comment-unwritten", ..rejected });
    let unreachable = warning("token", "can't be reached", "check the network");
    finds(
        "away",
        on_event(doctor(&lab), "http://127.0.0.1:9", &own),
        Expected { code: "comment-unwritten", ..unreachable },
    );
    let fork = json!({ "pull_request": {
        "number": 3, "base": { "repo": { "full_name": "octo/app" } }, "head": { "repo": { "full_name": "eve/app" } },
    } });
    finds_all(
        "fork",
        on_event(doctor(&lab), &github.url(), &fork),
        &[
            warning("event", "from a fork", "workflow_dispatch"),
            warning("token", "the token of a pull request from a fork is read-only", "comment: never"),
        ],
    );
}
