//! Connections to the bastion and through it, against a real sshd.

use crate::lab::sshd::{Sshd, SshdOptions, fingerprint, hashed, keygen};
use bastion_migrate::{
    fault::{Code, Fault},
    run::{
        BastionFacts,
        event::{Event, Events},
    },
    secret::Secret,
    ssh::{ChannelStream, Route, Tunnel, check_private_key},
    way::WayIn,
};
use std::{
    fs, io,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
    time::{sleep, timeout},
};

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

async fn connect(route: &Route) -> Result<(Tunnel, BastionFacts), Fault> {
    let (events, _receiver) = Events::channel();
    Tunnel::connect(route, &WayIn::Direct, &events).await
}

async fn refusal(route: &Route) -> Fault {
    match connect(route).await {
        Ok((_, facts)) => panic!("the login was accepted: {facts:?}"),
        Err(fault) => fault,
    }
}

/// Starts a server that sends everything back until the client closes.
pub(crate) async fn echo() -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let (mut read, mut write) = stream.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
                drop(write.shutdown().await);
            });
        }
    });
    (port, tasks)
}

/// Starts a server that sends this to every client and closes the connection after a time.
async fn greeter(greeting: &'static str, delay: Duration) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move {
                drop(stream.write_all(greeting.as_bytes()).await);
                drop(timeout(delay, io_until_closed(&mut stream)).await);
            });
        }
    });
    (port, tasks)
}

async fn io_until_closed(stream: &mut tokio::net::TcpStream) -> io::Result<()> {
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes).await? > 0 {}
    Ok(())
}

async fn round_trip(mut stream: ChannelStream, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.unwrap();
    back
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn carries_bytes_to_where_the_bastion_can_connect() {
    run(async {
        let sshd = Sshd::plain();
        let (port, _echo) = echo().await;
        let (tunnel, facts) = connect(&sshd.route()).await.unwrap();
        assert_eq!((facts.login.as_str(), facts.user.as_str(), facts.port), ("key", "root", sshd.port));
        assert_eq!(facts.host_key, format!("ssh-ed25519 {}", fingerprint(&sshd.host_key("ed25519"))));
        let stream = tunnel.open_stream("127.0.0.1", port).await.unwrap();
        assert_eq!(round_trip(stream, b"hello").await, b"hello");
        assert_eq!(tunnel.loss_fault(), None);
        tunnel.close().await.unwrap();
    });
}

#[test]
fn logs_in_with_every_form_of_key() {
    run(async {
        for (form, arguments) in [
            ("ed25519", ["-t", "ed25519", "-N", ""].as_slice()),
            ("ecdsa", &["-t", "ecdsa", "-b", "384", "-N", ""]),
            ("rsa", &["-t", "rsa", "-b", "2048", "-N", ""]),
            ("rsa pem", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""]),
            ("rsa pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", ""]),
            ("ecdsa pem", &["-t", "ecdsa", "-m", "PEM", "-N", ""]),
            ("ed25519 encrypted", &["-t", "ed25519", "-N", "open sesame"]),
            ("rsa encrypted", &["-t", "rsa", "-b", "2048", "-N", "open sesame"]),
            ("rsa pem encrypted", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "open sesame"]),
            ("ecdsa pkcs8 encrypted", &["-t", "ecdsa", "-m", "PKCS8", "-N", "open sesame"]),
        ] {
            let sshd = Sshd::start(&SshdOptions { user_key: arguments.to_vec(), ..SshdOptions::default() });
            let mut route = sshd.route();
            if form.ends_with("encrypted") {
                assert_eq!(check_private_key(&sshd.key(), None).unwrap_err().code, Code::KeyPassphrase, "{form}");
                let wrong = Secret::new("wrong");
                assert_eq!(
                    check_private_key(&sshd.key(), Some(&wrong)).unwrap_err().code,
                    Code::KeyPassphrase,
                    "{form}"
                );
                route.login.passphrase = Some(Secret::new("open sesame"));
            }
            check_private_key(&sshd.key(), route.login.passphrase.as_ref())
                .unwrap_or_else(|fault| panic!("{form}: {fault:?}"));
            let (tunnel, facts) = connect(&route).await.unwrap_or_else(|fault| panic!("{form}: {fault:?}"));
            assert_eq!(facts.login, "key", "{form}");
            tunnel.close().await.unwrap();
        }
    });
}

