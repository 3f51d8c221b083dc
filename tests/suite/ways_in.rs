//! Ways in: a tunnel that an earlier step opened, commands whose standard input and output is the stream, and proxies, for
//! every executor that runs without a container. `tests/container/ways_in.rs` has the facts of containers.

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        http_proxy::HttpProxy,
        poll,
        postgres::{Options, Postgres, ROLE, Tls},
        process::free_port,
        server::Server,
        sshd::Sshd,
        ways::{PROXY_PASSWORD, WayServer},
    },
};
use rustix::process::Signal;
use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};
use tempfile::TempDir;

const USERS: &str = "create table users (id int);\n";

/// The database's own name, which nothing on this machine resolves.
const DATABASE_NAME: &str = "db.private.internal";

/// The bastion's own name, which nothing on this machine resolves.
const BASTION_NAME: &str = "bastion.private.internal";

/// A lab whose database has a certificate for [`DATABASE_NAME`].
fn private_lab() -> Lab {
    Lab::on(&Postgres::start(&Options { tls: Tls::Named(DATABASE_NAME), ..Options::default() }))
}

/// A step without a bastion that knows the database by its own name, and verifies it.
fn private(lab: &Lab) -> Action<'_> {
    Action::direct(lab)
        .secret("database-url", lab.database.url_at(DATABASE_NAME, 5432))
        .input("database-sslmode", "verify-full")
        .input("database-ca", lab.database.server().ca())
        .file("migrations/0001_users.sql", USERS)
}

/// A step behind a bastion that has a name nobody here resolves, at sshd's usual port.
fn behind_named_bastion(lab: &Lab) -> Action<'_> {
    named(Action::new(lab).file("migrations/0001_users.sql", USERS), &lab.bastion)
}

fn named<'a>(step: Action<'a>, bastion: &Sshd) -> Action<'a> {
    step.input("ssh-host", BASTION_NAME)
        .input("ssh-port", "")
        .input("ssh-known-hosts", format!("{BASTION_NAME} {}", bastion.host_key("ed25519")))
}

fn applies(step: Action<'_>) -> Finished {
    step.run().succeeds().applied(["0001_users"])
}

/// Returns a command that connects to a port of this machine, whatever its target is.
fn socat(port: u16) -> String {
    format!("{{ command: [socat, STDIO, 'TCP:127.0.0.1:{port}'] }}")
}

/// Returns whether a process on this machine has this text among its arguments.
pub(crate) fn is_running(argument: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.into_iter().any(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()))
}

#[test]
fn the_tunnel_of_an_earlier_step_carries_a_database_that_keeps_its_own_name() {
    let lab = private_lab();
    let tunnel = WayServer::tunnel_to(lab.database.server().port());
    let finished = applies(private(&lab).input("via", tunnel.via()));
    finished.logs("the way in is `runner:").logs("TLS verify-full").done();
    assert_eq!(lab.database.sql("select count(*) from users"), "0");
    // Another name is still another server.
    private(&lab)
        .secret("database-url", lab.database.url_at("other.private.internal", 5432))
        .input("via", tunnel.via())
        .run()
        .fails("tls-wrong-name", 3)
        .done();
}

#[test]
fn the_tunnel_of_an_earlier_step_carries_ssh_to_the_first_hop() {
    let lab = Lab::new();
    let tunnel = WayServer::tunnel_to(lab.bastion.port);
    applies(behind_named_bastion(&lab).input("via", tunnel.via())).logs(&format!("@{BASTION_NAME}:22 by key")).done();
}

#[test]
fn only_the_first_hop_is_reached_by_the_way_in() {
    let (last, gate) = (Sshd::plain(), Sshd::plain());
    last.authorize(&gate);
    let lab = Lab::new().behind(last);
    let tunnel = WayServer::tunnel_to(gate.port);
    let pins = format!("gate.private.internal {}\n{}", gate.host_key("ed25519"), lab.bastion.known_hosts_line());
    let step = Action::new(&lab)
        .file("migrations/0001_users.sql", USERS)
        .secret("ssh-private-key", gate.key().expose())
        .input("ssh-jump", format!("{}@gate.private.internal", gate.user()))
        .input("ssh-known-hosts", pins)
        .input("via", tunnel.via());
    applies(step).done();
}

