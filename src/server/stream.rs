//! A program on the server whose output is a stream of bytes, such as a dump. It lives and ends with the connection.

use super::{Server, fault, login_output::LoginOutput, request, script::ShellScript};
use crate::{
    fault::{Code, Fault},
    run::process::{ExitStatus, OutputChunk},
    ssh::{ProcessExit, Tunnel},
};

impl Server {
    /// Runs the script on this connection, and with it: it is ended when the connection is lost or this future is
    /// dropped. Its output is passed on byte for byte; `on_output` is awaited before more is read.
    ///
    /// # Errors
    /// The fault of `on_output`, `server-no-shell`, those of [`Tunnel::start_program`], and the connection's own fault.
    pub async fn stream_script(
        &self,
        tunnel: &Tunnel,
        script: &ShellScript,
        mut on_output: impl AsyncFnMut(OutputChunk<'_>) -> Result<(), Fault>,
    ) -> Result<ExitStatus, Fault> {
        let mut request = self.new_request()?;
        request.set_variable("work", script.streamed_text().expose());
        let text = request.script_text(&[include_str!("script/stream.sh")]);
        let mut login_output = LoginOutput::new(&request.token);
        let process = tunnel.start_program(request::SHELL_COMMAND).await?;
        let exit = process.stream_with_open_input(text.as_bytes(), async |chunk| match chunk {
            OutputChunk::Stdout(bytes) => match login_output.skip(bytes) {
                Some([]) | None => Ok(()),
                Some(bytes) => on_output(OutputChunk::Stdout(bytes)).await,
            },
            OutputChunk::Stderr(bytes) => on_output(OutputChunk::Stderr(bytes)).await,
        });
        match exit.await? {
            _ if !login_output.has_ended() => {
                Err(tunnel.loss_fault().unwrap_or_else(|| fault::no_shell(login_output.text())))
            }
            ProcessExit::Exited(code) => Ok(ExitStatus::from_code(code.into())),
            ProcessExit::Signalled(name) => {
                let cause = format!("the shell on the server was ended by SIG{name}");
                Err(tunnel.loss_fault().unwrap_or_else(|| Fault::new(Code::ToolKilled, cause)))
            }
        }
    }
}
