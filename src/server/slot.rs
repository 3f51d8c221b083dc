//! Takes the slot, by starting a process on the server that holds it for as long as the connection lives.

use super::{
    fault,
    orphan::{Gathering, Leftover},
    protocol::{Heard, Reply},
    request::{self, Call},
};
use crate::{
    fault::{Code, Fault},
    run::event::{Event, Events},
    ssh::{Process, Tunnel},
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

/// Number of bytes kept of the output that precedes our script.
const NOISE: usize = 2 << 10;

/// Time limit for the first message: a login's start-up files take less. A forced command may read our script and never
/// reply.
const FIRST_WORD: Duration = Duration::from_secs(20);

/// Time limit for the next message: the script sends one each second.
const NEXT_WORD: Duration = Duration::from_secs(60);

/// The script's final message.
enum Answer {
    Entered,
    Refused,
    Taken,
    NoHome(String),
}

/// Takes the slot; the waiting is done by the script on the server.
pub(super) async fn enter(tunnel: &Tunnel, call: &Call, events: &Events) -> Result<(Process, Option<Leftover>), Fault> {
    let mut holder = tunnel.exec(request::LINE).await?;
    let text = call.text(&[include_str!("script/enter.sh")]);
    // Its standard input stays open: closing it ends the holder. A failed write shows in the reads below.
    drop(holder.stdio.write_all(text.as_bytes()).await);
    let mut reply = Reply::new(&call.token);
    let (mut gathering, mut by, mut answer) = (Gathering::default(), String::new(), None);
    let (mut noise, mut words) = (Vec::new(), 0_usize);
    let mut bytes = vec![0; 4 << 10];
    while answer.is_none() {
        let patience = if words == 0 { FIRST_WORD } else { NEXT_WORD };
        let Ok(read) = timeout(patience, holder.stdio.read(&mut bytes)).await else { break };
        let count = read.unwrap_or_default();
        reply.take(bytes.get(..count).unwrap_or_default(), |heard| {
            gathering.take(heard);
            match heard {
                Heard::Word(word) => {
                    words += 1;
                    answer = answer_of(word).or(answer.take());
                    if let Some(held) = word.strip_prefix("held ") {
                        by = holder_of(held);
                        events.tell(Event::Waiting { what: "the run on the server".to_owned(), why: by.clone() });
                    }
                }
                Heard::Raw(raw) if words == 0 && noise.len() < NOISE => noise.extend_from_slice(raw),
                Heard::Raw(_) => {}
            }
        });
        if count == 0 {
            break;
        }
    }
    match answer {
        Some(Answer::Entered) => Ok((holder, gathering.end())),
        Some(Answer::Refused) => {
            let cause = format!("another run is using this directory on the server: {by}");
            let fix = "wait for the other run, or raise `lock-wait`; if its job no longer exists, end that process on the server";
            Err(Fault::new(Code::LockHeld, cause).fix(fix))
        }
        Some(Answer::Taken) => Err(fault::taken()),
        Some(Answer::NoHome(place)) => Err(fault::home(&place)),
        None => Err(silence(tunnel, holder, words, noise).await),
    }
}

/// Explains why no message came.
async fn silence(tunnel: &Tunnel, mut holder: Process, words: usize, mut noise: Vec<u8>) -> Fault {
    if let Some(fault) = tunnel.check() {
        return fault;
    }
    if words > 0 {
        return Fault::new(Code::BastionLost, "the process that waits for the slot on the server was ended there");
    }
    if noise.is_empty() {
        let mut said = Vec::new();
        let mut errors = (&mut holder.stderr).take(u64::try_from(NOISE).unwrap_or(u64::MAX));
        // A stream that stays open sends nothing more.
        drop(timeout(Duration::from_secs(1), errors.read_to_end(&mut said)).await);
        noise = said;
    }
    tunnel.check().unwrap_or_else(|| fault::no_shell(&noise))
}

fn answer_of(word: &str) -> Option<Answer> {
    Some(match word.split_once(' ').unwrap_or((word, "")) {
        ("entered", _) => Answer::Entered,
        ("refused", _) => Answer::Refused,
        ("taken", _) => Answer::Taken,
        ("home", place) => Answer::NoHome(place.to_owned()),
        _ => return None,
    })
}

/// Describes the holder from `<pid> <label>`; without a process only its command is still running. Any program of the
/// same login may have written it.
fn holder_of(words: &str) -> String {
    let (pid, label) = words.split_once(' ').unwrap_or(("", words));
    let label = crate::server::script::one_line(label);
    match pid {
        "" => format!("{label} (its connection is gone, its command is still running)"),
        pid => format!("{label} (process {pid} on the server)"),
    }
}