#[test]
fn a_server_is_reached_by_every_way() {
    let (lab, server) = (Lab::new(), Server::start());
    let port = server.sshd().port;
    let (tunnel, dante) = (WayServer::tunnel_to(port), WayServer::dante());
    for (name, value) in [("via", tunnel.via()), ("via", socat(port)), ("ssh-proxy", dante.url())] {
        let finished = Action::on_server(&lab, &server)
            .input("tool", "custom")
            .input("run", "echo it runs on the server")
            .input(name, value)
            .run();
        finished.succeeds().logs("it runs on the server").warning("no database is given").done();
    }
}

#[test]
fn a_tunnel_that_comes_up_late_is_waited_for() {
    let lab = private_lab();
    let port = free_port();
    let running = private(&lab).input("via", format!("runner:{port}")).start();
    running.wait_for_line(&format!("no process listens at `127.0.0.1:{port}`"), Duration::from_secs(20));
    let _tunnel = WayServer::tunnel_at(port, lab.database.server().port());
    running.finish().succeeds().applied(["0001_users"]).logs("waiting for the database").done();
}

#[test]
fn a_tunnel_that_nobody_opened_is_named_with_its_port() {
    let (lab, port) = (private_lab(), free_port());
    let step = || private(&lab).input("via", format!("runner:{port}"));
    let finished = step().input("wait-timeout", "1s").run().fails("via-refused", 3);
    finished.logs("waits until it listens").logs("waited 1 s for it").done();
    let finished = behind_named_bastion(&lab).input("via", format!("runner:{port}")).run().fails("via-refused", 3);
    finished.logs("bastion: no process listens").done();
}

/// A directory with what OpenSSH's own client needs.
fn ssh_client(bastion: &Sshd) -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("there is room");
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("key"), bastion.key().expose()).expect("there is room");
    fs::set_permissions(path("key"), fs::Permissions::from_mode(0o600)).expect("it can be changed");
    fs::write(path("known_hosts"), bastion.known_hosts_line()).expect("there is room");
    let options = format!(
        "-F, none, -i, {}, -o, UserKnownHostsFile={}, -o, BatchMode=yes, -p, '{}'",
        path("key"),
        path("known_hosts"),
        bastion.port
    );
    let via = format!("{{ command: [ssh, {options}, -W, '%h:%p', {}@127.0.0.1] }}", bastion.user());
    (directory, via)
}

#[test]
fn a_command_that_speaks_as_a_proxy_command_carries_the_database() {
    let lab = Lab::new();
    let (_directory, via) = ssh_client(&lab.bastion);
    let step = Action::direct(&lab)
        .file("migrations/0001_users.sql", USERS)
        .input("database-sslmode", "verify-full")
        .input("database-ca", lab.database.server().ca())
        .input("via", via);
    applies(step).logs("the way in is the command `ssh`").logs("TLS verify-full").done();
}

#[test]
fn a_command_carries_ssh_to_the_first_hop() {
    let lab = Lab::new();
    applies(behind_named_bastion(&lab).input("via", socat(lab.bastion.port))).done();
}

#[test]
fn many_connections_at_once_have_a_command_each() {
    let lab = private_lab();
    let names = ["acme", "beta", "gamma", "delta"];
    for name in names {
        lab.database.sql(&format!("create schema {name} authorization {ROLE}"));
    }
    let finished = private(&lab)
        .input("tenants", "{ names: [acme, beta, gamma, delta], parallel: 4 }")
        .input("via", socat(lab.database.server().port()))
        .run();
    finished.succeeds().applied(names.map(|name| format!("{name}: 0001_users")).iter().map(String::as_str)).done();
    for name in names {
        assert_eq!(lab.database.sql(&format!("select count(*) from {name}.users")), "0");
    }
}

#[test]
fn a_command_gets_its_own_environment_and_hides_what_is_passed_on() {
    let lab = private_lab();
    let port = lab.database.server().port();
    let via = format!(
        "{{ command: [sh, -c, 'env | sort >&2; echo for %h:%p >&2; exec socat STDIO TCP:127.0.0.1:{port}'], \
         env: {{ REGION: eu-central-1 }}, pass-env: [SESSION_TOKEN] }}"
    );
    let finished = applies(private(&lab).input("via", via).secret_env("SESSION_TOKEN", "IQoJb3JpZ2luX2VjEJr"));
    finished
        .logs("REGION=eu-central-1")
        .logs("SESSION_TOKEN=***")
        .logs(&format!("for {DATABASE_NAME}:5432"))
        .logs("PATH=")
        .never_logs("INPUT_")
        .never_logs("GITHUB_")
        .done();
}

