//! A fake GitHub API for one pull request. Every request is checked against GitHub's own descriptions of its API, and any
//! answer can be replaced: by another status, a page, a delay, a closed connection.

mod schema;

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use std::{
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Barrier, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Answer to a request that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteAccess {
    Allowed,
    Forbidden,
}

/// An answer in place of the usual one.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// This response.
    Response { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// The usual one after a delay.
    Late(Duration),
    /// The usual one as soon as so many requests wait for it.
    Together(Arc<Barrier>),
    /// The request is carried out, and the connection is closed without a response.
    Lost,
    /// The connection is closed at once.
    Closed,
}

impl Answer {
    /// A response with a message in GitHub's form.
    pub(crate) fn message(status: u16, message: &str) -> Self {
        let body = json!({ "message": message, "documentation_url": "https://docs.github.com/rest" });
        Self::Response { status, headers: Vec::new(), body: body.to_string() }
    }

    /// A page, as a proxy or a load balancer sends it.
    pub(crate) fn page(status: u16) -> Self {
        Self::Response {
            status,
            headers: vec![("content-type", "text/html".to_owned())],
            body: "<html>hello</html>".to_owned(),
        }
    }

    /// Adds a header to a response.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Self::Response { headers, .. } = &mut self {
            headers.push((name, value.into()));
        }
        self
    }
}

/// The server. It stops when the value is dropped.
#[derive(Debug)]
pub(crate) struct Github {
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    state: Arc<ApiState>,
}

#[derive(Debug)]
struct ApiState {
    writing: WriteAccess,
    closed: AtomicBool,
    conversation: Mutex<Conversation>,
}

#[derive(Debug, Default)]
struct Conversation {
    comments: Vec<Comment>,
    /// Pull requests by commit.
    pull_requests: Vec<(String, Value)>,
    /// Reviews of the run's deployment.
    approvals: Vec<Value>,
    /// Answers to the next request whose line begins like this.
    answers: Vec<(String, Answer)>,
    requests: Vec<ApiRequest>,
    violations: Vec<String>,
}

#[derive(Debug, Clone)]
struct Comment {
    id: u64,
    author: Author,
    body: String,
}

/// The author of a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    /// The user of the token.
    Viewer,
    Other,
}

/// A request, as received.
#[derive(Debug, Clone)]
pub(crate) struct ApiRequest {
    /// `GET /path?query`.
    pub(crate) line: String,
    /// The first line and all headers.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// The identifier of the first comment: more than 32 bits, as on GitHub.
const FIRST_ID: u64 = 5_000_000_000;

impl Github {
    pub(crate) fn start(writing: WriteAccess) -> Self {
        Self::start_at("127.0.0.1", writing)
    }

    /// Starts it at this address of the machine.
    pub(crate) fn start_at(host: &str, writing: WriteAccess) -> Self {
        Self::listen(host, writing, None)
    }

    /// Starts it with this certificate and key, in PEM form, for `https`.
    pub(crate) fn start_with_tls(certificate: &str, key: &str) -> Self {
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("the key belongs to the certificate");
        Self::listen("127.0.0.1", WriteAccess::Allowed, Some(Arc::new(tls)))
    }

    fn listen(host: &str, writing: WriteAccess, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("the address has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(ApiState { writing, closed: AtomicBool::new(false), conversation: Mutex::default() });
        let (serving, config) = (Arc::clone(&state), tls.clone());
        let serve = move || {
            for client in listener.incoming().map_while(Result::ok) {
                if serving.closed.load(Ordering::Acquire) {
                    break;
                }
                let (serving, config) = (Arc::clone(&serving), config.clone());
                // A client that disconnects early is no failure of the server.
                let respond = move || drop(serving.respond_on(client, config));
                thread::Builder::new().name("github-client".to_owned()).spawn(respond).expect("a thread can start");
            }
        };
        thread::Builder::new().name("github".to_owned()).spawn(serve).expect("a thread can start");
        Self { address, tls, state }
    }

    /// Returns the value of `GITHUB_API_URL`.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/api/v3", self.address)
    }

