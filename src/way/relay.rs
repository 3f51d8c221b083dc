//! The program of our own in a companion: it reaches a port on the loopback of the network that the companion is in, and
//! passes it on over its standard input and output. Without a port it holds the companion open.

use super::command_stream::CommandStream;
use crate::{
    fault::{Code, Fault},
    program::HOLDING_PROGRAM,
};
use futures_util::future::select;
use std::{
    ffi::OsString,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    process::ExitCode,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy, stdin, stdout},
    net::TcpStream,
    time::timeout,
};

/// The line that the relay sends when it has connected; the target's bytes follow.
const CONNECTED: &str = "connected";

/// The line for a port at which no process listens.
const REFUSED: &str = "refused";

/// Time limit for the connection, which stays on the machine.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest line of the relay, in bytes.
const LONGEST_LINE: usize = 256;

const REFUSED_FIX: &str = "check that the step that opens the tunnel comes before this one in the same job, leaves it running in the \
    background, and waits until it listens; in a job with `container:` such a step runs in that container, whose loopback only \
    the program reaches (`.github/binary` in place of the action)";

/// Returns both loopback addresses: some programs listen at one of them alone.
fn loopbacks(port: u16) -> [SocketAddr; 2] {
    [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].map(|address| SocketAddr::new(address, port))
}

/// Connects to a port on the loopback of this network.
///
/// # Errors
/// `via-refused`.
pub(super) async fn dial_loopback(port: u16) -> Result<TcpStream, Fault> {
    match timeout(DIAL_TIMEOUT, TcpStream::connect(&loopbacks(port)[..])).await {
        Ok(Ok(stream)) => {
            // Small packets must not wait for the acknowledgement of the previous one; a socket without this option
            // works, too.
            drop(stream.set_nodelay(true));
            Ok(stream)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Err(refused_fault(port)),
        Ok(Err(error)) => Err(unreachable_fault(port, &error.to_string())),
        Err(_) => Err(unreachable_fault(port, "no answer")),
    }
}

/// Reads the first line of a relay.
///
/// # Errors
/// `via-refused`; `via-failed` if the relay ended without a line.
pub(super) async fn read_verdict(relay: &mut CommandStream, port: u16) -> Result<(), Fault> {
    let mut line = Vec::new();
    while line.len() < LONGEST_LINE {
        match relay.read_u8().await {
            Ok(b'\n') => break,
            Ok(byte) => line.push(byte),
            Err(_) => return Err(Fault::new(Code::ViaFailed, "the relay to the runner's loopback ended at once")),
        }
    }
    match String::from_utf8_lossy(&line).as_ref() {
        CONNECTED => Ok(()),
        REFUSED => Err(refused_fault(port)),
        other => Err(unreachable_fault(port, other)),
    }
}

fn refused_fault(port: u16) -> Fault {
    let cause = format!("no process listens at `127.0.0.1:{port}` of the runner (`via`)");
    Fault::new(Code::ViaRefused, cause).fix(REFUSED_FIX)
}

fn unreachable_fault(port: u16, reason: &str) -> Fault {
    Fault::new(Code::ViaRefused, format!("`127.0.0.1:{port}` of the runner (`via`) can't be reached: {reason}"))
        .fix(REFUSED_FIX)
}

/// Returns whether the process was started as the relay.
#[must_use]
pub fn is_relay(args: &[OsString]) -> bool {
    let program = args.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
    program.ends_with(HOLDING_PROGRAM)
}

/// Runs the program: with a port as its argument it relays, otherwise it waits for the end of its standard input. It
/// ends like any program at a signal, and has nothing to clean up.
pub async fn run_relay(args: &[OsString]) -> ExitCode {
    let port = args.get(1).map(|port| port.to_str().and_then(|port| port.parse().ok()));
    match port {
        None => {
            drop(copy(&mut stdin(), &mut tokio::io::sink()).await);
            ExitCode::SUCCESS
        }
        Some(Some(port)) => relay_port(port).await.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        Some(None) => ExitCode::FAILURE,
    }
}

async fn relay_port(port: u16) -> io::Result<()> {
    let mut output = stdout();
    let stream = match timeout(DIAL_TIMEOUT, TcpStream::connect(&loopbacks(port)[..])).await {
        Ok(Ok(stream)) => stream,
        failed => {
            let line = match failed {
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => REFUSED.to_owned(),
                Ok(Err(error)) => error.to_string().replace('\n', " "),
                Ok(Ok(_)) | Err(_) => "no answer".to_owned(),
            };
            output.write_all(format!("{line}\n").as_bytes()).await?;
            return output.flush().await;
        }
    };
    drop(stream.set_nodelay(true));
    output.write_all(format!("{CONNECTED}\n").as_bytes()).await?;
    output.flush().await?;
    let (mut from_target, mut to_target) = stream.into_split();
    let up = async {
        copy(&mut stdin(), &mut to_target).await?;
        // The target may still have something to send.
        to_target.shutdown().await?;
        std::future::pending::<io::Result<()>>().await
    };
    let down = async {
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = from_target.read(&mut chunk).await?;
            let Some(bytes) = chunk.get(..length).filter(|bytes| !bytes.is_empty()) else {
                return output.flush().await;
            };
            output.write_all(bytes).await?;
            output.flush().await?;
        }
    };
    let (result, _) = select(pin!(down), pin!(up)).await.factor_first();
    result
}

/// Bytes that are passed on at once.
const CHUNK: usize = 32 << 10;
