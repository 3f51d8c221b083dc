//! Getting the slot, and with it a process on the server that holds it for as long as the connection lasts.

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

/// More of what is said before our script begins is not kept.
const NOISE: usize = 2 << 10;

/// A login's own start-up files take no longer. What is forced on a login may read our script and never say anything.
const FIRST_WORD: Duration = Duration::from_secs(20);

/// The script says something once a second.
const NEXT_WORD: Duration = Duration::from_secs(60);

/// What came of it.
enum Answer {
    Entered,
    Refused,
    Taken,
    NoHome(String),
}

/// Waits for the slot on the server itself.
pub(super) async fn enter(tunnel: &Tunnel, call: &Call, events: &Events) -> Result<(Process, Option<Leftover>), Fault> {
    let mut holder = tunnel.exec(request::LINE).await?;
    let text = call.text(&[include_str!("script/enter.sh")]);
    // Its standard input stays open: its end is the end of the holder. A pipe that is gone is heard of below.
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
            let cause = format!("another run works in this directory of the server: {by}");
            let fix = "wait for the other run, or raise `lock-wait`; if its job is gone without a word, end that process on the server";
            Err(Fault::new(Code::LockHeld, cause).fix(fix))
        }
        Some(Answer::Taken) => Err(fault::taken()),
        Some(Answer::NoHome(place)) => Err(fault::home(&place)),
        None => Err(silence(tunnel, holder, words, noise).await),
    }
}

/// Why nothing more is said.
async fn silence(tunnel: &Tunnel, mut holder: Process, words: usize, mut noise: Vec<u8>) -> Fault {
    if let Some(fault) = tunnel.check() {
        return fault;
    }
    if words > 0 {
        return Fault::new(Code::BastionLost, "the process that waits for our place on the server was ended there");
    }
    if noise.is_empty() {
        let mut said = Vec::new();
        let mut errors = (&mut holder.stderr).take(u64::try_from(NOISE).unwrap_or(u64::MAX));
        // What is still open says no more.
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

/// `<pid> <label>`; without a process it is only its work that goes on. Who wrote it may have been anybody with that login.
fn holder_of(words: &str) -> String {
    let (pid, label) = words.split_once(' ').unwrap_or(("", words));
    let label = crate::server::script::one_line(label);
    match pid {
        "" => format!("{label} (its connection is gone, its command still runs)"),
        pid => format!("{label} (process {pid} on the server)"),
    }
}