#[test]
fn a_variable_with_the_prefix_of_the_environment_is_passed_on() {
    let lab = private_lab();
    let port = lab.database.server().port();
    let via = format!(
        "{{ command: [sh, -c, 'echo its length is ${{#TOKEN}} >&2; exec socat STDIO TCP:127.0.0.1:{port}'], pass-env: TOKEN }}"
    );
    let step = private(&lab).input("via", via).input("environment", "dev");
    applies(step.secret_env("DEV_TOKEN", "0123456789").secret_env("TOKEN", "another one"))
        .logs("its length is 10")
        .done();
}

#[test]
fn a_way_in_of_the_configuration_file_can_be_switched_off_for_an_environment() {
    let lab = Lab::new();
    let port = free_port();
    let config = format!(
        "defaults: {{ via: 'runner:{port}', wait-timeout: 1s }}\nenvironments: {{ dev: {{ via: off }}, prod: }}\n"
    );
    let step = |environment: &str| {
        Action::direct(&lab)
            .file("migrations/0001_users.sql", USERS)
            .file(".github/bastion-migrate.yml", &config)
            .input("environment", environment)
    };
    step("prod").run().fails("via-refused", 3).done();
    applies(step("dev")).done();
}

#[test]
fn a_command_that_ends_is_the_cause() {
    let lab = private_lab();
    let ends = "{ command: [sh, -c, 'echo no credentials for %h >&2; exit 3'] }";
    let cause = "the command `sh` of `via` ended with exit status 3 before it had connected anything";
    let finished = private(&lab).input("via", ends).run().fails("via-failed", 3);
    finished.logs(cause).logs(&format!("its last line is: no credentials for {DATABASE_NAME}")).done();
    let finished = behind_named_bastion(&lab).input("via", ends).run().fails("via-failed", 3);
    finished.logs(&format!("bastion: {cause}")).never_logs("waiting for the connection").done();
}

#[test]
fn a_command_that_is_not_there_is_not_started() {
    let lab = private_lab();
    let finished = private(&lab).input("via", "{ command: [no-such-program, '%h'] }").run();
    finished.fails("via-not-started", 3).logs("the command `no-such-program` of `via` can't be started").done();
}

#[test]
fn a_command_that_is_killed_in_use_is_the_cause_and_leaves_nothing() {
    let lab = private_lab();
    let port = lab.database.server().port();
    let argument = format!("TCP:127.0.0.1:{port}");
    let mark = format!("way-in-{port}");
    let via = format!("{{ command: [bash, -c, 'exec -a {mark} socat STDIO {argument}'] }}");
    let running = private(&lab).file("migrations/0002_slow.sql", "select pg_sleep(30);\n").input("via", via).start();
    let asleep = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    lab.database.wait_for(asleep, "1");
    kill_all(&mark);
    lab.database.terminate("bastion-migrate");
    let finished = running.finish().fails("via-failed", 3).applied(["0001_users"]).pending(["0002_slow"]);
    finished.logs("was killed by signal 9 while it was in use").done();
    assert!(!is_running(&mark));
}

/// Kills every process with this first argument, and returns when all are gone.
fn kill_all(name: &str) {
    let processes = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    for process in processes {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let pid = process.file_name().to_string_lossy().parse().ok().and_then(rustix::process::Pid::from_raw);
        if let (true, Some(pid)) = (line.starts_with(name.as_bytes()), pid) {
            // It may have ended meanwhile.
            rustix::process::kill_process(pid, Signal::KILL).unwrap_or_default();
        }
    }
}

#[test]
fn a_cancelled_run_ends_its_commands() {
    let lab = private_lab();
    let argument = format!("TCP:127.0.0.1:{}", lab.database.server().port());
    let step = private(&lab).file("migrations/0002_slow.sql", "select pg_sleep(60);\n");
    let running = step.input("via", socat(lab.database.server().port())).start();
    let asleep = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    lab.database.wait_for(asleep, "1");
    assert!(is_running(&argument));
    running.signal(Signal::INT);
    let finished = running.finish().fails("cancelled", 130).applied(["0001_users"]).pending(["0002_slow"]);
    finished.within(Duration::from_secs(7)).done();
    poll(Duration::from_secs(5), || (!is_running(&argument)).then_some(())).expect("no command is left");
}

