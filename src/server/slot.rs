//! Takes the slot, by starting a process on the server that holds it for as long as the connection lives.

use super::{
    fault,
    orphan::{OrphanCollector, OrphanedRun},
    protocol::{FrameParser, ScriptFrame},
    request::{self, ScriptRequest},
};
use crate::{
    fault::{Code, Fault},
    run::{
        OngoingWait,
        event::{Event, Events},
    },
    ssh::{RemoteProcess, Tunnel},
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

/// Number of bytes kept of the output that precedes our script.
const MAX_LOGIN_OUTPUT: usize = 2 << 10;

/// Time limit for the first message: a login's start-up files take less. A forced command may read our script and never
/// reply.
const FIRST_REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// Time limit for the next message: the script sends one each second.
const NEXT_REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// The script's final message.
enum SlotReply {
    Entered,
    Refused,
    Taken,
    NoHome(String),
}

/// Takes the slot; the waiting is done by the script on the server.
pub(super) async fn take_slot(
    tunnel: &Tunnel,
    request: &ScriptRequest,
    events: &Events,
) -> Result<(RemoteProcess, Option<OrphanedRun>), Fault> {
    let mut holder = tunnel.start_program(request::SHELL_COMMAND).await?;
    let text = request.script_text(&[include_str!("script/enter.sh")]);
    // Its standard input stays open: closing it ends the holder. A failed write shows in the reads below.
    drop(holder.stdio.write_all(text.as_bytes()).await);
    let mut parser = FrameParser::new(&request.token);
    let (mut collector, mut holder_description, mut reply) = (OrphanCollector::default(), String::new(), None);
    let (mut other_output, mut message_count) = (Vec::new(), 0_usize);
    let (mut bytes, mut ongoing) = (vec![0; 4 << 10], OngoingWait::begin());
    while reply.is_none() {
        let limit = if message_count == 0 { FIRST_REPLY_TIMEOUT } else { NEXT_REPLY_TIMEOUT };
        let Ok(read) = timeout(limit, holder.stdio.read(&mut bytes)).await else { break };
        let count = read.unwrap_or_default();
        parser.parse_chunk(bytes.get(..count).unwrap_or_default(), |frame| {
            collector.receive_frame(frame);
            match frame {
                ScriptFrame::Control(message) => {
                    message_count += 1;
                    reply = parse_reply(message).or(reply.take());
                    if let Some(holder_text) = message.strip_prefix("held ") {
                        holder_description = describe_holder(holder_text);
                        ongoing.report_when_long("the run on the server", &holder_description, events);
                        events.emit(Event::Waiting {
                            what: "the run on the server".to_owned(),
                            why: holder_description.clone(),
                        });
                    }
                }
                ScriptFrame::Raw(raw) if message_count == 0 && other_output.len() < MAX_LOGIN_OUTPUT => {
                    other_output.extend_from_slice(raw);
                }
                ScriptFrame::Raw(_) => {}
            }
        });
        if count == 0 {
            break;
        }
    }
    match reply {
        Some(SlotReply::Entered) => Ok((holder, collector.into_orphan())),
        Some(SlotReply::Refused) => {
            let cause = format!("another run is using this directory on the server: {holder_description}");
            let fix = "wait for the other run, or raise `lock-wait`; if its job no longer exists, end that process on the server";
            Err(Fault::new(Code::LockHeld, cause).fix(fix))
        }
        Some(SlotReply::Taken) => Err(fault::slot_taken()),
        Some(SlotReply::NoHome(path)) => Err(fault::home_not_writable(&path)),
        None => Err(silence_fault(tunnel, holder, message_count, other_output).await),
    }
}

/// Explains why no message came.
async fn silence_fault(
    tunnel: &Tunnel,
    mut holder: RemoteProcess,
    message_count: usize,
    mut other_output: Vec<u8>,
) -> Fault {
    if let Some(fault) = tunnel.loss_fault() {
        return fault;
    }
    if message_count > 0 {
        return Fault::new(Code::BastionLost, "the process that waits for the slot on the server was ended there");
    }
    if other_output.is_empty() {
        let mut output = Vec::new();
        let mut stderr = (&mut holder.stderr).take(u64::try_from(MAX_LOGIN_OUTPUT).unwrap_or(u64::MAX));
        // A stream that stays open sends nothing more.
        drop(timeout(Duration::from_secs(1), stderr.read_to_end(&mut output)).await);
        other_output = output;
    }
    tunnel.loss_fault().unwrap_or_else(|| fault::no_shell(&other_output))
}

fn parse_reply(message: &str) -> Option<SlotReply> {
    Some(match message.split_once(' ').unwrap_or((message, "")) {
        ("entered", _) => SlotReply::Entered,
        ("refused", _) => SlotReply::Refused,
        ("taken", _) => SlotReply::Taken,
        ("home", path) => SlotReply::NoHome(path.to_owned()),
        _ => return None,
    })
}

/// Describes the holder from `<pid> <label>`; without a process only its command is still running. Any program of the
/// same login may have written it.
fn describe_holder(text: &str) -> String {
    let (pid, label) = text.split_once(' ').unwrap_or(("", text));
    let label = crate::server::script::one_line(label);
    match pid {
        "" => format!("{label} (its connection is gone, its command is still running)"),
        pid => format!("{label} (process {pid} on the server)"),
    }
}
