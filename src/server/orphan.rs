//! The result of an earlier run that is still on the server.

use super::protocol::Heard;

/// An earlier run whose command ended after its connection was lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftover {
    /// Label of the run.
    pub label: String,
    /// Title of its command.
    pub title: String,
    /// Outcome of its command.
    pub fate: Fate,
    /// Last lines on standard output. Hostile text.
    pub out: Vec<String>,
    /// Last lines on standard error. Hostile text.
    pub err: Vec<String>,
}

/// The outcome of a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fate {
    /// Exited by itself, with this code.
    Finished(i64),
    /// Killed, or ended with the machine.
    Killed,
    /// Never started.
    #[default]
    NeverBegun,
}

/// Number of lines kept of each stream.
const KEPT: usize = 20;

/// Number of bytes that `enter.sh` reads of each stream: with as many as this, the first line is cut.
const READ: usize = 16_000;

/// Collects an orphaned run from the script's messages.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    found: Option<Leftover>,
    part: Option<String>,
    label: Vec<u8>,
    title: Vec<u8>,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Gathering {
    pub(super) fn take(&mut self, heard: Heard<'_>) {
        match heard {
            Heard::Word(word) => {
                if let Some(fate) = word.strip_prefix("left ") {
                    *self = Self {
                        found: Some(Leftover { fate: fate_of(fate), ..Leftover::default() }),
                        ..Self::default()
                    };
                }
                self.part = word.strip_prefix("part ").map(ToOwned::to_owned);
            }
            Heard::Raw(raw) => match self.part.as_deref() {
                Some("label") => self.label.extend_from_slice(raw),
                Some("title") => self.title.extend_from_slice(raw),
                Some("out") => self.out.extend_from_slice(raw),
                Some("err") => self.err.extend_from_slice(raw),
                Some(_) | None => {}
            },
        }
    }

    pub(super) fn end(self) -> Option<Leftover> {
        let line = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let (label, title, out, err) = (line(&self.label), line(&self.title), last(&self.out), last(&self.err));
        self.found.map(|found| Leftover { label, title, out, err, ..found })
    }
}

fn fate_of(words: &str) -> Fate {
    match words.split_once(' ') {
        Some(("finished", code)) => code.parse().map_or(Fate::Killed, Fate::Finished),
        _ if words == "never" => Fate::NeverBegun,
        _ => Fate::Killed,
    }
}

fn last(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    // The rest of a cut line may begin with half a secret.
    let text = if bytes.len() < READ { &text } else { text.split_once('\n').map_or("", |(_, whole)| whole) };
    let lines: Vec<&str> = text.split(['\n', '\r']).filter(|line| !line.is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(KEPT)).map(|line| (*line).to_owned()).collect()
}
