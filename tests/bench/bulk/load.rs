//! The data that is transferred, and its direction.

use super::peer::{READY, RECEIVE, SEND};
use crate::world::{World, runtime};
use bastion_migrate::transport::TransportStream;
use bytes::Bytes;
use futures_util::{SinkExt as _, TryStreamExt as _};
use std::{fmt, thread};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::oneshot,
};
use tokio_postgres::Client;

/// An amount of data, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    Down,
    Up,
    CopyOut,
    CopyIn,
}

pub(super) const ALL: [Load; 4] = [Load::Down, Load::Up, Load::CopyOut, Load::CopyIn];

/// The length of a row of COPY with its line end, in bytes.
const ROW: u32 = 8000;

/// The length of each read and write, in bytes.
const CHUNK: u32 = 64_000;

impl Size {
    pub(super) const fn megabytes_of(count: u32) -> Self {
        Self(count * 1_000_000)
    }

    pub(super) fn megabytes(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} MB", self.megabytes())
    }
}

impl Load {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Down => "bytes down",
            Self::Up => "bytes up",
            Self::CopyOut => "COPY out",
            Self::CopyIn => "COPY in",
        }
    }

    pub(super) fn is_copy(self) -> bool {
        matches!(self, Self::CopyOut | Self::CopyIn)
    }

    /// Prepares everything up to the request, once the connection is open from end to end.
    pub(super) async fn prepare(self, world: &World, mut stream: TransportStream) -> Prepared {
        if self.is_copy() {
            let client = world.client(stream).await;
            return Prepared::Rows(self, client);
        }
        assert_eq!(stream.read_u8().await.expect("the peer sends its greeting"), READY);
        Prepared::Bytes(self, stream)
    }
}

/// A load with its open connection.
pub(super) enum Prepared {
    Bytes(Load, TransportStream),
    Rows(Load, Client),
}

impl Prepared {
    /// Transfers the whole load on a thread of its own, while this one has the tunnel.
    pub(super) async fn transfer_on_another_thread(self, size: Size) {
        let (sender, over) = oneshot::channel();
        let transfer = move || {
            runtime().block_on(self.transfer(size));
            sender.send(()).expect("the tunnel waits");
        };
        let thread = thread::Builder::new().name("client".to_owned()).spawn(transfer).expect("a thread can start");
        over.await.expect("the transfer ends");
        thread.join().expect("the transfer ends");
    }

    /// Transfers the whole load.
    pub(super) async fn transfer(self, size: Size) {
        match self {
            Self::Bytes(Load::Down, stream) => down(stream, size).await,
            Self::Bytes(_, stream) => up(stream, size).await,
            Self::Rows(Load::CopyOut, client) => copy_out(&client, size).await,
            Self::Rows(_, client) => copy_in(&client, size).await,
        }
    }
}

async fn send_request(stream: &mut TransportStream, direction: u8, size: Size) {
    let mut request = vec![direction];
    request.extend(u64::from(size.0).to_le_bytes());
    stream.write_all(&request).await.expect("the peer listens");
}

async fn down(mut stream: TransportStream, size: Size) {
    send_request(&mut stream, SEND, size).await;
    let mut buffer = vec![0; CHUNK as usize];
    let mut remaining = size.0 as usize;
    while remaining > 0 {
        let count = stream.read(&mut buffer).await.expect("the peer sends");
        assert!(count > 0, "the peer stopped with {remaining} bytes to go");
        remaining -= count;
    }
}

async fn up(mut stream: TransportStream, size: Size) {
    send_request(&mut stream, RECEIVE, size).await;
    let chunk = vec![0; CHUNK as usize];
    for _ in 0..size.0 / CHUNK {
        stream.write_all(&chunk).await.expect("the peer receives");
    }
    assert_eq!(stream.read_u8().await.expect("the peer confirms"), READY);
}

async fn copy_out(client: &Client, size: Size) {
    let rows = size.0 / ROW;
    let query = format!("copy (select repeat('x', {}) from generate_series(1, {rows})) to stdout", ROW - 1);
    let stream = client.copy_out(query.as_str()).await.expect("the database copies");
    let count = stream.try_fold(0, |count, bytes| async move { Ok(count + bytes.len()) });
    assert_eq!(count.await.expect("the database copies"), size.0 as usize);
}

/// The server parses the rows and discards them, so that only the transfer is measured.
async fn copy_in(client: &Client, size: Size) {
    let row = "x".repeat(ROW as usize - 1) + "\n";
    let chunk = Bytes::from(row.repeat((CHUNK / ROW) as usize));
    let sink = client.copy_in::<_, Bytes>("copy sink from stdin where false").await.expect("the database copies");
    let mut sink = std::pin::pin!(sink);
    for _ in 0..size.0 / CHUNK {
        sink.send(chunk.clone()).await.expect("the database takes it");
    }
    sink.close().await.expect("the database confirms");
}
