//! A running container with its attached streams, its usage and its exit status.

use super::{
    client::{engine_fault, engine_message, http_status},
    container::Container,
};
use crate::{
    fault::{Code, Fault},
    run::{
        ResourceUsage,
        process::{ExitStatus, LineBuffer, Output, OutputChunk},
    },
    secret::Redactor,
};
use bollard::{
    container::{AttachContainerResults, LogOutput},
    errors::Error,
    models::ContainerStatsResponse,
    query_parameters::{AttachContainerOptionsBuilder, StatsOptionsBuilder},
};
use futures_util::{
    StreamExt as _,
    future::{Either, select},
};
use std::{cell::Cell, convert::Infallible, fmt, pin::pin, time::Duration};
use tokio::{io::AsyncWriteExt as _, time::sleep};

/// A started container. Dropping this closes only the connection: the container goes on, without standard input.
pub struct RunningContainer {
    container: Container,
    streams: AttachContainerResults,
    out: LineBuffer,
    err: LineBuffer,
    usage: Cell<ResourceUsage>,
}

/// The decision after a piece of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowOutput {
    /// Continue reading.
    Continue,
    /// Stop reading.
    Stop,
}

/// The exit of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerExit {
    /// The exit status.
    pub status: ExitStatus,
    /// The resources used; zero if it ended before the first measurement.
    pub usage: ResourceUsage,
    /// The state of its processes other than the first.
    pub other_processes: OtherProcesses,
}

/// The state of the container's other processes: the engine sets one flag for a process killed for memory, even if the
/// command itself succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherProcesses {
    /// No process was killed for memory.
    Unharmed,
    /// The kernel killed at least one process for memory.
    OutOfMemory,
}

/// Interval between two measurements of usage, and before the first: the usage during start-up is not representative.
const USAGE_INTERVAL: Duration = Duration::from_secs(1);

impl Container {
    /// Starts the container. `redactor` hides secrets in its output.
    ///
    /// # Errors
    /// `tool-missing` if its program can't be started; `engine-failed`.
    pub async fn start(&self, redactor: &Redactor) -> Result<RunningContainer, Fault> {
        let options = AttachContainerOptionsBuilder::new().stream(true).stdin(true).stdout(true).stderr(true).build();
        // Attached before the start, so that no output is missed.
        let attached = self.engine.docker.attach_container(&self.id, Some(options)).await;
        let streams = attached.map_err(|error| match http_status(&error) {
            Some(404) => removed_fault(),
            _ => engine_fault("the output of the container can't be read", &error),
        })?;
        self.engine.docker.start_container(&self.id, None).await.map_err(|error| start_fault(&error))?;
        let (out, err) = (LineBuffer::with_redactor(redactor.clone()), LineBuffer::with_redactor(redactor.clone()));
        Ok(RunningContainer { container: self.clone(), streams, out, err, usage: Cell::default() })
    }
}

impl RunningContainer {
    /// Passes each line of output to `on_output` as it comes, until `on_output` stops or the output ends.
    pub async fn follow_output(&mut self, on_output: impl FnMut(Output<'_>) -> FollowOutput) -> FollowOutput {
        let Self { container, streams, out, err, usage } = self;
        let result = pin!(read_output(&mut streams.output, (out, err), on_output));
        match select(result, pin!(measure_usage(container, usage))).await {
            Either::Left((result, _)) => result,
            Either::Right((never, _)) => match never {},
        }
    }

    /// Writes to the container's standard input and closes it.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn write_stdin(&mut self, input: &[u8]) -> Result<(), Fault> {
        self.begin_stdin(input).await?;
        self.streams.input.shutdown().await.map_err(input_fault)
    }