#[test]
fn repairs_line_ends_and_indentation_of_a_key() {
    run(async {
        let sshd = Sshd::plain();
        let mut route = sshd.route();
        let text = sshd.key().expose().replace('\n', "\r\n");
        route.login.key = Some(Secret::new(format!("\n  {}", text.trim_end())));
        check_private_key(route.login.key.as_ref().unwrap(), None).unwrap();
        connect(&route).await.unwrap().0.close().await.unwrap();
    });
}

#[test]
fn rejects_an_unreadable_key_before_connecting() {
    let dir = tempfile::tempdir().unwrap();
    for (name, arguments) in [("new", ["-t", "ed25519"].as_slice()), ("pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"])]
    {
        let path = dir.path().join(name);
        keygen(&path, &[arguments, &["-N", ""]].concat());
        let key = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = key.lines().collect();
        let cut = lines[..lines.len() / 2].join("\n");
        let hole = [&lines[..2], &lines[3..]].concat().join("\n");
        let public = fs::read_to_string(path.with_extension("pub")).unwrap();
        let headless = lines[1..].join("\n");
        for (what, text) in [("cut", cut), ("hole", hole), ("public", public), ("headless", headless)] {
            let fault = check_private_key(&Secret::new(text), None).unwrap_err();
            assert_eq!(fault.code, Code::KeyInvalid, "{name} {what}: {fault:?}");
        }
    }
}

#[test]
fn reports_a_rejected_login_with_the_methods_tried() {
    run(async {
        let (sshd, other) = (Sshd::plain(), Sshd::plain());
        let mut route = sshd.route();
        route.login.key = Some(other.key());
        route.login.password = Some(Secret::new("wrong-pass"));
        let fault = refusal(&route).await;
        assert_eq!(fault.code, Code::BastionLogin);
        for part in ["user `root`", "tried: key;", "offers: publickey"] {
            assert!(fault.cause.contains(part), "{part}: {}", fault.cause);
        }
        assert!(!format!("{fault:?}").contains("wrong-pass"));
        let connections = sshd.log().matches("Connection from").count();
        assert_eq!(connections, 1, "a rejected login is not retried");
    });
}

#[test]
fn logs_in_with_a_password() {
    run(async {
        for (config, method) in [
            ("PasswordAuthentication yes", "password"),
            ("UsePAM yes\nKbdInteractiveAuthentication yes", "keyboard-interactive"),
        ] {
            let sshd = Sshd::start(&SshdOptions {
                config: config.to_owned(),
                password: Some("Corr3ct horse"),
                ..SshdOptions::default()
            });
            let mut route = sshd.route();
            route.login.key = None;
            route.login.password = Some(Secret::new("Corr3ct horse"));
            let (tunnel, facts) = connect(&route).await.unwrap_or_else(|fault| panic!("{fault:?} {}", sshd.log()));
            assert_eq!(facts.login, method);
            tunnel.close().await.unwrap();
            route.login.password = Some(Secret::new("wrong"));
            assert_eq!(refusal(&route).await.code, Code::BastionLogin);
        }
    });
}

