//! A fake GitHub API on the loopback interface, for tests; it ends when it is dropped.

use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A recorded request.
#[derive(Debug, Clone)]
pub(crate) struct RecordedRequest {
    /// `GET /path?query`.
    pub(crate) line: String,
    /// All headers, as received.
    pub(crate) headers: String,
    pub(crate) body: String,
}

pub(crate) struct FakeGithub {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<RecordedRequest>>>,
    _server: JoinSet<()>,
}

impl FakeGithub {
    /// Starts a server that responds to each request with a status and a JSON text.
    pub(crate) async fn start(respond: impl Fn(&RecordedRequest) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/v3", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&requests);
        let mut server = JoinSet::new();
        server.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let Some(request) = read_request(&mut stream).await else { continue };
                let (status, body) = respond(&request);
                recorded.lock().unwrap().push(request);
                let head = format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close");
                let text = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(text.as_bytes()).await.unwrap();
            }
        });
        Self { url, requests, _server: server }
    }

    pub(crate) fn requests(&self) -> Vec<RecordedRequest> {
        self.requests.lock().unwrap().clone()
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<RecordedRequest> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut headers, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut line).await.ok().filter(|bytes| *bytes > 0)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).await.ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        headers.push_str(&header);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.ok()?;
    let line = line.trim().trim_end_matches(" HTTP/1.1").to_owned();
    Some(RecordedRequest { line, headers, body: String::from_utf8(body).unwrap() })
}
