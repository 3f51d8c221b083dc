//! The messages of a script that sends some and ends.

use super::{
    fault,
    protocol::{FrameParser, ScriptFrame},
    request::{self, ScriptRequest},
};
use crate::{
    fault::Fault,
    run::process::OutputChunk,
    ssh::{ProcessExit, Tunnel},
};

/// Runs a script that replies with one message; of several it returns the last.
pub(super) async fn request_reply(tunnel: &Tunnel, request: &ScriptRequest, parts: &[&str]) -> Result<String, Fault> {
    request_messages(tunnel, request, parts).await.map(|mut messages| messages.pop().unwrap_or_default())
}

/// Runs a script and returns its messages; never none.
///
/// # Errors
/// `server-no-shell` for a login that ran no script, and those of [`Tunnel::start_program`].
pub(super) async fn request_messages(
    tunnel: &Tunnel,
    request: &ScriptRequest,
    parts: &[&str],
) -> Result<Vec<String>, Fault> {
    let process = tunnel.start_program(request::SHELL_COMMAND).await?;
    let (mut parser, mut messages, mut other_output) = (FrameParser::new(&request.token), Vec::new(), Vec::new());
    let text = request.script_text(parts);
    let exit: ProcessExit = process
        .run_with_input(text.as_bytes(), |chunk| {
            if let OutputChunk::Stdout(bytes) = chunk {
                parser.parse_chunk(bytes, |frame| match frame {
                    ScriptFrame::Control(message) => messages.push(message.to_owned()),
                    ScriptFrame::Raw(raw) => other_output.extend_from_slice(raw),
                });
            }
        })
        .await?;
    match messages.is_empty() {
        false => Ok(messages),
        true => Err(tunnel
            .loss_fault()
            .unwrap_or_else(|| fault::no_shell(&other_output).detail(format!("it ended with {exit:?}")))),
    }
}