#[test]
fn checks_every_form_of_known_hosts() {
    run(async {
        let sshd = Sshd::start(&SshdOptions { host_keys: vec!["ed25519", "ecdsa", "rsa"], ..SshdOptions::default() });
        let other = Sshd::plain().host_key("ed25519");
        let (port, key) = (sshd.port, sshd.host_key("ed25519"));
        let line = sshd.known_hosts_line();
        let rsa = sshd.host_key("rsa");
        for (text, verdict) in [
            (line.clone(), None),
            (hashed(&format!("{line}\n")), None),
            (format!("[127.0.0.*]:{port} {key}"), None),
            (format!("127.0.0.1 {key}"), None),
            (format!("nonsense\n{line}"), None),
            (format!("[127.0.0.1]:{port} {other}\n{line}"), None),
            (format!("[127.0.0.1]:{port} {rsa}"), None),
            (format!("[127.0.0.1]:{port} {}", sshd.host_key("ecdsa")), None),
            (format!("[127.0.0.?]:{port},![127.0.0.1]:{port} {key}"), Some(Code::HostKeyUnpinned)),
            (format!("[127.0.0.1]:{port} {other}"), Some(Code::HostKeyMismatch)),
            (format!("{line}\n@revoked * {key}"), Some(Code::HostKeyRevoked)),
            (format!("@cert-authority * {key}"), Some(Code::HostKeyAuthority)),
            ("nonsense".to_owned(), Some(Code::PinInvalid)),
            (String::new(), Some(Code::HostKeyUnpinned)),
        ] {
            let route = Route { known_hosts: Some(text.clone()), ..sshd.route() };
            match (connect(&route).await, verdict) {
                (Ok((tunnel, _)), None) => tunnel.close().await.unwrap(),
                (Err(fault), Some(code)) => assert_eq!(fault.code, code, "{text}"),
                (Ok(_), Some(code)) => panic!("accepted in spite of {code}: {text}"),
                (Err(fault), None) => panic!("{fault:?}: {text}"),
            }
        }
    });
}

#[test]
fn reports_a_key_of_another_type_as_unpinned() {
    run(async {
        let sshd = Sshd::start(&SshdOptions { host_keys: vec!["ecdsa"], ..SshdOptions::default() });
        let known_hosts = format!("[127.0.0.1]:{} {}", sshd.port, Sshd::plain().host_key("ed25519"));
        let fault = refusal(&Route { known_hosts: Some(known_hosts), ..sshd.route() }).await;
        assert_eq!(fault.code, Code::HostKeyUnpinned);
        assert!(fault.cause.contains("ssh-ed25519") && fault.cause.contains("ecdsa"), "{}", fault.cause);
    });
}

#[test]
fn prints_a_known_hosts_line_that_works() {
    run(async {
        let sshd = Sshd::plain();
        let fault = refusal(&Route { known_hosts: None, ..sshd.route() }).await;
        assert_eq!(fault.code, Code::HostKeyUnpinned);
        assert!(fault.cause.contains(&fingerprint(&sshd.host_key("ed25519"))), "{}", fault.cause);
        let known_hosts = Some(fault.detail[0].clone());
        connect(&Route { known_hosts, ..sshd.route() }).await.unwrap().0.close().await.unwrap();
    });
}

#[test]
fn accepts_a_fingerprint_instead_of_known_hosts() {
    run(async {
        let sshd = Sshd::plain();
        let print = fingerprint(&sshd.host_key("ed25519"));
        let by =
            |fingerprint: &str| Route { known_hosts: None, fingerprint: Some(fingerprint.to_owned()), ..sshd.route() };
        connect(&by(&print)).await.unwrap().0.close().await.unwrap();
        let other = fingerprint(&Sshd::plain().host_key("ed25519"));
        assert_eq!(refusal(&by(&other)).await.code, Code::HostKeyMismatch);
    });
}

#[test]
fn distinguishes_the_ways_of_not_reaching_a_bastion() {
    run(async {
        let sshd = Sshd::plain();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let (silent, _a) = greeter("", Duration::from_secs(60)).await;
        let (hangs_up, _b) = greeter("", Duration::ZERO).await;
        let (http, _c) = greeter("HTTP/1.1 400 Bad Request\r\n\r\n", Duration::ZERO).await;
        let (smtp, _d) = greeter("220 mail.example ESMTP\r\n", Duration::from_secs(60)).await;
        for (port, code, tries) in [
            (closed, Code::BastionRefused, 3),
            (silent, Code::BastionTimeout, 3),
            (hangs_up, Code::BastionNotSsh, 3),
            (http, Code::BastionNotSsh, 1),
            (smtp, Code::BastionNotSsh, 1),
        ] {
            let mut route = Route { connect_timeout: Duration::from_millis(500), ..sshd.route() };
            route.hops[0].port = port;
            let (events, mut receiver) = Events::channel();
            let fault = Tunnel::connect(&route, &WayIn::Direct, &events).await.unwrap_err();
            assert_eq!(fault.code, code, "{}", fault.cause);
            assert!(fault.cause.contains(&format!("`127.0.0.1:{port}`")), "{}", fault.cause);
            drop(events);
            let mut waits = 0;
            while let Some(event) = receiver.recv().await {
                waits += usize::from(matches!(event, Event::Waiting { .. }));
            }
            assert_eq!(waits + 1, tries, "{code}");
        }
        let mut route = sshd.route();
        route.hops[0].host = "bastion.invalid".to_owned();
        assert_eq!(refusal(&route).await.code, Code::BastionUnknown);
    });
}

