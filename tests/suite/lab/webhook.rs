//! A receiver of notifications: checks that each message has the form of its service, and answers as it is told.

use super::certificate::Certificate;
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::Value;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// The service whose form a message must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Json,
    Slack,
    Teams,
    Discord,
}

/// The answer to every message.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// This status, with this body.
    Status(u16, String),
    /// A redirect to this address.
    Redirect(String),
    /// None, as long as the client waits.
    Silence,
}

/// The part of the URL that makes it a credential.
pub(crate) const CANARY: &str = "c4n4ry-0123456789-abcdefghij";

/// The address of a receiver that only this machine can reach.
pub(crate) const LOOPBACK: &str = "127.0.0.1";

/// The receiver. It stops when the value is dropped.
#[derive(Debug)]
pub(crate) struct Webhook {
    address: SocketAddr,
    state: Arc<WebhookState>,
}

#[derive(Debug)]
struct WebhookState {
    service: Service,
    reply: Reply,
    tls: Option<Arc<ServerConfig>>,
    closed: AtomicBool,
    messages: Mutex<Vec<Value>>,
    violations: Mutex<Vec<String>>,
}

impl Webhook {
    /// Starts a receiver of this service that accepts every message.
    pub(crate) fn start(service: Service) -> Self {
        Self::replying(service, Reply::Status(200, "ok".to_owned()))
    }

    /// Starts a receiver with this answer.
    pub(crate) fn replying(service: Service, reply: Reply) -> Self {
        Self::listen(LOOPBACK, service, reply, None)
    }

    /// Starts a receiver with this certificate, for `https`, at this address of the machine.
    pub(crate) fn with_tls(host: &str, service: Service, certificate: &Certificate) -> Self {
        let chain = vec![CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("a key");
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("the key belongs to the certificate");
        Self::listen(host, service, Reply::Status(200, "ok".to_owned()), Some(Arc::new(tls)))
    }

    fn listen(host: &str, service: Service, reply: Reply, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("the address is ours, and has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (messages, violations) = (Mutex::default(), Mutex::default());
        let state =
            Arc::new(WebhookState { service, reply, tls, closed: AtomicBool::new(false), messages, violations });
        let serving = Arc::clone(&state);
        let serve = move || {
            for client in listener.incoming().map_while(Result::ok) {
                if serving.closed.load(Ordering::Acquire) {
                    break;
                }
                let serving = Arc::clone(&serving);
                // A client that disconnects early is no failure of the receiver.
                let respond = move || drop(serving.respond_on(client));
                thread::Builder::new().name("webhook-client".to_owned()).spawn(respond).expect("a thread can start");
            }
        };
        thread::Builder::new().name("webhook".to_owned()).spawn(serve).expect("a thread can start");
        Self { address, state }
    }

    /// Returns the URL of the webhook.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/services/{CANARY}", self.address)
    }

    /// Returns its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the messages so far.
    pub(crate) fn messages(&self) -> Vec<Value> {
        self.state.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::Release);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
        let violations = std::mem::take(&mut *self.state.violations.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(violations.is_empty() || thread::panicking(), "the service would refuse this: {violations:#?}");
    }
}

impl WebhookState {
    fn respond_on(&self, client: TcpStream) -> io::Result<()> {
        match &self.tls {
            None => self.respond(client),
            Some(config) => {
                let session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                self.respond(StreamOwned::new(session, client))
            }
        }
    }

    fn respond(&self, client: impl Read + Write) -> io::Result<()> {
        let mut reader = BufReader::new(client);
        let body = self.read_message(&mut reader)?;
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        let (status, header, text) = match &self.reply {
            Reply::Status(status, text) => (*status, String::new(), text.as_str()),
            Reply::Redirect(target) => (307, format!("location: {target}\r\n"), ""),
            // The client hangs up.
            Reply::Silence => return reader.read_to_end(&mut Vec::new()).map(drop),
        };
        let (client, length) = (reader.get_mut(), text.len());
        write!(client, "HTTP/1.1 {status} x\r\nconnection: close\r\n{header}content-length: {length}\r\n\r\n{text}")?;
        client.flush()
    }

    fn read_message(&self, reader: &mut impl BufRead) -> io::Result<Value> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let lower = head.to_lowercase();
        let header = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length = header("content-length:").and_then(|text| text.parse().ok()).expect("a message has a length");
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body: Value = serde_json::from_slice(&body).expect("a message is JSON");
        let is_post = head.starts_with(&format!("POST /services/{CANARY} HTTP/1.1\r\n"));
        let wrong = [
            (!is_post).then(|| format!("it is not posted to the webhook's path: {head}")),
            (header("content-type:") != Some("application/json")).then(|| format!("it is not called JSON: {head}")),
            violation(self.service, &body),
        ];
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).extend(wrong.into_iter().flatten());
        Ok(body)
    }
}

/// Returns the reason why the service would refuse a message, or show it in another way than intended.
fn violation(service: Service, body: &Value) -> Option<String> {
    let is_right = match service {
        Service::Json => body["version"] == 1 && body["event"].is_string() && body["text"].is_string(),
        Service::Slack => is_for_slack(body),
        Service::Teams => is_for_teams(body),
        Service::Discord => {
            let content = body["content"].as_str().unwrap_or_default();
            (1..=2_000).contains(&content.encode_utf16().count())
                && body["allowed_mentions"]["parse"].as_array().is_some_and(Vec::is_empty)
        }
    };
    (!is_right).then(|| format!("{service:?}: {body:#}"))
}

/// Slack, "Block Kit": at most 50 blocks, and 3,000 characters in the text of a section.
fn is_for_slack(body: &Value) -> bool {
    let is_section = |block: &Value| {
        let text = &block["text"];
        let length = text["text"].as_str().map_or(0, |text| text.chars().count());
        block["type"] == "section" && text["type"] == "mrkdwn" && (1..=3_000).contains(&length)
    };
    let blocks = body["blocks"].as_array().map(Vec::as_slice).unwrap_or_default();
    body["text"].is_string() && (1..=50).contains(&blocks.len()) && blocks.iter().all(is_section)
}

/// Microsoft, "Create incoming webhooks with Workflows": a message of one Adaptive Card, of at most 28 kB.
fn is_for_teams(body: &Value) -> bool {
    let attachments = body["attachments"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_card = |attachment: &Value| {
        let card = &attachment["content"];
        attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
            && card["type"] == "AdaptiveCard"
            && card["version"].is_string()
            && card["body"].as_array().is_some_and(|body| !body.is_empty())
    };
    body["type"] == "message"
        && attachments.len() == 1
        && attachments.iter().all(is_card)
        && body.to_string().len() < 28_000
}
