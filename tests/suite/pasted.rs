//! What people paste: private keys in every form that `ssh-keygen -y` reads and in the encodings of other programs, and
//! other texts in place of the lines of `known_hosts`.
#![expect(clippy::disallowed_methods, reason = "tests start key generators")]

use crate::{
    action::Action,
    lab::{
        Lab,
        process::run_checked,
        ssh_ca::SshCa,
        sshd::{Sshd, SshdOptions, fingerprint, keygen},
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bastion_migrate::{
    fault::Code,
    secret::Secret,
    ssh::{UserCertificate, check_private_key, seconds_since_1970},
};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

const PASSPHRASE: &str = "open sesame";

/// Returns the public half that `ssh-keygen -y` reads from the key, as `type base64`; none if it can't read it.
fn read_by_ssh_keygen(text: &str) -> Option<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    fs::set_permissions(file.path(), Permissions::from_mode(0o600)).unwrap();
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-y", "-P", PASSPHRASE, "-f"]).arg(file.path()).stderr(Stdio::null());
    let output = keygen.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = printed.split_whitespace().take(2).collect();
    output.status.success().then(|| words.join(" "))
}

fn wrapped(text: &str, width: usize, end: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(width).map(|line| line.iter().collect::<String>() + end).collect()
}

/// Returns the text of a key file in other encodings and surroundings.
fn disguises(key: &str) -> Vec<(&'static str, String)> {
    let base64 = STANDARD.encode(key);
    // Without a gap, the headers of an encrypted PEM file run into each other.
    let no_line = if key.contains("DEK-Info") { key.to_owned() } else { key.replace('\n', "") };
    vec![
        ("as it is", key.to_owned()),
        ("line ends of Windows", key.replace('\n', "\r\n")),
        ("line ends as letters", key.replace('\n', "\\n")),
        ("JSON", format!("\"{}\"", key.replace('\n', "\\n"))),
        ("line ends of Windows as letters", key.replace('\n', "\\r\\n")),
        ("one line", key.replace('\n', " ")),
        ("no line", no_line),
        ("base64", base64.clone()),
        ("base64 in lines", wrapped(&base64, 76, "\n")),
        ("base64 in indented lines", format!("  {}", wrapped(&base64, 64, "\r\n  "))),
        ("base64 of JSON", STANDARD.encode(key.replace('\n', "\\n"))),
        ("words around it", format!("My key, do not share:\n\n{key}\nssh-ed25519 AAAA me@laptop\n")),
        ("YAML", format!("key: |\n{}", key.lines().map(|line| format!("    {line}\n")).collect::<String>())),
    ]
}

/// Checks that the key is read in every disguise, and that its public half is the right one, as far as its file has it.
fn is_read(what: &str, key: &str, public: &str, encrypted: bool) {
    let (ca, passphrase) = (SshCa::ed25519(), Secret::new(PASSPHRASE));
    let passphrase = encrypted.then_some(&passphrase);
    let certificate = ca.sign(public, &["-I", "x", "-n", "u"]);
    let foreign = ca.sign(&Sshd::plain().public_key(), &["-I", "x", "-n", "u"]);
    let has_public_half = !encrypted || key.contains("OPENSSH");
    for (disguise, text) in disguises(key) {
        let text = Secret::new(text);
        check_private_key(&text, passphrase).unwrap_or_else(|fault| panic!("{what}, {disguise}: {fault:?}"));
        let read = |certificate: &str| UserCertificate::read(certificate, Some(&text), seconds_since_1970());
        read(&certificate).unwrap_or_else(|fault| panic!("{what}, {disguise}: {fault:?}"));
        let refusal = read(&foreign).err().map(|fault| fault.code);
        assert_eq!(refusal, has_public_half.then_some(Code::CertificateKey), "{what}, {disguise}");
    }
}

#[test]
fn every_key_of_ssh_keygen_is_read_in_every_form() {
    let directory = tempfile::tempdir().unwrap();
    for kind in [["ed25519", "256"], ["ecdsa", "256"], ["ecdsa", "384"], ["ecdsa", "521"], ["rsa", "2048"]] {
        for form in ["RFC4716", "PEM", "PKCS8"] {
            for passphrase in ["", PASSPHRASE] {
                let what = format!("{kind:?} {form} {passphrase}");
                let path = directory.path().join(&what);
                keygen(&path, &["-t", kind[0], "-b", kind[1], "-m", form, "-N", passphrase]);
                let key = fs::read_to_string(path).unwrap();
                let public = read_by_ssh_keygen(&key).unwrap_or_else(|| panic!("{what}: ssh-keygen reads its own key"));
                is_read(&what, &key, &public, !passphrase.is_empty());
            }
        }
    }
}

#[test]
fn the_keys_of_openssl_are_read_wherever_ssh_keygen_reads_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let openssl = |arguments: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(arguments.split(' ')).current_dir(directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
        run_checked(&mut openssl);
    };
    let secret = "pass:open_sesame".replace('_', " ");
    for (arguments, encryption) in [
        ("genrsa -traditional -out key 2048", None),
        ("genrsa -out key 2048", None),
        ("ecparam -name prime256v1 -genkey -out key", None),
        ("genpkey -algorithm ED25519 -out key", None),
        ("genrsa -out plain 2048", Some("-v2 aes-256-cbc")),
        ("genrsa -out plain 2048", Some("-v2 aes-128-cbc -v2prf hmacWithSHA512")),
        ("genrsa -out plain 2048", Some("-v2 des3")),
        ("genrsa -out plain 2048", Some("-scrypt")),
        ("ecparam -name secp384r1 -genkey -noout -out plain", Some("-v2 aes-256-cbc")),
    ] {
        openssl(arguments);
        if let Some(encryption) = encryption {
            let mut openssl = Command::new("openssl");
            openssl.args("pkcs8 -topk8 -in plain -out key".split(' ')).args(encryption.split(' '));
            openssl.args(["-passout", &secret]).current_dir(directory.path());
            run_checked(&mut openssl);
        }
        let key = fs::read_to_string(&path).unwrap();
        // An older ssh-keygen does not read ed25519 in PKCS #8.
        match read_by_ssh_keygen(&key) {
            Some(public) => is_read(arguments, &key, &public, encryption.is_some()),
            None => {
                assert!(arguments.contains("ED25519"), "{arguments}: ssh-keygen does not read it");
                check_private_key(&Secret::new(key), None).unwrap_or_else(|fault| panic!("{arguments}: {fault:?}"));
            }
        }
    }
}

