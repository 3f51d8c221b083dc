//! Cancel requests. Each has a stream of its own, which the server closes when it has handled the request (PostgreSQL
//! manual, 55.2.8).

use super::{
    fault,
    target::DatabaseTarget,
    tls::{self, tls_for_stream},
};
use crate::{fault::Fault, transport::Transport};
use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};
use tokio_postgres::{
    CancelToken, NoTls,
    tls::{ChannelBinding, TlsConnect, TlsStream},
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Time limit for the server to handle a request. Without an answer it may be handled all the same.
const HANDLING_TIMEOUT: Duration = Duration::from_secs(2);

/// Cancels a session's statement over a separate stream.
pub struct Canceller {
    token: CancelToken,
    connector: Option<MakeRustlsConnect>,
    target: DatabaseTarget,
}

impl Canceller {
    pub(super) fn new(token: CancelToken, connector: Option<MakeRustlsConnect>, target: DatabaseTarget) -> Self {
        Self { token, connector, target }
    }

    /// Sends one cancel request, and waits until the server has handled it. The server does not report whether there
    /// was anything to cancel (PostgreSQL manual, 55.2.7).
    ///
    /// # Errors
    /// If the request could not be delivered.
    pub async fn cancel(&self, transport: &Transport) -> Result<(), Fault> {
        let mut stream = transport.open_stream(&self.target.host, self.target.port).await?;
        let sent = match &self.connector {
            None => {
                let stream = CancelStream(stream);
                timeout(HANDLING_TIMEOUT, self.token.cancel_query_raw(stream, NoTls)).await
            }
            Some(connector) => {
                tls::begin_tls(&mut stream, &self.target).await?;
                let connect = CancelTlsConnect(tls_for_stream(connector, &self.target)?);
                timeout(HANDLING_TIMEOUT, self.token.cancel_query_raw(stream, connect)).await
            }
        };
        sent.unwrap_or(Ok(())).map_err(|error| fault::connection_fault(&error, &self.target))
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Canceller")
    }
}

/// A stream whose shutdown waits until the other end has closed it: a pooler forgets a request whose client is gone
/// before it has a connection to the server (measured with `PgBouncer` 1.18).
struct CancelStream<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for CancelStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for CancelStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut bytes = [0; 64];
            let mut buffer = ReadBuf::new(&mut bytes);
            // An error is an end, too: with TLS, the server closes the stream without a good-bye.
            let end = ready!(Pin::new(&mut self.0).poll_read(context, &mut buffer));
            if end.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: TlsStream + Unpin> TlsStream for CancelStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.0.channel_binding()
    }
}

/// A TLS connector with such streams.
struct CancelTlsConnect<C>(C);

impl<S, C> TlsConnect<S> for CancelTlsConnect<C>
where
    C: TlsConnect<S>,
    C::Stream: Unpin,
    C::Future: Send + 'static,
{
    type Stream = CancelStream<C::Stream>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, C::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = self.0.connect(stream);
        Box::pin(async move { Ok(CancelStream(connecting.await?)) })
    }
}
