//! The workflow of the documents that gets a certificate from Vault: its own commands, with a stand-in for the two servers.
//! The stand-in demands the requests that both document, and signs with a real CA.
#![expect(clippy::disallowed_methods, reason = "the test runs the commands of the documents")]

use crate::{
    action::Action,
    lab::{
        Lab,
        ssh_ca::SshCa,
        sshd::{Sshd, SshdOptions},
        stranger::FakeServer,
    },
    workflow::fenced,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, process::Command, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const REQUEST_TOKEN: &str = "request-token-0123456789";
const IDENTITY: &str = "identity.of.this-job-0123456789";
const VAULT_TOKEN: &str = "hvs.vault-token-0123456789";

/// Reads a request: its first line, its headers in small letters, its body.
async fn read_request(stream: &mut TcpStream) -> (String, String, Value) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let headers = head.to_lowercase();
            let length = headers.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
            if body.len() >= length.unwrap_or_default() {
                let first = head.lines().next().unwrap_or_default().to_owned();
                return (first, head.to_owned(), serde_json::from_str(body).unwrap_or_default());
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(length) if length > 0 => bytes.extend_from_slice(&piece[..length]),
            _ => return (text, String::new(), Value::Null),
        }
    }
}

/// Answers as GitHub's service for tokens and as Vault.
async fn answer(mut stream: TcpStream, ca: Arc<SshCa>, user: String) {
    let (first, head, body) = read_request(&mut stream).await;
    let has = |header: &str| head.lines().any(|line| line.eq_ignore_ascii_case(header));
    let is_for_vault = first.contains("&audience=http://127.0.0.1:");
    let answer =
        if first.starts_with("GET /token?") && is_for_vault && has(&format!("authorization: bearer {REQUEST_TOKEN}")) {
            json!({ "count": 1, "value": IDENTITY })
        } else if first.starts_with("POST /v1/auth/jwt/login ") && body == json!({ "role": "migrate", "jwt": IDENTITY })
        {
            json!({ "auth": { "client_token": VAULT_TOKEN } })
        } else if first.starts_with("POST /v1/ssh/sign/migrate ")
            && has(&format!("x-vault-token: {VAULT_TOKEN}"))
            && body["valid_principals"] == user.as_str()
        {
            let key = body["public_key"].as_str().unwrap_or_default().trim().to_owned();
            let signed = ca.sign(&key, &["-I", "vault-jwt", "-n", &user, "-V", "-1m:+45m"]);
            json!({ "data": { "signed_key": signed } })
        } else {
            drop(stream.write_all(b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await);
            return;
        };
    let answer = answer.to_string();
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", answer.len());
    drop(stream.write_all((head + &answer).as_bytes()).await);
}

/// Returns the commands of the step in the document.
fn commands() -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ways-in.md")).unwrap();
    let workflow = fenced(&page, "yaml").into_iter().find(|block| block.contains("/v1/ssh/sign/")).unwrap();
    let workflow: serde_yaml::Value = serde_yaml::from_str(&workflow).unwrap();
    let steps = workflow["jobs"]["migrate"]["steps"].as_sequence().unwrap();
    steps.iter().find(|step| step["id"].as_str() == Some("vault")).unwrap()["run"].as_str().unwrap().to_owned()
}

#[test]
fn the_workflow_with_vault_logs_in_with_the_key_and_the_certificate_that_it_makes() {
    let ca = Arc::new(SshCa::ed25519());
    let config = format!("TrustedUserCAKeys {}\nAuthorizedKeysFile none", ca.public_path().display());
    let lab = Lab::new().behind(Sshd::start(&SshdOptions { config, ..SshdOptions::default() }));
    let user = lab.bastion.user();
    let signer = user.clone();
    let server = FakeServer::start(move |_, stream| answer(stream, Arc::clone(&ca), signer.clone()));

    let directory = tempfile::tempdir().unwrap();
    let address = format!("http://127.0.0.1:{}", server.port);
    let script = commands().replace("valid_principals: \"deploy\"", &format!("valid_principals: \"{user}\""));
    let outputs = directory.path().join("outputs");
    let mut bash = Command::new("bash");
    bash.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &script]).current_dir(directory.path());
    bash.env("VAULT", &address).env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN);
    bash.env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{address}/token?api-version=2.0")).env("GITHUB_OUTPUT", &outputs);
    let output = bash.env("no_proxy", "127.0.0.1").output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));

    let text = fs::read_to_string(outputs).unwrap();
    let outputs: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let masks = [outputs["private"], IDENTITY, VAULT_TOKEN].map(|secret| format!("::add-mask::{secret}\n"));
    assert_eq!(printed, masks.concat());
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["outputs"], "no key is left on the disk");
    Action::new(&lab)
        .file("migrations/0001_a.sql", "create table a (id int);")
        .secret("ssh-private-key", outputs["private"])
        .input("ssh-certificate", outputs["certificate"])
        .run()
        .succeeds()
        .applied(["0001_a"])
        .logs("by certificate")
        .logs(&format!("certificate `vault-jwt` for {user}, valid until 20"))
        .done();
}