#[test]
fn a_killed_run_leaves_no_command() {
    let lab = private_lab();
    let argument = format!("TCP:127.0.0.1:{}", lab.database.server().port());
    let step = private(&lab).file("migrations/0002_slow.sql", "select pg_sleep(60);\n");
    let running = step.input("via", socat(lab.database.server().port())).start();
    lab.database.wait_for(
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'",
        "1",
    );
    running.kill();
    poll(Duration::from_secs(10), || (!is_running(&argument)).then_some(())).expect("no command is left");
    assert_eq!(lab.left_behind(), "");
}

#[test]
fn real_proxies_carry_ssh_with_and_without_a_login() {
    let lab = Lab::new();
    let allowed = lab.bastion.port;
    let proxies = [
        WayServer::dante(),
        WayServer::dante_with_login(),
        WayServer::tinyproxy(allowed),
        WayServer::tinyproxy_with_login(allowed),
    ];
    for (number, proxy) in proxies.iter().enumerate() {
        let step = Action::new(&lab).file("migrations/0001_users.sql", USERS).input("ssh-proxy", proxy.url());
        let step = step.hides(PROXY_PASSWORD);
        let finished = if number == 0 { applies(step) } else { step.run().nothing_to_do() };
        finished.logs("the way in is the proxy `").logs(&format!("127.0.0.1:{}`", proxy.port())).done();
    }
}

#[test]
fn the_proxy_resolves_the_name_of_the_first_hop() {
    let lab = Lab::new();
    let proxy = HttpProxy::start(lab.bastion.port);
    let step = behind_named_bastion(&lab).hides("proxy-password");
    applies(step.input("ssh-proxy", proxy.url())).done();
    let request = proxy.requests().concat();
    assert!(request.starts_with(&format!("CONNECT {BASTION_NAME}:22 HTTP/1.1\r\n")), "{request}");
    assert!(request.contains("Proxy-Authorization: Basic cnVubmVyOnByb3h5LXBhc3N3b3Jk"), "{request}");
}

#[test]
fn the_proxy_of_the_environment_is_used_where_a_direct_connection_is_impossible() {
    let lab = Lab::new();
    let proxy = HttpProxy::start(lab.bastion.port);
    let finished = applies(behind_named_bastion(&lab).secret_env("HTTPS_PROXY", &proxy.url()).hides("proxy-password"));
    finished.logs(&format!("`{BASTION_NAME}:22` can't be reached directly")).logs("of `HTTPS_PROXY`").done();
    assert_eq!(proxy.requests().len(), 1);
    // A direct connection comes first.
    let direct = Action::new(&lab).file("migrations/0001_users.sql", USERS);
    let direct = direct.secret_env("HTTPS_PROXY", &proxy.url()).hides("proxy-password");
    direct.run().nothing_to_do().never_logs("HTTPS_PROXY").done();
    assert_eq!(proxy.requests().len(), 1);
    let excepted = behind_named_bastion(&lab).env("NO_PROXY", ".private.internal");
    let excepted = excepted.secret_env("HTTPS_PROXY", &proxy.url()).hides("proxy-password");
    excepted.run().fails("bastion-unknown", 3).done();
    assert_eq!(proxy.requests().len(), 1);
}