    /// Writes to the container's standard input, which stays open until this is dropped.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn begin_stdin(&mut self, input: &[u8]) -> Result<(), Fault> {
        let stdin = &mut self.streams.input;
        let written = async {
            stdin.write_all(input).await?;
            stdin.flush().await
        };
        written.await.map_err(input_fault)
    }

    /// Returns the usage measured so far.
    #[must_use]
    pub fn usage(&self) -> ResourceUsage {
        self.usage.get()
    }

    /// Reads the output to its end and waits for the exit.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn follow_to_exit(mut self, mut on_output: impl FnMut(Output<'_>)) -> Result<ContainerExit, Fault> {
        self.follow_output(|output| {
            on_output(output);
            FollowOutput::Continue
        })
        .await;
        let (status, other_processes) = self.wait_for_exit().await?;
        Ok(ContainerExit { status, usage: self.usage.get(), other_processes })
    }

    /// Passes the output on as it arrives, byte for byte: `on_output` is awaited before more is read. Waits for the exit.
    ///
    /// # Errors
    /// The fault of `on_output`; `engine-failed`.
    pub async fn stream_to_exit(
        mut self,
        mut on_output: impl AsyncFnMut(OutputChunk<'_>) -> Result<(), Fault>,
    ) -> Result<ContainerExit, Fault> {
        {
            let Self { container, streams, usage, .. } = &mut self;
            let streaming = async {
                // Output that breaks off has ended, too: the caller asks for the container's status next.
                while let Some(Ok(chunk)) = streams.output.next().await {
                    match &chunk {
                        LogOutput::StdErr { message } => on_output(OutputChunk::Stderr(message)).await?,
                        LogOutput::StdOut { message }
                        | LogOutput::Console { message }
                        | LogOutput::StdIn { message } => on_output(OutputChunk::Stdout(message)).await?,
                    }
                }
                Ok::<(), Fault>(())
            };
            match select(pin!(streaming), pin!(measure_usage(container, usage))).await {
                Either::Left((streamed, _)) => streamed?,
                Either::Right((never, _)) => match never {},
            }
        }
        let (status, other_processes) = self.wait_for_exit().await?;
        Ok(ContainerExit { status, usage: self.usage.get(), other_processes })
    }

    async fn wait_for_exit(&self) -> Result<(ExitStatus, OtherProcesses), Fault> {
        let Container { engine, id } = &self.container;
        let failed = |error: &Error| match http_status(error) {
            Some(404) => removed_fault(),
            _ => engine_fault("the exit status of the container can't be read", error),
        };
        let mut ends = pin!(engine.docker.wait_container(id, None));
        match ends.next().await {
            None | Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => {}
            Some(Err(error)) => return Err(failed(&error)),
        }
        let inspection = engine.docker.inspect_container(id, None).await.map_err(|error| failed(&error))?;
        let state = inspection.state.unwrap_or_default();
        let code = state.exit_code.unwrap_or_default();
        Ok(interpret_exit(code, state.oom_killed.unwrap_or_default()))
    }
}

impl fmt::Debug for RunningContainer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RunningContainer").field("container", &self.container).finish_non_exhaustive()
    }
}

/// Interprets the engine's exit code and memory flag. The flag covers the whole container: if the command succeeded,
/// another process was killed.
fn interpret_exit(code: i64, oom_killed: bool) -> (ExitStatus, OtherProcesses) {
    match (code, oom_killed) {
        (0, true) => (ExitStatus::Exited(0), OtherProcesses::OutOfMemory),
        (_, true) => (ExitStatus::OutOfMemory, OtherProcesses::Unharmed),
        (_, false) => (ExitStatus::from_code(code), OtherProcesses::Unharmed),
    }
}

fn input_fault(error: std::io::Error) -> Fault {
    engine_fault("the container's input could not be written", &Error::from(error))
}

/// Returns the fault for a removed container, whose exit status is lost.
fn removed_fault() -> Fault {
    Fault::new(Code::ToolKilled, "the container was removed while it ran, and not by this run").fix(
        "find out what removes containers on this machine (`docker events`, a clean-up of another job), and run again",
    )
}

fn start_fault(error: &Error) -> Fault {
    if http_status(error) == Some(404) && engine_message(error).contains("o such container") {
        return removed_fault();
    }
    let message = engine_message(error);
    let missing = ["executable file not found", "no such file or directory", "permission denied", "not a directory"];
    let missing = missing.iter().any(|sign| message.contains(sign));
    let code = if missing { Code::ToolMissing } else { Code::EngineFailed };
    Fault::new(code, format!("the container's command can't be started: {message}"))
}

