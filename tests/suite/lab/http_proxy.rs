//! A proxy that opens tunnels for HTTPS, as companies have it.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// The proxy. It serves until the process of the tests ends.
#[derive(Debug)]
pub(crate) struct HttpProxy {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl HttpProxy {
    /// Starts a proxy that connects every tunnel to this port of the machine, whatever its name: only the proxy knows the
    /// names of the network behind it.
    pub(crate) fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let recorded = Arc::clone(&requests);
        let serve = move || {
            for client in listener.incoming().map_while(Result::ok) {
                let recorded = Arc::clone(&recorded);
                let tunnel = move || drop(open_tunnel(client, port, &recorded));
                thread::Builder::new().name("proxy-client".to_owned()).spawn(tunnel).expect("a thread can start");
            }
        };
        thread::Builder::new().name("proxy".to_owned()).spawn(serve).expect("a thread can start");
        Self { address, requests }
    }

    /// Returns the value of `HTTPS_PROXY`, with a login.
    pub(crate) fn url(&self) -> String {
        format!("http://runner:proxy-password@{}", self.address)
    }

    /// Returns every request so far, with its headers.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn open_tunnel(mut client: TcpStream, port: u16, recorded: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    recorded.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut to_server, mut from_client) = (server.try_clone()?, client.try_clone()?);
    let forward = move || {
        drop(io::copy(&mut from_client, &mut to_server));
        drop(to_server.shutdown(Shutdown::Write));
    };
    thread::Builder::new().name("proxy-forward".to_owned()).spawn(forward)?;
    io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Write)
}