#[test]
fn the_refusals_of_proxies_are_told_apart() {
    let lab = Lab::new();
    let (dante, dante_with_login) = (WayServer::dante(), WayServer::dante_with_login());
    let tinyproxy = WayServer::tinyproxy_with_login(1);
    let nobody = free_port();
    let wrong = |url: String| url.replace("Pa55", "wrong");
    let at = |port: u16, url: String| {
        let step = Action::new(&lab).file("migrations/0001_users.sql", USERS).input("ssh-proxy", url);
        step.input("ssh-port", port.to_string()).input("connect-timeout", "5s").hides(PROXY_PASSWORD)
    };
    let bastion = lab.bastion.port;
    for (port, url, code, cause) in [
        (9, dante.url(), "proxy-target", "its rules do not allow the connection"),
        (nobody, dante.url(), "proxy-target", "the connection is refused"),
        (bastion, tinyproxy.url(), "proxy-target", "403"),
        (bastion, wrong(dante_with_login.url()), "proxy-login", "does not accept the user and the password"),
        (bastion, format!("socks5://127.0.0.1:{}", dante_with_login.port()), "proxy-login", "requires a login"),
        (bastion, wrong(tinyproxy.url()), "proxy-login", "does not let us in: 401"),
        (bastion, format!("http://127.0.0.1:{}", tinyproxy.port()), "proxy-login", "does not let us in: 407"),
        (bastion, format!("http://127.0.0.1:{bastion}"), "proxy-failed", "does not speak HTTP"),
        (bastion, format!("socks5://127.0.0.1:{bastion}"), "proxy-failed", "does not speak SOCKS 5"),
        (bastion, format!("http://127.0.0.1:{nobody}"), "proxy-failed", "refuses the connection"),
        (bastion, "http://proxy.invalid:3128".to_owned(), "proxy-failed", "has a name without an address"),
    ] {
        at(port, url).run().fails(code, 3).logs(cause).done();
    }
}

#[test]
fn a_way_that_can_have_no_effect_or_no_meaning_is_refused() {
    let lab = Lab::new();
    let direct = || Action::direct(&lab).file("migrations/0001_users.sql", USERS);
    let behind = || Action::new(&lab).file("migrations/0001_users.sql", USERS);
    let refused = |step: Action<'_>, code: &'static str, cause: &str| step.run().fails(code, 2).logs(cause).done();
    refused(direct().input("ssh-proxy", "socks5://proxy:1080"), "input-missing", "`ssh-host` has no value although");
    let both = behind().input("ssh-proxy", "socks5://proxy:1080").input("via", "runner:15432");
    refused(both, "input-invalid", "are both a way to the first SSH server");
    refused(behind().input("ssh-proxy", "proxy:1080"), "input-invalid", "has no scheme");
    refused(behind().input("ssh-proxy", "https://proxy"), "input-invalid", "over TLS, which is not supported");
    refused(direct().input("via", "localhost:15432"), "input-invalid", "`via: runner:15432`");
    refused(direct().input("via", "{ image: x }"), "input-invalid", "it has no `command`");
    refused(direct().input("via", "{ command: [ssh, '%r'] }"), "input-invalid", "`%r`, which stands for nothing");
    let unset = direct().input("via", "{ command: [ssh], pass-env: [NOT_THERE] }");
    refused(unset, "input-missing", "`pass-env` names `NOT_THERE`, which has no value");
    // A login without a scheme is a secret, too.
    let bare = behind().input("ssh-proxy", "me:hunter2secret@proxy:1080").hides("hunter2secret");
    refused(bare, "input-invalid", "has no scheme");
    let file = behind()
        .hides("hunter2secret")
        .file(".github/bastion-migrate.yml", "defaults: { ssh-proxy: 'socks5://me:hunter2secret@proxy:1080' }\n");
    refused(file, "input-invalid", "contains a login, which others can read there");
}

#[test]
fn the_doctor_shows_the_way_in_as_a_hop() {
    let lab = private_lab();
    let tunnel = WayServer::tunnel_to(lab.database.server().port());
    let examined = |via: String| private(&lab).input("command", "doctor").input("via", via).run();
    let finished = examined(tunnel.via()).succeeds();
    let report = finished.outputs["report"].clone();
    assert!(report.contains(&format!("hop runner:{}", tunnel.port())), "{report}");
    finished.done();
    let refused = examined(format!("runner:{}", free_port())).fails("via-refused", 3);
    refused.logs("no process listens at").logs("it needs the way in").done();
    let ended = examined("{ command: [sh, -c, 'exit 4'] }".to_owned()).fails("via-failed", 3);
    ended.logs("ended with exit status 4").done();
    let behind = |name: &str, value: String| {
        behind_named_bastion(&lab).input("command", "doctor").input(name, value).input("connect-timeout", "2s").run()
    };
    behind("via", format!("runner:{}", free_port())).fails("via-refused", 3).logs("hop").done();
    behind("ssh-proxy", format!("http://127.0.0.1:{}", free_port())).fails("proxy-failed", 3).done();
}