async fn read_output(
    mut output: impl futures_util::Stream<Item = Result<LogOutput, Error>> + Unpin,
    (out, err): (&mut LineBuffer, &mut LineBuffer),
    mut on_output: impl FnMut(Output<'_>) -> FollowOutput,
) -> FollowOutput {
    let result = Cell::new(FollowOutput::Continue);
    let mut forward = |output: Output<'_>| {
        if on_output(output) == FollowOutput::Stop {
            result.set(FollowOutput::Stop);
        }
    };
    // Output that breaks off has ended, too: the caller asks for the container's status next.
    while let Some(Ok(chunk)) = output.next().await {
        match chunk {
            LogOutput::StdErr { message } => {
                err.push_bytes(&message).iter().for_each(|line| forward(Output::Stderr(line)));
            }
            LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                out.push_bytes(&message).iter().for_each(|line| forward(Output::Stdout(line)));
                out.partial_line().iter().for_each(|partial| forward(Output::PartialLine(partial)));
            }
        }
        if result.get() == FollowOutput::Stop {
            return FollowOutput::Stop;
        }
    }
    out.take_rest().iter().for_each(|line| forward(Output::Stdout(line)));
    err.take_rest().iter().for_each(|line| forward(Output::Stderr(line)));
    result.get()
}

/// Measures the usage repeatedly while it is polled: the engine has no figures after the container has ended.
#[expect(clippy::infinite_loop, reason = "it is dropped with what it measures")]
async fn measure_usage(container: &Container, usage: &Cell<ResourceUsage>) -> Infallible {
    loop {
        sleep(USAGE_INTERVAL).await;
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        let mut figures = pin!(container.engine.docker.stats(&container.id, Some(options)));
        if let Some(Ok(figure)) = figures.next().await {
            usage.set(peak_usage(usage.get(), &figure));
        }
    }
}

/// Returns the peak of memory, without the kernel's cache of files, and the latest CPU time. The names are those of
/// control groups, version 1 and 2 (docker stats(1) subtracts the same).
fn peak_usage(previous: ResourceUsage, figure: &ContainerStatsResponse) -> ResourceUsage {
    let memory = figure.memory_stats.as_ref();
    let cached = memory.and_then(|memory| {
        let stats = memory.stats.as_ref()?;
        stats.get("inactive_file").or_else(|| stats.get("total_inactive_file")).copied()
    });
    let used = memory.and_then(|memory| memory.usage).unwrap_or_default().saturating_sub(cached.unwrap_or_default());
    let cpu = figure.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage).unwrap_or_default();
    ResourceUsage { memory_bytes: previous.memory_bytes.max(used), cpu_ms: previous.cpu_ms.max(cpu / 1_000_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successful_command_was_not_the_process_killed_for_memory() {
        assert_eq!(interpret_exit(0, true), (ExitStatus::Exited(0), OtherProcesses::OutOfMemory));
        assert_eq!(interpret_exit(137, true), (ExitStatus::OutOfMemory, OtherProcesses::Unharmed));
        assert_eq!(interpret_exit(1, true), (ExitStatus::OutOfMemory, OtherProcesses::Unharmed));
        assert_eq!(interpret_exit(0, false), (ExitStatus::Exited(0), OtherProcesses::Unharmed));
        assert_eq!(interpret_exit(137, false), (ExitStatus::Signalled(9), OtherProcesses::Unharmed));
    }

    #[test]
    fn reports_a_missing_container_as_removed() {
        let not_found =
            |message: &str| Error::DockerResponseServerError { status_code: 404, message: message.to_owned() };
        let fault = start_fault(&not_found("No such container: 4f2c"));
        assert_eq!(fault.code, Code::ToolKilled);
        assert!(fault.cause.contains("was removed while it ran") && !fault.fix.contains("journalctl"), "{fault:?}");
    }
}
