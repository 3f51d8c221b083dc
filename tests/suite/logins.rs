//! Logins: keys in every common form, several factors, and the messages of a server that rejects a login.
#![expect(clippy::disallowed_methods, reason = "tests start key generators")]

use crate::{
    action::Action,
    lab::{
        Lab,
        server::Server,
        sshd::{Sshd, SshdOptions, keygen},
        stranger::FakeServer,
    },
    runner::Log,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bastion_migrate::{
    fault::{Code, Fault},
    run::{BastionFacts, event::Events},
    secret::Secret,
    ssh::{Route, Tunnel, check_private_key},
    way::WayIn,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tokio::io::AsyncWriteExt as _;

const PASSWORD: &str = "Corr3ct horse";
const PASSPHRASE: &str = "open sesame";

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

fn connect(route: &Route) -> Result<BastionFacts, Fault> {
    run(async {
        let (events, _receiver) = Events::channel();
        let (tunnel, facts) = Tunnel::connect(route, &WayIn::Direct, &events).await?;
        tunnel.close().await.unwrap();
        Ok(facts)
    })
}

/// Returns whether `ssh-keygen -y` reads the key.
fn ssh_keygen_reads(text: &str) -> bool {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-y", "-P", PASSPHRASE, "-f"]).arg(file.path()).stdout(Stdio::null()).stderr(Stdio::null());
    keygen.status().unwrap().success()
}

/// Returns the key in lines of this width.
fn wrapped(key: &str, width: usize) -> String {
    let lines: Vec<&str> = key.lines().collect();
    let [first, body @ .., last] = lines.as_slice() else { panic!("{} lines", lines.len()) };
    let letters: Vec<char> = body.concat().chars().collect();
    let body: Vec<String> = letters.chunks(width).map(|line| line.iter().collect()).collect();
    format!("{first}\n{}\n{last}\n", body.join("\n"))
}

/// Returns the key with padding as `puttygen` writes it: 1 to 16 bytes, where OpenSSH has fewer than 8.
fn padded_like_putty(key: &str) -> String {
    let lines: Vec<&str> = key.lines().collect();
    let [first, body @ .., last] = lines.as_slice() else { panic!("{} lines", lines.len()) };
    let bytes = STANDARD.decode(body.concat()).unwrap();
    let length = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let after = |at: usize| at + 4 + length(at);
    // Three strings, the number of keys, the public key; then the part that may be encrypted.
    let private = after(after(after(after("openssh-key-v1\0".len()))) + 4);
    let mut content = bytes[private + 4..].to_vec();
    let mut padding = *content.last().unwrap();
    while padding < 8 || content.len() % 16 != 0 {
        padding += 1;
        content.push(padding);
    }
    let size = u32::try_from(content.len()).unwrap().to_be_bytes();
    let body = STANDARD.encode([&bytes[..private], &size, &content].concat());
    wrapped(&format!("{first}\n{body}\n{last}\n"), 64)
}

fn indented(key: &str) -> String {
    key.lines().map(|line| format!("    {line}\n")).collect()
}

#[test]
fn a_key_logs_in_in_every_layout_of_its_lines() {
    for arguments in [["-t", "ed25519", "-N", ""].as_slice(), &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""]] {
        let sshd = Sshd::start(&SshdOptions { user_key: arguments.to_vec(), ..SshdOptions::default() });
        let key = sshd.key().expose().to_owned();
        for width in [1, 64, 70, 76, 4096] {
            let text = wrapped(&key, width);
            assert!(ssh_keygen_reads(&text), "{width}");
            let mut route = sshd.route();
            route.login.key = Some(Secret::new(text));
            check_private_key(route.login.key.as_ref().unwrap(), None)
                .unwrap_or_else(|fault| panic!("{width}: {fault:?}"));
            assert_eq!(connect(&route).map(|facts| facts.login).as_deref(), Ok("key"), "{width}");
        }
        if key.contains("OPENSSH") {
            let mut route = sshd.route();
            let text = padded_like_putty(&key);
            assert!(ssh_keygen_reads(&text));
            route.login.key = Some(Secret::new(text));
            check_private_key(route.login.key.as_ref().unwrap(), None).unwrap();
            assert_eq!(connect(&route).map(|facts| facts.login).as_deref(), Ok("key"));
        }
        for (what, text) in [
            ("byte order mark", format!("\u{feff}{key}")),
            ("indented", indented(&key)),
            ("line ends of Windows", key.replace('\n', "\r\n")),
            ("hard spaces", key.replace('\n', "\u{a0}\n")),
            ("blank lines", format!("\n\n{}\n\n", key.replace('\n', "\n\n"))),
            ("words around it", format!("deploy key:\n{key}ssh-ed25519 AAAA me@laptop\n")),
            ("quotation marks", format!("'{}'\n", key.trim())),
            ("all at once", format!("\u{feff}key: |\r\n{}", indented(&wrapped(&key, 76)).replace('\n', "\r\n"))),
        ] {
            let mut route = sshd.route();
            route.login.key = Some(Secret::new(text));
            assert_eq!(connect(&route).map(|facts| facts.login).as_deref(), Ok("key"), "{what}");
        }
    }
}

/// Returns a key of `ssh-keygen`, encrypted with this cipher.
fn encrypted(directory: &Path, cipher: &str) -> String {
    let path = directory.join(cipher);
    keygen(&path, &["-t", "ed25519", "-N", PASSPHRASE, "-Z", cipher]);
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_passphrase_decrypts_a_key_with_every_cipher() {
    let directory = tempfile::tempdir().unwrap();
    let (right, wrong) = (Secret::new(PASSPHRASE), Secret::new("wrong"));
    for cipher in [
        "aes128-cbc",
        "aes192-cbc",
        "aes256-cbc",
        "aes128-ctr",
        "aes192-ctr",
        "aes256-ctr",
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
    ] {
        for width in [70, 64] {
            let key = Secret::new(wrapped(&encrypted(directory.path(), cipher), width));
            fs::remove_file(directory.path().join(cipher)).unwrap();
            check_private_key(&key, Some(&right)).unwrap_or_else(|fault| panic!("{cipher}: {fault:?}"));
            assert_eq!(check_private_key(&key, Some(&wrong)).unwrap_err().code, Code::KeyPassphrase, "{cipher}");
            assert_eq!(check_private_key(&key, None).unwrap_err().code, Code::KeyPassphrase, "{cipher}");
        }
    }
}

#[test]
fn the_advice_for_an_unsupported_cipher_works() {
    let directory = tempfile::tempdir().unwrap();
    let key = encrypted(directory.path(), "3des-cbc");
    assert!(ssh_keygen_reads(&key));
    let fault = check_private_key(&Secret::new(key), Some(&Secret::new(PASSPHRASE))).unwrap_err();
    assert_eq!(fault.code, Code::KeyInvalid);
    assert!(fault.cause.ends_with("it is encrypted with 3des-cbc, which is not supported here"), "{}", fault.cause);
    let command = fault.fix.split('`').nth(1).unwrap();
    let path = directory.path().join("3des-cbc");
    let arguments =
        command.split(' ').skip(1).map(|word| if word == "KEYFILE" { path.to_str().unwrap() } else { word });
    let mut keygen = Command::new(command.split(' ').next().unwrap());
    keygen.args(arguments).args(["-P", PASSPHRASE, "-N", PASSPHRASE]).stdout(Stdio::null());
    assert!(keygen.status().unwrap().success(), "{command}");
    let key = Secret::new(fs::read_to_string(path).unwrap());
    check_private_key(&key, Some(&Secret::new(PASSPHRASE))).unwrap();
}

#[test]
fn an_unusable_key_is_reported_with_what_it_is() {
    let lab = Lab::new();
    let key = lab.bastion.key().expose().to_owned();
    let dsa = include_str!("../cases/keys/dsa");
    for (text, cause) in [
        (dsa.to_owned(), "it is a DSA key"),
        (base64(key.split_at(key.len() / 2).0), "it is base64 of a key file that is cut off"),
        ("/home/deploy/.ssh/id_ed25519".to_owned(), "it is the path of a file, not the key itself"),
    ] {
        Action::new(&lab)
            .file("migrations/0001_users.sql", "create table users (id int);")
            .secret("ssh-private-key", text)
            .run()
            .fails("key-invalid", 2)
            .error(cause)
            .done();
    }
}

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// Starts a server that requires these authentication methods, with this password.
fn server_requiring(methods: &str) -> Sshd {
    let kinds = if methods.contains("keyboard") { "UsePAM yes\nKbdInteractiveAuthentication yes\n" } else { "" };
    Sshd::start(&SshdOptions {
        config: format!("PasswordAuthentication yes\n{kinds}AuthenticationMethods {methods}"),
        password: Some(PASSWORD),
        ..SshdOptions::default()
    })
}

#[test]
fn several_factors_are_sent_in_the_order_that_the_server_requires() {
    for (methods, by) in [
        ("password,publickey", "password and key"),
        ("publickey,password", "key and password"),
        ("publickey,keyboard-interactive", "key and keyboard-interactive"),
        ("keyboard-interactive,publickey", "keyboard-interactive and key"),
        ("publickey,password publickey,keyboard-interactive", "key and password"),
        ("publickey password", "key"),
    ] {
        let sshd = server_requiring(methods);
        let mut route = sshd.route();
        route.login.password = Some(Secret::new(PASSWORD));
        let facts = connect(&route).unwrap_or_else(|fault| panic!("{methods}: {fault:?} {}", sshd.log()));
        assert_eq!(facts.login, by, "{methods}");
        assert_eq!(sshd.log().matches("Connection from").count(), 1, "{methods}");
    }
}

#[test]
fn a_rejected_login_names_the_accepted_and_the_missing_factors() {
    let other = Sshd::plain().key();
    for (methods, own_key, password, cause, fix) in [
        (
            "publickey,password",
            true,
            None,
            "accepted: key; the server still wants: password",
            "set `ssh-password`, which the server asks for",
        ),
        (
            "publickey,password",
            true,
            Some("wrong"),
            "accepted: key; the server still wants: password; refused: password",
            "check `ssh-password`: see that the password is right",
        ),
        (
            "password,publickey",
            false,
            Some(PASSWORD),
            "accepted: password; the server still wants: publickey; refused: key",
            "see that the public half of `ssh-private-key` is in that user's authorized_keys",
        ),
        (
            "password,publickey",
            true,
            None,
            "refused user `{user}`; tried: key; the server offers: password",
            "check `ssh-user`; set `ssh-password`, which the server asks for",
        ),
    ] {
        let sshd = server_requiring(methods);
        let mut route = sshd.route();
        route.login.password = password.map(Secret::new);
        if !own_key {
            route.login.key = Some(other.clone());
        }
        let fault = connect(&route).unwrap_err();
        assert_eq!(fault.code, Code::BastionLogin);
        let cause = cause.replace("{user}", &sshd.user());
        assert!(fault.cause.ends_with(&cause), "{methods}: {}", fault.cause);
        assert_eq!(fault.fix, fix, "{methods}");
    }
    let sshd = server_requiring("password,publickey");
    let mut route = sshd.route();
    route.login.key = None;
    route.login.password = Some(Secret::new(PASSWORD));
    let fault = connect(&route).unwrap_err();
    assert!(fault.cause.ends_with("accepted: password; the server still wants: publickey"), "{}", fault.cause);
    assert!(fault.fix.starts_with("set `ssh-private-key`"), "{}", fault.fix);
}

#[test]
fn a_wrong_password_is_not_reported_as_a_key_problem() {
    let lab = Lab::new().behind(server_requiring("password"));
    let done = Action::new(&lab)
        .file("migrations/0001_users.sql", "create table users (id int);")
        .secret("ssh-private-key", "")
        .secret("ssh-password", "not the password")
        .run()
        .fails("bastion-login", 3)
        .error("tried: password; the server offers: password")
        .logs("fix: check `ssh-user`; check `ssh-password`");
    assert!(!Log::read(&done.log).without_masks.contains("authorized_keys"));
    done.done();
}

/// Creates a file that a server shows before the login.
fn banner(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
    file
}

fn server_with_banner(banner: &tempfile::NamedTempFile) -> Sshd {
    let config = format!("Banner {}", banner.path().display());
    Sshd::start(&SshdOptions { config, ..SshdOptions::default() })
}

#[test]
fn the_banner_of_a_rejected_login_is_shown_with_secrets_hidden() {
    let file = banner("Ask ops@example.com for access.\n::error::no\n\x1b[31mThe word is open-sesame-4711\x1b[0m\n");
    let lab = Lab::new().behind(server_with_banner(&file));
    Action::new(&lab)
        .file("migrations/0001_users.sql", "create table users (id int);")
        .secret("ssh-private-key", Sshd::plain().key().expose())
        .secret("ssh-password", "open-sesame-4711")
        .run()
        .fails("bastion-login", 3)
        .error("tried: key; the server offers: publickey")
        .logs("the server says: Ask ops@example.com for access.")
        .logs("The word is ***")
        .done();
}

#[test]
fn a_banner_prevents_a_login_only_if_it_is_longer_than_ssh_allows() {
    for (length, accepted) in [(20_000, true), (200_000, false)] {
        let file = banner(&"Authorized use only. ".repeat(length / 21));
        let sshd = server_with_banner(&file);
        match connect(&sshd.route()) {
            Ok(facts) => assert!(accepted && facts.login == "key"),
            Err(fault) => {
                assert!(!accepted && fault.code == Code::BastionLogin, "{fault:?}");
                assert!(fault.cause.contains("a longer packet than SSH allows"), "{}", fault.cause);
                assert!(fault.fix.contains("`Banner`"), "{}", fault.fix);
            }
        }
    }
}

#[test]
fn a_server_that_sends_endless_lines_is_read_no_longer_than_the_timeout() {
    let sshd = Sshd::plain();
    for (text, cause) in [
        ("hello, this is no SSH\r\n", "sends line after line and no SSH greeting"),
        ("hello, this is no SSH and no line. ", "SSH"),
    ] {
        let server = FakeServer::start(move |_, mut stream| async move {
            let text = text.repeat(1000);
            while stream.write_all(text.as_bytes()).await.is_ok() {}
        });
        let mut route = Route { connect_timeout: Duration::from_secs(1), ..sshd.route() };
        route.hops[0].port = server.port;
        let start = Instant::now();
        let fault = connect(&route).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert_eq!(fault.code, Code::BastionNotSsh, "{}", fault.cause);
        assert!(fault.cause.contains(cause), "{}", fault.cause);
    }
}

#[test]
fn a_byte_order_mark_before_an_input_is_ignored() {
    let lab = Lab::new();
    let (port, line) = (lab.bastion.port, lab.bastion.known_hosts_line());
    Action::new(&lab)
        .file("migrations/0001_users.sql", "\u{feff}create table users (id int);")
        .input("ssh-host", "\u{feff}127.0.0.1")
        .input("ssh-port", format!("\u{feff}{port}"))
        .input("ssh-known-hosts", format!("\u{feff}{line}"))
        .secret("ssh-private-key", format!("\u{feff}{}", lab.bastion.key().expose()))
        .secret("database-url", format!("\u{feff}{}", lab.database.url()))
        .run()
        .succeeds()
        .applied(["0001_users"])
        .done();
}

#[test]
fn a_server_that_allows_one_session_per_connection_is_reported() {
    let (lab, server) = (Lab::new(), Server::configured("MaxSessions 1"));
    Action::on_server(&lab, &server)
        .input("tool", "custom")
        .input("run", "echo hi")
        .run()
        .fails("exec-no-channel", 3)
        .error("opens no channel for a command")
        .logs("fix: set `MaxSessions` in the server's sshd_config to 10, its default, or remove the line")
        .done();
}
