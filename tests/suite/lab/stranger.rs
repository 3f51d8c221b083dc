//! Fake servers: something at a port that is not the expected server, or a proxy in front of it.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::oneshot,
    task::JoinSet,
};

/// A web server's response to a client that does not speak HTTP.
const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// A server on 127.0.0.1; it stops when the value is dropped.
#[derive(Debug)]
pub(crate) struct FakeServer {
    pub(crate) port: u16,
    accepted: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeServer {
    /// Starts a server that accepts connections and sends nothing.
    pub(crate) fn silent() -> Self {
        Self::start(|_, stream| async move { until_closed(stream).await })
    }

    /// Starts a web server.
    pub(crate) fn web() -> Self {
        Self::start(|_, mut stream| async move {
            let mut request = [0; 512];
            if stream.read(&mut request).await.is_ok() {
                drop(stream.write_all(BAD_REQUEST).await);
            }
        })
    }

    /// Starts a proxy that closes the first connection at once and forwards all further ones to this port.
    pub(crate) fn dropping_first(target: u16) -> Self {
        Self::start(move |number, mut near| async move {
            if number > 0
                && let Ok(mut far) = TcpStream::connect(("127.0.0.1", target)).await
            {
                drop(copy_bidirectional(&mut near, &mut far).await);
            }
        })
    }

    /// Starts a server that serves each connection in its own task; `serve` gets the connection's number, from 0.
    pub(crate) fn start<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(usize, TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let run = move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("it is a listener");
                let mut tasks = JoinSet::new();
                let accept = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        tasks.spawn(serve(counter.fetch_add(1, Ordering::AcqRel), stream));
                    }
                };
                tokio::select! { () = accept => {}, _ = stopped => {} }
            });
        };
        let thread = thread::Builder::new().name("fake server".to_owned()).spawn(run).expect("a thread can start");
        Self { port, accepted, stop: Some(stop), thread: Some(thread) }
    }

    /// Waits until a client has connected.
    pub(crate) fn wait_for_connection(&self) {
        let connected = || (self.accepted.load(Ordering::Acquire) > 0).then_some(());
        super::poll(Duration::from_secs(10), connected).expect("no client has connected");
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

async fn until_closed(mut stream: TcpStream) {
    let mut bytes = [0; 512];
    while stream.read(&mut bytes).await.is_ok_and(|length| length > 0) {}
}
