//! A fake GitHub API for the comments of one pull request.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Answer to a request that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteAccess {
    Allowed,
    Forbidden,
}

/// The server. It stops when the value is dropped.
#[derive(Debug)]
pub(crate) struct Github {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    writing: WriteAccess,
    closed: AtomicBool,
    comments: Mutex<Vec<String>>,
    requests: Mutex<Vec<String>>,
}

impl Github {
    pub(crate) fn start(writing: WriteAccess) -> Self {
        Self::start_at("127.0.0.1", writing)
    }

    /// Starts it at this address of the machine.
    pub(crate) fn start_at(host: &str, writing: WriteAccess) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("the address has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let closed = AtomicBool::new(false);
        let state = Arc::new(State { writing, closed, comments: Mutex::default(), requests: Mutex::default() });
        let serving = Arc::clone(&state);
        let serve = move || {
            for client in listener.incoming().map_while(Result::ok) {
                if serving.closed.load(Ordering::Acquire) {
                    break;
                }
                // A client that disconnects early is no failure of the server.
                drop(serving.respond(client));
            }
        };
        thread::Builder::new().name("github".to_owned()).spawn(serve).expect("a thread can start");
        Self { address, state }
    }

    /// Returns the value of `GITHUB_API_URL`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/api/v3", self.address)
    }

    /// Returns the comments on the pull request.
    pub(crate) fn comments(&self) -> Vec<String> {
        self.state.comments.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns every request so far: its first line and its headers.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Github {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::Release);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
    }
}

impl State {
    fn respond(&self, mut client: TcpStream) -> io::Result<()> {
        let (head, body) = read_request(&client)?;
        let (status, response) = self.route(&head, &body);
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(head);
        let length = response.len();
        write!(
            client,
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{response}"
        )
    }

    fn route(&self, head: &str, body: &str) -> (u16, String) {
        let mut comments = self.comments.lock().unwrap_or_else(PoisonError::into_inner);
        let text = || {
            let body: serde_json::Value = serde_json::from_str(body).expect("a comment is JSON");
            body.get("body").and_then(serde_json::Value::as_str).expect("a comment has a body").to_owned()
        };
        match head.split(' ').next() {
            Some("GET") => {
                let all: Vec<_> = comments.iter().enumerate().map(|(id, text)| comment(id, text)).collect();
                (200, serde_json::Value::from(all).to_string())
            }
            _ if self.writing == WriteAccess::Forbidden => {
                (403, r#"{"message":"Resource not accessible by integration","documentation_url":""}"#.to_owned())
            }
            Some("POST") => {
                comments.push(text());
                (201, comment(comments.len() - 1, &text()).to_string())
            }
            _ => {
                let path = head.split(' ').nth(1).unwrap_or_default();
                let id: usize = path.rsplit('/').next().and_then(|id| id.parse().ok()).expect("the path ends in an id");
                *comments.get_mut(id).expect("only what is there is updated") = text();
                (200, comment(id, &text()).to_string())
            }
        }
    }
}

fn comment(id: usize, text: &str) -> serde_json::Value {
    serde_json::json!({ "id": id, "body": text, "user": { "type": "Bot" }, "author_association": "NONE" })
}

fn read_request(client: &TcpStream) -> io::Result<(String, String)> {
    let mut reader = BufReader::new(client);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        reader.read_line(&mut head)?;
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
    Ok((head, String::from_utf8(body).expect("JSON is UTF-8")))
}
