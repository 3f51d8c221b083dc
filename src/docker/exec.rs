//! Further programs in a running container: each has streams and an exit status of its own, and an environment that the
//! engine shows to nobody who inspects the container.

use super::{
    client::{engine_fault, http_status},
    container::Container,
};
use crate::{
    fault::{Code, Fault},
    run::{
        process::ExitStatus,
        program::{ProgramOutput, StartedProgram},
    },
    secret::Secret,
};
use bollard::{
    container::LogOutput,
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
};
use futures_util::{StreamExt as _, future::ready};

/// Largest frame of output that is read at once, in bytes: as large as the engine's own buffer (moby, `pkg/stdcopy`,
/// 32 KiB).
const OUTPUT_CAPACITY: usize = 32 << 10;

impl Container {
    /// Starts a program in the container, with this environment in addition to the container's. Dropping its streams
    /// closes its standard input and leaves it to end by itself.
    ///
    /// # Errors
    /// `engine-failed`; the container is not there or does not run ([`Fault::cause`] has the engine's message).
    pub async fn start_program(&self, argv: &[String], env: &[(String, Secret)]) -> Result<StartedProgram, Fault> {
        let docker = &self.engine.docker;
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(argv.to_vec()),
            env: Some(env.iter().map(|(name, value)| format!("{name}={}", value.expose())).collect()),
            ..CreateExecOptions::default()
        };
        let created = docker.create_exec(&self.id, options).await;
        let id = created
            .map_err(|error| match http_status(&error) {
                // 409: it does not run (Engine API, ContainerExec).
                Some(404 | 409) => {
                    let cause = "the container was removed or stopped while it was in use, and not by this run";
                    Fault::new(Code::EngineFailed, cause)
                }
                _ => engine_fault("a program can't be started in the container", &error),
            })?
            .id;
        let start = StartExecOptions { output_capacity: Some(OUTPUT_CAPACITY), ..StartExecOptions::default() };
        let started = docker.start_exec(&id, Some(start)).await;
        let started = started.map_err(|error| engine_fault("a program can't be started in the container", &error))?;
        let StartExecResults::Attached { output, input } = started else {
            return Err(Fault::new(Code::EngineFailed, "the engine started a program without its streams"));
        };
        // Output that breaks off has ended, too: the exit status is asked for next.
        let output =
            output.take_while(|chunk| ready(chunk.is_ok())).filter_map(|chunk| ready(chunk.ok())).map(|chunk| {
                match chunk {
                    LogOutput::StdErr { message } => ProgramOutput::Stderr(message),
                    LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                        ProgramOutput::Stdout(message)
                    }
                }
            });
        let docker = docker.clone();
        let exit = async move {
            let inspected = docker.inspect_exec(&id).await.ok()?;
            inspected.exit_code.map(ExitStatus::from_code)
        };
        Ok(StartedProgram { input, output: Box::pin(output), exit: Box::pin(exit) })
    }
}
