//! A command as a process on this machine, for a run that is not in the action's own container.

use super::user_program::UserProgram;
use crate::run::{
    process::ExitStatus,
    program::{ProgramOutput, StartedProgram},
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{io, os::unix::process::ExitStatusExt as _, process::Stdio};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};

/// A process with the group that it leads. Dropping it kills the whole group, unless the process has ended.
struct GroupLeader(Child);

impl Drop for GroupLeader {
    fn drop(&mut self) {
        let pid = self.0.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // A group that is gone needs no signal.
            kill_process_group(pid, Signal::KILL).unwrap_or_default();
        }
    }
}

/// Bytes that are read at once.
const CHUNK: usize = 32 << 10;

/// Starts the program with these words in place of its own. It has the environment of the input and no other. Dropping its
/// streams kills it, and what it has started.
///
/// # Errors
/// The error of the operating system.
pub fn start_local(program: &UserProgram, argv: &[String]) -> io::Result<StartedProgram> {
    let (name, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut child = Command::new(name)
        .args(arguments)
        .env_clear()
        .envs(program.environment().iter().map(|(name, value)| (name, value.expose())))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A signal from the terminal is for us: the connection has to last until the work is stopped in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let (Some(input), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let output = stream::select(chunks(stdout, ProgramOutput::Stdout), chunks(stderr, ProgramOutput::Stderr));
    let mut leader = GroupLeader(child);
    let exit = async move {
        let status = leader.0.wait().await.ok()?;
        let signalled = status.signal().map(|signal| ExitStatus::Signalled(signal.into()));
        signalled.or(status.code().map(|code| ExitStatus::Exited(code.into())))
    };
    Ok(StartedProgram { input: Box::pin(input), output: Box::pin(output), exit: Box::pin(exit) })
}

/// Returns the bytes of a pipe until its end; a pipe that breaks has ended, too.
fn chunks<R: AsyncRead + Send + Unpin>(
    pipe: R,
    to_output: fn(Bytes) -> ProgramOutput,
) -> impl Stream<Item = ProgramOutput> + Send + use<R> {
    stream::unfold(pipe, move |mut pipe| async move {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        match pipe.read_buf(&mut chunk).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some((to_output(chunk.freeze()), pipe)),
        }
    })
}
