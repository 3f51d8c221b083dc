//! What an earlier run left on the server.

use super::protocol::Heard;

/// An earlier run that nobody was there for when it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftover {
    /// Whose it was.
    pub label: String,
    /// What it ran.
    pub title: String,
    /// What became of it.
    pub fate: Fate,
    /// Its last lines on standard output. Hostile text.
    pub out: Vec<String>,
    /// Its last lines on standard error. Hostile text.
    pub err: Vec<String>,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fate {
    /// It ended by itself, with this code.
    Finished(i64),
    /// It was killed, or ended with the machine.
    Killed,
    /// It never began.
    #[default]
    NeverBegun,
}

/// Lines of each stream.
const KEPT: usize = 20;

/// How much of each stream is read, in bytes (`enter.sh`): with so much its first line has lost its beginning.
const READ: usize = 16_000;

/// Gathers it from what the script says.
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
    // What is left of a cut line may begin with half a secret.
    let text = if bytes.len() < READ { &text } else { text.split_once('\n').map_or("", |(_, whole)| whole) };
    let lines: Vec<&str> = text.split(['\n', '\r']).filter(|line| !line.is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(KEPT)).map(|line| (*line).to_owned()).collect()
}