#[test]
fn the_exports_of_putty_are_read_and_its_own_form_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("empty"), "").unwrap();
    fs::write(directory.path().join("passphrase"), PASSPHRASE).unwrap();
    let puttygen = |arguments: &[&str]| {
        let mut puttygen = Command::new("puttygen");
        puttygen.args(arguments).current_dir(directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
        run_checked(&mut puttygen);
    };
    for kind in [["ed25519", "256"], ["ecdsa", "384"], ["rsa", "2048"]] {
        for passphrase in ["empty", "passphrase"] {
            puttygen(&["-q", "-t", kind[0], "-b", kind[1], "--new-passphrase", passphrase, "-o", "own.ppk"]);
            let own = Secret::new(fs::read_to_string(directory.path().join("own.ppk")).unwrap());
            let fault = check_private_key(&own, None).unwrap_err();
            assert!(fault.cause.ends_with("it is in PuTTY's own form"), "{}", fault.cause);
            for form in ["private-openssh", "private-openssh-new"] {
                puttygen(&["own.ppk", "--old-passphrase", passphrase, "-O", form, "-o", "exported"]);
                let key = fs::read_to_string(directory.path().join("exported")).unwrap();
                let what = format!("{kind:?} {form} {passphrase}");
                let public = read_by_ssh_keygen(&key).unwrap_or_else(|| panic!("{what}: ssh-keygen reads it"));
                is_read(&what, &key, &public, passphrase == "passphrase");
            }
        }
    }
}

