//! Something at a port that is not what was looked for, or that stands between.

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

/// What a web server says to whoever does not speak HTTP.
const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// It listens on 127.0.0.1, and ends with the value.
#[derive(Debug)]
pub(crate) struct Stranger {
    pub(crate) port: u16,
    met: Arc<AtomicUsize>,
    life: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Stranger {
    /// Accepts connections and says nothing.
    pub(crate) fn silent() -> Self {
        Self::start(|_, stream| async move { until_closed(stream).await })
    }

    /// A web server.
    pub(crate) fn web() -> Self {
        Self::start(|_, mut stream| async move {
            let mut request = [0; 512];
            if stream.read(&mut request).await.is_ok() {
                drop(stream.write_all(BAD_REQUEST).await);
            }
        })
    }

    /// Closes the first connection as soon as it stands, and hands on all further ones to this port.
    pub(crate) fn that_drops_the_first(target: u16) -> Self {
        Self::start(move |number, mut near| async move {
            if number > 0
                && let Ok(mut far) = TcpStream::connect(("127.0.0.1", target)).await
            {
                drop(copy_bidirectional(&mut near, &mut far).await);
            }
        })
    }

    /// Serves each connection, whose number is told, by a task of its own.
    pub(crate) fn start<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(usize, TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let met = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&met);
        let (life, ended) = oneshot::channel::<Infallible>();
        let live = move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("it is a listener");
                let mut tasks = JoinSet::new();
                let accept = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        tasks.spawn(serve(counter.fetch_add(1, Ordering::AcqRel), stream));
                    }
                };
                tokio::select! { () = accept => {}, _ = ended => {} }
            });
        };
        let thread = thread::Builder::new().name("stranger".to_owned()).spawn(live).expect("a thread can start");
        Self { port, met, life: Some(life), thread: Some(thread) }
    }

    /// Waits until somebody has connected.
    pub(crate) fn wait_for_a_visit(&self) {
        let visited = || (self.met.load(Ordering::Acquire) > 0).then_some(());
        super::poll(Duration::from_secs(10), visited).expect("nobody has connected");
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(self.life.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

async fn until_closed(mut stream: TcpStream) {
    let mut bytes = [0; 512];
    while stream.read(&mut bytes).await.is_ok_and(|length| length > 0) {}
}