#[test]
fn connects_when_the_bastion_comes_up_late() {
    run(async {
        let sshd = Sshd::plain();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut route = sshd.route();
        route.hops[0].port = listener.local_addr().unwrap().port();
        route.known_hosts = Some(format!("127.0.0.1 {}", sshd.host_key("ed25519")));
        let mut proxy = JoinSet::new();
        let port = sshd.port;
        proxy.spawn(async move {
            drop(listener.accept().await);
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
        });
        connect(&route).await.unwrap().0.close().await.unwrap();
    });
}

#[test]
fn distinguishes_the_ways_of_not_reaching_a_database() {
    run(async {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let sshd = Sshd::plain();
        let (tunnel, _) = connect(&sshd.route()).await.unwrap();
        for (host, code) in [
            ("127.0.0.1", Code::DatabaseRefused),
            ("localhost", Code::DatabaseRefused),
            ("db.invalid", Code::DatabaseUnknown),
        ] {
            let fault = tunnel.open_stream(host, closed).await.unwrap_err();
            assert_eq!(fault.code, code, "{host}: {}", fault.cause);
        }
        tunnel.close().await.unwrap();
        for (config, key_options) in [("AllowTcpForwarding no", ""), ("PermitOpen 127.0.0.1:1", ""), ("", "restrict")] {
            let (config, key_options) = (config.to_owned(), key_options.to_owned());
            let sshd = Sshd::start(&SshdOptions { config, key_options, ..SshdOptions::default() });
            let (tunnel, _) = connect(&sshd.route()).await.unwrap();
            let fault = tunnel.open_stream("127.0.0.1", closed).await.unwrap_err();
            assert_eq!(fault.code, Code::ForwardingForbidden, "{}", fault.cause);
            tunnel.close().await.unwrap();
        }
    });
}

#[test]
fn stops_waiting_for_a_database_that_does_not_answer() {
    run(async {
        let sshd = Sshd::plain();
        // The queue of the listener is full: the kernel leaves further connections pending.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(300), tokio::net::TcpStream::connect(address)).await {
            queued.push(stream);
        }
        let route = Route { connect_timeout: Duration::from_secs(1), ..sshd.route() };
        let (tunnel, _) = connect(&route).await.unwrap();
        let start = Instant::now();
        let fault = tunnel.open_stream("127.0.0.1", address.port()).await.unwrap_err();
        assert_eq!(fault.code, Code::DatabaseTimeout);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        let start = Instant::now();
        tunnel.close().await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    });
}

#[test]
fn reports_a_refused_channel_as_ambiguous_if_the_bastion_runs_no_commands() {
    run(async {
        let options = SshdOptions { config: "ForceCommand /bin/false".to_owned(), ..SshdOptions::default() };
        let sshd = Sshd::start(&options);
        let (tunnel, _) = connect(&sshd.route()).await.unwrap();
        let fault = tunnel.open_stream("db.invalid", 5432).await.unwrap_err();
        assert_eq!(fault.code, Code::DatabaseRefused);
        assert!(fault.cause.contains("the name is unknown there"), "{}", fault.cause);
        tunnel.close().await.unwrap();
    });
}