#[test]
fn a_run_logs_in_with_a_key_in_base64_and_hides_the_key_itself() {
    let banner = tempfile::NamedTempFile::new().unwrap();
    fs::set_permissions(banner.path(), Permissions::from_mode(0o644)).unwrap();
    let config = format!("Banner {}", banner.path().display());
    let lab = Lab::new().behind(Sshd::start(&SshdOptions { config, ..SshdOptions::default() }));
    let key = lab.bastion.key().expose().to_owned();
    let line = key.lines().nth(2).unwrap();
    // A server that shows a part of the key to everybody.
    fs::write(banner.path(), format!("Welcome.\nsesame {line}\n")).unwrap();
    let base64 = STANDARD.encode(&key);
    let step = || {
        let step = Action::new(&lab).file("migrations/0001_users.sql", "create table users (id int);").hides(line);
        step.secret("ssh-private-key", base64.clone())
    };
    step().run().succeeds().applied(["0001_users"]).done();
    let refused = step().input("ssh-user", "nobody-here").run().fails("bastion-login", 3);
    refused.logs("the server says: Welcome.").logs("the server says: sesame ***").done();
}

/// Expects these lines of `known_hosts` to be refused before any connection.
fn pins_nothing(lab: &Lab, known_hosts: &str, cause: &str, fix: &str) {
    Action::new(lab)
        .file("migrations/0001_users.sql", "create table users (id int);")
        .input("ssh-known-hosts", known_hosts)
        .run()
        .fails("pin-invalid", 2)
        .error(cause)
        .logs(&format!("fix: {fix}"))
        .done();
}

#[test]
fn a_text_that_is_no_line_of_known_hosts_is_named_with_its_line_and_the_right_input() {
    let lab = Lab::new().behind(Sshd::plain());
    let key = lab.bastion.host_key("ed25519");
    let print = fingerprint(&key);
    let name = format!("[127.0.0.1]:{}", lab.bastion.port);
    let damaged = lab.bastion.known_hosts_line();
    for (text, cause, fix) in [
        (
            format!("# of ssh-keyscan\n256 {print} {name} (ED25519)"),
            "line 2 of `ssh-known-hosts` is a fingerprint",
            "move it to `ssh-fingerprint`",
        ),
        (print.clone(), "line 1 of `ssh-known-hosts` is a fingerprint", "move it to `ssh-fingerprint`"),
        (
            "16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48".to_owned(),
            "line 1 of `ssh-known-hosts` is an MD5 fingerprint",
            "paste what `ssh-keyscan` prints",
        ),
        (key.clone(), "has no host name in front of the key", "put the bastion's name"),
        (
            format!("# of the server\n{key} root@bastion"),
            "line 2 of `ssh-known-hosts` has no host name",
            "put the bastion's name",
        ),
        (
            "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----".to_owned(),
            "line 1 of `ssh-known-hosts` is not in OpenSSH's form",
            "paste what `ssh-keyscan` prints",
        ),
        (
            "getaddrinfo bastion.example: Name or service not known".to_owned(),
            "line 1 of `ssh-known-hosts` is a message, not a key",
            "run `ssh-keyscan` where the server can be reached",
        ),
        ("bastion.example.com".to_owned(), "is a host without its key", "paste what `ssh-keyscan` prints"),
        (
            damaged.chars().take(damaged.len() - 9).collect(),
            "has a key that is damaged or cut off",
            "paste what `ssh-keyscan` prints",
        ),
        (
            SshCa::ed25519().sign(&key, &["-h", "-I", "x", "-n", "localhost"]),
            "line 1 of `ssh-known-hosts` is a certificate",
            "write the public key of its CA in its place: `@cert-authority",
        ),
    ] {
        pins_nothing(&lab, &text, cause, fix);
    }
    let private = Sshd::plain().key();
    Action::new(&lab)
        .file("migrations/0001_users.sql", "create table users (id int);")
        .secret("ssh-known-hosts", private.expose())
        .run()
        .fails("pin-invalid", 2)
        .error("line 1 of `ssh-known-hosts` belongs to a private key")
        .logs("fix: put the private key into `ssh-private-key`")
        .done();
    assert!(!lab.bastion.log().contains("Connection from"), "{}", lab.bastion.log());
}

