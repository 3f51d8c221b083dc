//! The result of an earlier run that is still on the server.

use super::protocol::ScriptFrame;

/// An earlier run whose command ended after its connection was lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrphanedRun {
    /// Label of the run.
    pub label: String,
    /// Title of its command.
    pub title: String,
    /// Outcome of its command.
    pub outcome: OrphanOutcome,
    /// Last lines on standard output. Hostile text.
    pub out: Vec<String>,
    /// Last lines on standard error. Hostile text.
    pub err: Vec<String>,
}

/// The outcome of a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OrphanOutcome {
    /// Exited by itself, with this code.
    Exited(i64),
    /// Killed, or ended with the machine.
    Killed,
    /// Never started.
    #[default]
    NeverStarted,
}

/// Number of lines kept of each stream.
const KEPT_LINES: usize = 20;

/// Number of bytes that `enter.sh` reads of each stream: with as many as this, the first line is cut.
const TAIL_BYTES: usize = 16_000;

/// Collects an orphaned run from the script's messages.
#[derive(Debug, Default)]
pub(super) struct OrphanCollector {
    found: Option<OrphanedRun>,
    part: Option<String>,
    label: Vec<u8>,
    title: Vec<u8>,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl OrphanCollector {
    pub(super) fn receive_frame(&mut self, frame: ScriptFrame<'_>) {
        match frame {
            ScriptFrame::Control(message) => {
                if let Some(outcome) = message.strip_prefix("left ") {
                    *self = Self {
                        found: Some(OrphanedRun { outcome: parse_outcome(outcome), ..OrphanedRun::default() }),
                        ..Self::default()
                    };
                }
                self.part = message.strip_prefix("part ").map(ToOwned::to_owned);
            }
            ScriptFrame::Raw(raw) => match self.part.as_deref() {
                Some("label") => self.label.extend_from_slice(raw),
                Some("title") => self.title.extend_from_slice(raw),
                Some("out") => self.out.extend_from_slice(raw),
                Some("err") => self.err.extend_from_slice(raw),
                Some(_) | None => {}
            },
        }
    }

    pub(super) fn into_orphan(self) -> Option<OrphanedRun> {
        let line = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let (label, title, out, err) =
            (line(&self.label), line(&self.title), last_lines(&self.out), last_lines(&self.err));
        self.found.map(|found| OrphanedRun { label, title, out, err, ..found })
    }
}

fn parse_outcome(text: &str) -> OrphanOutcome {
    match text.split_once(' ') {
        Some(("finished", code)) => code.parse().map_or(OrphanOutcome::Killed, OrphanOutcome::Exited),
        _ if text == "never" => OrphanOutcome::NeverStarted,
        _ => OrphanOutcome::Killed,
    }
}

fn last_lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    // The rest of a cut line may begin with half a secret.
    let text =
        if bytes.len() < TAIL_BYTES { &text } else { text.split_once('\n').map_or("", |(_, complete)| complete) };
    let lines: Vec<&str> = text.split(['\n', '\r']).filter(|line| !line.is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(KEPT_LINES)).map(|line| (*line).to_owned()).collect()
}