#[test]
fn returns_each_of_many_channel_opens_its_own_result() {
    run(async {
        let sshd = Sshd::plain();
        let (port, _echo) = echo().await;
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let (tunnel, _) = connect(&sshd.route()).await.unwrap();
        let opens = (0..8).map(|number| tunnel.open_stream("127.0.0.1", if number % 2 == 0 { port } else { closed }));
        for (number, opened) in futures_util::future::join_all(opens).await.into_iter().enumerate() {
            match opened {
                Ok(stream) => {
                    assert_eq!(number % 2, 0);
                    assert_eq!(round_trip(stream, &[7; 1000]).await, [7; 1000]);
                }
                Err(fault) => assert_eq!((number % 2, fault.code), (1, Code::DatabaseRefused)),
            }
        }
        tunnel.close().await.unwrap();
    });
}

fn pattern(seed: usize) -> Vec<u8> {
    (0..8 << 20)
        .map(|index: usize| u8::try_from((index.wrapping_mul(31) ^ (index >> 9) ^ seed) & 0xff).unwrap())
        .collect()
}

async fn exchange(stream: ChannelStream, seed: usize) {
    let (mut read, mut write) = tokio::io::split(stream);
    let sent = pattern(seed);
    let sending = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let receiving = async {
        let mut back = Vec::new();
        read.read_to_end(&mut back).await.unwrap();
        back
    };
    let ((), back) = tokio::join!(sending, receiving);
    assert!(back == sent, "stream {seed}: {} of {} bytes", back.len(), sent.len());
}

#[test]
fn carries_eight_streams_both_ways_intact() {
    run(async {
        let sshd = Sshd::plain();
        let (port, _echo) = echo().await;
        let (tunnel, _) = connect(&sshd.route()).await.unwrap();
        let streams = futures_util::future::join_all((0..8).map(|_| tunnel.open_stream("127.0.0.1", port))).await;
        let start = Instant::now();
        let all = streams.into_iter().enumerate().map(|(seed, stream)| exchange(stream.unwrap(), seed));
        timeout(Duration::from_secs(60), futures_util::future::join_all(all)).await.expect("no stall");
        eprintln!("8 × 8 MB both ways: {:?}", start.elapsed());
        tunnel.close().await.unwrap();
    });
}

#[test]
fn keeps_streams_going_through_key_exchanges() {
    run(async {
        let options = SshdOptions { config: "RekeyLimit 1M".to_owned(), ..SshdOptions::default() };
        let sshd = Sshd::start(&options);
        let (port, _echo) = echo().await;
        let (tunnel, _) = connect(&sshd.route()).await.unwrap();
        let streams = futures_util::future::join_all((0..3).map(|_| tunnel.open_stream("127.0.0.1", port))).await;
        let all = streams.into_iter().enumerate().map(|(seed, stream)| exchange(stream.unwrap(), seed));
        timeout(Duration::from_secs(60), futures_util::future::join_all(all)).await.expect("no stall");
        assert_eq!(tunnel.loss_fault(), None);
        tunnel.close().await.unwrap();
    });
}

#[test]
fn closes_a_channel_whose_stream_is_dropped_and_no_other() {
    run(async {
        let sshd = Sshd::plain();
        let (port, _echo) = echo().await;
        let (tunnel, _) = connect(&sshd.route()).await.unwrap();
        let kept = tunnel.open_stream("127.0.0.1", port).await.unwrap();
        for _ in 0..20 {
            let mut dropped = tunnel.open_stream("127.0.0.1", port).await.unwrap();
            dropped.write_all(&[1; 100_000]).await.unwrap();
        }
        assert_eq!(round_trip(kept, b"still here").await, b"still here");
        assert_eq!(tunnel.loss_fault(), None);
        tunnel.close().await.unwrap();
    });
}

