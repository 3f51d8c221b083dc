//! A stand-in for the servers of clouds: it records each request, and answers as the test states.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct CloudCall {
    /// Method, and path with its query.
    pub(crate) line: String,
    /// The headers, with names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// A status and a body.
pub(crate) type CloudAnswer = (u16, String);

/// The server. It stops when the value is dropped.
pub(crate) struct CloudServer {
    address: SocketAddr,
    state: Arc<CloudState>,
}

struct CloudState {
    answer: Box<dyn Fn(&CloudCall) -> CloudAnswer + Send + Sync>,
    calls: Mutex<Vec<CloudCall>>,
    closed: AtomicBool,
}

impl CloudServer {
    /// Starts a server with these answers.
    pub(crate) fn start(answer: impl Fn(&CloudCall) -> CloudAnswer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state =
            Arc::new(CloudState { answer: Box::new(answer), calls: Mutex::default(), closed: AtomicBool::new(false) });
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
        thread::Builder::new().name("cloud".to_owned()).spawn(serve).expect("a thread can start");
        Self { address, state }
    }

    /// Returns host and port.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Returns the URL of the server, without a path.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the requests so far.
    pub(crate) fn calls(&self) -> Vec<CloudCall> {
        self.state.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for CloudServer {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::Release);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
    }
}

impl fmt::Debug for CloudServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CloudServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl CloudState {
    fn respond(&self, mut client: TcpStream) -> io::Result<()> {
        let call = read_call(&mut BufReader::new(&client))?;
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
        let (status, text) = (self.answer)(&call);
        let length = text.len();
        write!(client, "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{text}")?;
        client.flush()
    }
}

fn read_call(reader: &mut BufReader<&TcpStream>) -> io::Result<CloudCall> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(CloudCall { line, headers, body: String::from_utf8_lossy(&body).into_owned() })
}