    /// Returns its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Replaces the answer to the next request whose line contains this text; several wait for one request each.
    pub(crate) fn answer(&self, line: &str, answers: impl IntoIterator<Item = Answer>) {
        let answers = answers.into_iter().map(|answer| (line.to_owned(), answer));
        self.state.lock().answers.extend(answers);
    }

    /// Adds a comment, and returns its identifier.
    pub(crate) fn add_comment(&self, author: Author, body: &str) -> u64 {
        self.state.lock().add_comment(author, body)
    }

    /// Adds a pull request that contains this commit.
    pub(crate) fn add_pull_request(&self, commit: &str, pull_request: Value) {
        self.state.lock().pull_requests.push((commit.to_owned(), pull_request));
    }

    /// Lets these users approve the deployment of the run.
    pub(crate) fn approve(&self, logins: &[&str]) {
        let review = |login: &&str| json!({ "state": "approved", "comment": "", "environments": [], "user": { "login": login } });
        self.state.lock().approvals.extend(logins.iter().map(review));
    }

    /// Returns the comments on the pull request.
    pub(crate) fn comments(&self) -> Vec<String> {
        self.state.lock().comments.iter().map(|comment| comment.body.clone()).collect()
    }

    /// Returns the comments by the user of the token.
    pub(crate) fn own_comments(&self) -> Vec<String> {
        let conversation = self.state.lock();
        let own = conversation.comments.iter().filter(|comment| comment.author == Author::Viewer);
        own.map(|comment| comment.body.clone()).collect()
    }

    /// Returns every request so far.
    pub(crate) fn requests(&self) -> Vec<ApiRequest> {
        self.state.lock().requests.clone()
    }

    /// Returns the first line of every request so far, as in `POST /graphql`.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.line).collect()
    }
}

impl Drop for Github {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::Release);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
        let violations = std::mem::take(&mut self.state.lock().violations);
        assert!(violations.is_empty() || thread::panicking(), "GitHub would not understand this: {violations:#?}");
    }
}

impl ApiState {
    fn lock(&self) -> MutexGuard<'_, Conversation> {
        self.conversation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn respond_on(&self, client: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
        match tls {
            None => self.respond(&client),
            Some(config) => {
                let session = ServerConnection::new(config).map_err(io::Error::other)?;
                let stream = Mutex::new(StreamOwned::new(session, client));
                self.respond(Shared(&stream))?;
                let mut stream = stream.into_inner().unwrap_or_else(PoisonError::into_inner);
                stream.conn.send_close_notify();
                stream.flush()
            }
        }
    }

    fn respond(&self, client: impl Read + Write + Copy) -> io::Result<()> {
        let request = read_request(client)?;
        let answer = {
            let mut conversation = self.lock();
            conversation.violations.extend(violation(&request));
            conversation.requests.push(request.clone());
            let found = conversation.answers.iter().position(|(line, _)| request.line.contains(line.as_str()));
            found.map(|index| conversation.answers.remove(index).1)
        };
        match answer {
            Some(Answer::Response { status, headers, body }) => return write_response(client, status, &headers, &body),
            Some(Answer::Closed) => return Ok(()),
            Some(Answer::Late(delay)) => thread::park_timeout(delay),
            Some(Answer::Together(others)) => drop(others.wait()),
            Some(Answer::Lost) => {
                self.route(&request);
                return Ok(());
            }
            None => {}
        }
        let (status, body) = self.route(&request);
        write_response(client, status, &[], &body)
    }