#[test]
fn a_stream_that_is_not_read_does_not_block_others() {
    run(async {
        let sshd = Sshd::plain();
        let (port, _echo) = echo().await;
        let (tunnel, _) = connect(&sshd.route()).await.unwrap();
        let mut lazy = tunnel.open_stream("127.0.0.1", port).await.unwrap();
        let flood = vec![1; 64 << 20];
        assert!(timeout(Duration::from_secs(2), lazy.write_all(&flood)).await.is_err(), "back-pressure");
        let other = tunnel.open_stream("127.0.0.1", port).await.unwrap();
        timeout(Duration::from_secs(20), exchange(other, 3)).await.expect("no stall");
        tunnel.close().await.unwrap();
    });
}

#[test]
fn a_closed_stream_that_is_not_read_does_not_block_others() {
    run(async {
        let sshd = Sshd::plain();
        let (port, _echo) = echo().await;
        let flood: &str = Box::leak("x".repeat(1 << 20).into_boxed_str());
        let (flooding, _greeter) = greeter(flood, Duration::ZERO).await;
        let (tunnel, _) = connect(&sshd.route()).await.unwrap();
        let mut lazy = tunnel.open_stream("127.0.0.1", flooding).await.unwrap();
        let other = tunnel.open_stream("127.0.0.1", port).await.unwrap();
        timeout(Duration::from_secs(20), exchange(other, 3)).await.expect("no stall");
        let start = ticks();
        sleep(Duration::from_secs(1)).await;
        assert!(ticks() - start <= 1, "the tunnel uses CPU while it waits");
        let mut received = Vec::new();
        lazy.read_to_end(&mut received).await.unwrap();
        assert_eq!(received.len(), flood.len());
        tunnel.close().await.unwrap();
    });
}

#[test]
fn goes_through_a_jump_host() {
    run(async {
        let (jump, last) = (Sshd::plain(), Sshd::plain());
        let (port, _echo) = echo().await;
        let mut route = jump.route();
        route.hops.push(last.hop());
        route.known_hosts = Some(format!("{}\n{}\n", jump.known_hosts_line(), last.known_hosts_line()));
        // All hops share one login: the second server authorizes the first one's key.
        last.authorize(&jump);
        let (tunnel, facts) = connect(&route).await.unwrap_or_else(|fault| panic!("{fault:?}"));
        assert_eq!(facts.port, last.port);
        let stream = tunnel.open_stream("127.0.0.1", port).await.unwrap();
        timeout(Duration::from_secs(30), exchange(stream, 1)).await.expect("no stall");
        let held = tunnel.open_stream("127.0.0.1", port).await.unwrap();
        jump.kill_sessions();
        let fault = timeout(Duration::from_secs(2), tunnel.wait_for_loss()).await.expect("noticed");
        assert_eq!(fault.code, Code::BastionLost);
        assert!(fault.cause.contains(&format!("`127.0.0.1:{}`", jump.port)), "{}", fault.cause);
        drop(held);
        tunnel.close().await.unwrap();

        route.hops[1].port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let fault = refusal(&route).await;
        assert_eq!((fault.code, fault.stage), (Code::BastionRefused, Code::BastionRefused.stage()));
        assert!(fault.cause.contains(&format!("jump host `127.0.0.1:{}`", jump.port)), "{}", fault.cause);
    });
}

#[test]
fn closes_although_the_last_hop_is_frozen() {
    run(async {
        let (jump, last) = (Sshd::plain(), Sshd::plain());
        let mut route = jump.route();
        route.hops.push(last.hop());
        route.known_hosts = Some(format!("{}\n{}\n", jump.known_hosts_line(), last.known_hosts_line()));
        last.authorize(&jump);
        let (port, _echo) = echo().await;
        let before = tasks();
        let (tunnel, _) = connect(&route).await.unwrap_or_else(|fault| panic!("{fault:?}"));
        assert_eq!(round_trip(tunnel.open_stream("127.0.0.1", port).await.unwrap(), b"there").await, b"there");
        last.freeze_sessions();
        tunnel.close().await.unwrap();
        eventually("no task is left", || tasks() == before && jump.sessions().is_empty()).await;
    });
}

