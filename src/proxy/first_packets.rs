//! Exchange with a client before its session begins.

use super::startup_packet;
use crate::postgres::backend_messages::ENCRYPTION_DECLINED;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, sink},
    time::timeout,
};

/// Time limit for a refused client to read the error.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads one packet and no byte more: the next bytes may be the beginning of the client's TLS.
pub(crate) async fn read_first_packet(client: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    client.read_exact(&mut length).await?;
    let mut packet = length.to_vec();
    if let Some(rest) = startup_packet::remaining_length(length) {
        packet.resize(length.len() + rest, 0);
        client.read_exact(packet.get_mut(length.len()..).unwrap_or_default()).await?;
    }
    Ok(packet)
}

/// Declines encryption. A write error is ignored: reading the next packet then fails.
pub(crate) async fn decline_encryption(client: &mut (impl AsyncWrite + Unpin)) {
    drop(client.write_all(&[ENCRYPTION_DECLINED]).await);
}

/// Sends the last message and closes. It reads to the end first, because the system would discard the message if
/// bytes were left unread.
pub(crate) async fn send_error_and_close(client: &mut (impl AsyncRead + AsyncWrite + Unpin), error_packet: &[u8]) {
    let drain = async {
        client.write_all(error_packet).await?;
        client.shutdown().await?;
        copy(client, &mut sink()).await
    };
    drop(timeout(CLOSE_TIMEOUT, drain).await);
}