    fn route(&self, request: &ApiRequest) -> (u16, String) {
        let mut conversation = self.lock();
        let (method, target) = request.line.split_once(' ').unwrap_or_default();
        let given: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let text = given.get("body").and_then(Value::as_str).unwrap_or_default();
        let last = target.rsplit('/').next().unwrap_or_default();
        let position = conversation.comments.iter().position(|comment| comment.id.to_string() == last);
        match method {
            "POST" if target == "/graphql" => (200, conversation.list()),
            "GET" if last == "approvals" => (200, Value::from(conversation.approvals.clone()).to_string()),
            "GET" => {
                let commit = target.rsplit('/').nth(1).unwrap_or_default();
                let found = conversation.pull_requests.iter().filter(|(known, _)| known == commit);
                (200, Value::from(found.map(|(_, pull_request)| pull_request.clone()).collect::<Vec<_>>()).to_string())
            }
            _ if self.writing == WriteAccess::Forbidden => {
                (403, r#"{"message":"Resource not accessible by integration","documentation_url":""}"#.to_owned())
            }
            "POST" => {
                let id = conversation.add_comment(Author::Viewer, text);
                (201, json!({ "id": id, "body": text }).to_string())
            }
            _ => match (position, method) {
                (None, _) => (404, r#"{"message":"Not Found","documentation_url":"","status":"404"}"#.to_owned()),
                (Some(position), "DELETE") => {
                    conversation.comments.remove(position);
                    (204, String::new())
                }
                (Some(position), _) => {
                    let comment = conversation.comments.get_mut(position).expect("the position was found");
                    text.clone_into(&mut comment.body);
                    (200, json!({ "id": comment.id, "body": text }).to_string())
                }
            },
        }
    }
}

impl Conversation {
    fn add_comment(&mut self, author: Author, body: &str) -> u64 {
        let id = self.comments.last().map_or(FIRST_ID, |comment| comment.id + 1);
        self.comments.push(Comment { id, author, body: body.to_owned() });
        id
    }

    /// Returns the response to the query of both ends of the conversation.
    fn list(&self) -> String {
        let node = |comment: &Comment| {
            json!({
                "url": format!("https://github.com/octo/app/pull/3#issuecomment-{}", comment.id),
                "body": comment.body,
                "viewerDidAuthor": comment.author == Author::Viewer,
            })
        };
        let nodes: Vec<Value> = self.comments.iter().map(node).collect();
        let newest = nodes.get(nodes.len().saturating_sub(100)..).unwrap_or_default();
        let oldest: Vec<&Value> = nodes.iter().take(100).collect();
        let conversation = json!({ "newest": { "nodes": newest }, "oldest": { "nodes": oldest } });
        json!({ "data": { "repository": { "pullRequest": conversation } } }).to_string()
    }
}

/// Returns the reason why GitHub would not understand a request.
fn violation(request: &ApiRequest) -> Option<String> {
    let (method, target) = request.line.split_once(' ').unwrap_or_default();
    let headers = request.head.to_lowercase();
    let mut needed = vec!["authorization: bearer ", "user-agent: ", "accept: application/vnd.github+json"];
    needed.extend((!request.body.is_empty()).then_some("content-type: application/json"));
    if let Some(missing) = needed.into_iter().find(|header| !headers.contains(header)) {
        return Some(format!("{} has no header {missing}", request.line));
    }
    match target {
        "/graphql" => schema::graphql_violation(&request.body),
        _ => schema::rest_violation(method, target, &request.body),
    }
}

fn write_response(
    mut client: impl Write,
    status: u16,
    headers: &[(&'static str, String)],
    body: &str,
) -> io::Result<()> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(client, "HTTP/1.1 {status} x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}")?;
    client.flush()
}

fn read_request(client: impl Read) -> io::Result<ApiRequest> {
    let mut reader = BufReader::new(client);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = head.split_at(start).1.trim().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length is a number");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (line, _) = head.split_once(" HTTP/1.1").unwrap_or_default();
    let line = line.replace(" /api/v3/", " /").replace(" /api/graphql", " /graphql");
    Ok(ApiRequest { line, head, body: String::from_utf8(body).expect("JSON is UTF-8") })
}

/// A stream that is read and written through one handle.
#[derive(Clone, Copy)]
struct Shared<'a>(&'a Mutex<StreamOwned<ServerConnection, TcpStream>>);

impl Read for Shared<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(buffer)
    }
}

impl Write for Shared<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}