#[test]
fn notices_at_once_when_sshd_dies() {
    run(async {
        for opened in [true, false] {
            let sshd = Sshd::plain();
            let (port, _echo) = echo().await;
            let (tunnel, _) = connect(&sshd.route()).await.unwrap();
            let stream = if opened { Some(tunnel.open_stream("127.0.0.1", port).await.unwrap()) } else { None };
            sshd.kill_sessions();
            let (one, two) =
                timeout(Duration::from_secs(1), async { tokio::join!(tunnel.wait_for_loss(), tunnel.wait_for_loss()) })
                    .await
                    .expect("at once");
            assert_eq!((one.code, &one), (Code::BastionLost, &two));
            assert!(one.cause.contains("closed") || one.cause.contains("reset"), "{}", one.cause);
            assert_eq!(tunnel.loss_fault(), Some(one.clone()));
            assert_eq!(tunnel.open_stream("127.0.0.1", port).await.unwrap_err(), one);
            drop(stream);
            tunnel.close().await.unwrap();
        }
    });
}

#[test]
fn notices_a_frozen_sshd_within_three_keepalives() {
    run(async {
        let sshd = Sshd::plain();
        let (port, _echo) = echo().await;
        let route = Route { keepalive: Duration::from_secs(1), ..sshd.route() };
        let (tunnel, _) = connect(&route).await.unwrap();
        let _held = tunnel.open_stream("127.0.0.1", port).await.unwrap();
        assert!(
            timeout(Duration::from_secs(4), tunnel.wait_for_loss()).await.is_err(),
            "an idle connection is not lost"
        );
        sshd.freeze_sessions();
        let fault = timeout(Duration::from_millis(4200), tunnel.wait_for_loss()).await.expect("noticed");
        assert_eq!(fault.code, Code::BastionLost);
        assert!(fault.cause.contains("no answer for 3 s"), "{}", fault.cause);
        tunnel.close().await.unwrap();
    });
}

/// Returns the CPU time of this thread, which also runs the connection's driver, in ticks of 10 ms.
fn ticks() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[test]
fn uses_no_cpu_when_idle_and_leaves_nothing_behind() {
    run(async {
        let sshd = Sshd::plain();
        let (port, _echo) = echo().await;
        let before = tasks();
        let (tunnel, _) = connect(&sshd.route()).await.unwrap();
        let mut stream = tunnel.open_stream("127.0.0.1", port).await.unwrap();
        let mut half_closed = tunnel.open_stream("127.0.0.1", port).await.unwrap();
        half_closed.shutdown().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
        let start = ticks();
        sleep(Duration::from_secs(3)).await;
        let idle = ticks() - start;
        assert!(idle <= 1, "{idle} ticks of CPU while idle");
        let start = Instant::now();
        tunnel.close().await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        eventually("sshd's child ends", || sshd.sessions().is_empty()).await;
        eventually("close waits for the task", || tasks() == before).await;

        let (tunnel, _) = connect(&sshd.route()).await.unwrap();
        assert_eq!(tasks(), before + 1);
        drop(tunnel);
        eventually("a dropped tunnel ends too", || tasks() == before && sshd.sessions().is_empty()).await;
    });
}

#[test]
fn an_abandoned_attempt_ends_by_its_timeout() {
    run(async {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut route = Route { connect_timeout: Duration::from_secs(1), ..Sshd::plain().route() };
        route.hops[0].port = silent.local_addr().unwrap().port();
        assert!(timeout(Duration::from_millis(100), connect(&route)).await.is_err());
        let (mut client, _) = silent.accept().await.unwrap();
        timeout(Duration::from_secs(5), io_until_closed(&mut client)).await.expect("the client closes").unwrap();
    });
}

#[test]
fn sends_written_bytes_before_it_closes() {
    run(async {
        let sshd = Sshd::plain();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tunnel, _) = connect(&sshd.route()).await.unwrap();
        let mut stream = tunnel.open_stream("127.0.0.1", port).await.unwrap();
        let (mut served, _) = listener.accept().await.unwrap();
        stream.write_all(b"goodbye").await.unwrap();
        drop(stream);
        tunnel.close().await.unwrap();
        let mut received = String::new();
        served.read_to_string(&mut received).await.unwrap();
        assert_eq!(received, "goodbye");
    });
}