#[test]
fn a_line_that_was_meant_for_the_host_is_named_when_the_host_is_not_pinned() {
    let lab = Lab::new().behind(Sshd::plain());
    let (key, port) = (lab.bastion.host_key("ed25519"), lab.bastion.port);
    let other = Sshd::plain().known_hosts_line();
    let step = |known_hosts: &str| {
        let step = Action::new(&lab).file("migrations/0001_users.sql", "create table users (id int);");
        step.input("ssh-known-hosts", known_hosts)
    };
    for (text, remark) in [
        (
            format!("{other}\nbastion.example {key}"),
            format!(
                "line 2 of `ssh-known-hosts` has this key for another host: add `,[127.0.0.1]:{port}` to its first word"
            ),
        ),
        (
            format!("{other}\n\n{key} root@bastion"),
            format!(
                "line 3 of `ssh-known-hosts` has no host name in front of the key: put `[127.0.0.1]:{port}` and a space at the start of the line"
            ),
        ),
        (
            format!("{other}\n{}", fingerprint(&key)),
            "line 2 of `ssh-known-hosts` is a fingerprint: move it to `ssh-fingerprint`".to_owned(),
        ),
    ] {
        step(&text).run().fails("host-key-unpinned", 3).logs(&remark).done();
    }
    // The advice works.
    let corrected = format!("{other}\nbastion.example,[127.0.0.1]:{port} {key}");
    step(&corrected).run().succeeds().applied(["0001_users"]).done();
}

#[test]
fn lines_of_known_hosts_are_read_from_json_and_quotation_marks() {
    let (lab, other) = (Lab::new(), Sshd::plain().known_hosts_line());
    let line = lab.bastion.known_hosts_line();
    for text in [
        format!("{other}\\n{line}\\n"),
        format!("\"{line}\""),
        format!("'{other}\n{line}'"),
        format!("\"{other}\\r\\n{line}\""),
    ] {
        let step = Action::new(&lab).file("migrations/0001_users.sql", "create table if not exists users (id int);");
        step.input("ssh-known-hosts", text).input("command", "plan").run().has_pending().pending(["0001_users"]).done();
    }
    let prints = [Sshd::plain().host_key("ed25519"), lab.bastion.host_key("ed25519")].map(|key| fingerprint(&key));
    let list = format!("256 {} a (ED25519)\n256 {} b (ED25519)\n", prints[0], prints[1]);
    let step = Action::new(&lab).file("migrations/0001_users.sql", "create table users (id int);");
    step.input("ssh-known-hosts", "").input("ssh-fingerprint", list).run().succeeds().applied(["0001_users"]).done();
}

#[test]
fn other_texts_in_place_of_a_fingerprint_are_named() {
    let lab = Lab::new();
    let step = |text: &str| {
        let step = Action::new(&lab).file("migrations/0001_users.sql", "create table users (id int);");
        step.input("ssh-known-hosts", "").input("ssh-fingerprint", text).run().fails("pin-invalid", 2)
    };
    step(&lab.bastion.known_hosts_line()).error("is a whole key").logs("move it to `ssh-known-hosts`").done();
    step("MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48").error("MD5 fingerprint proves nothing").done();
    step("SHA256:abc").error("with 43 characters after the colon").logs("`ssh-keygen -lf`").done();
}

/// The files of keys that are no private keys of SSH.
#[test]
fn a_path_and_a_cut_off_key_are_named() {
    let key = Sshd::plain().key().expose().to_owned();
    let path = Path::new("/home/deploy/.ssh/id_ed25519").display().to_string();
    for (text, why) in [
        (path, "it is the path of a file, not the key itself"),
        (key.lines().take(3).collect::<Vec<_>>().join("\n"), "it is cut off"),
        (STANDARD.encode(&key.as_bytes()[..key.len() / 2]), "it is base64 of a key file that is cut off"),
        (STANDARD.encode("hunter2"), "its first line is not"),
    ] {
        let fault = check_private_key(&Secret::new(text), None).unwrap_err();
        assert!(fault.code == Code::KeyInvalid && fault.cause.contains(why), "{}", fault.cause);
    }
}
