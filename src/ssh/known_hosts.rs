//! The lines of `ssh-known-hosts`, and the hosts that they are for. Pure functions, in place of libssh2's own check, which
//! accepts a `@revoked` key and a negated pattern, and reports a mismatch for a host that is pinned by another key type.

use super::{
    glob::glob_matches,
    pin_mistake::{LineMistake, revocation_fault},
    route::Hop,
};
use crate::fault::Fault;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use ssh_key::known_hosts::{Entry, HostPatterns, Marker};

/// The lines of a `known_hosts` text.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownHosts {
    lines: Vec<PinnedLine>,
    /// The lines that pin nothing, with 1-based numbers.
    pub(super) mistakes: Vec<(usize, LineMistake)>,
}

/// A line with a key.
#[derive(Debug, Clone)]
pub(super) struct PinnedLine {
    /// 1-based.
    pub(super) number: usize,
    /// The key, in SSH's binary form.
    pub(super) key: Vec<u8>,
    entry: Entry,
}

impl KnownHosts {
    /// Parses all lines. An unreadable line does not make the others unreadable.
    ///
    /// # Errors
    /// `pin-invalid` for an unreadable revocation.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let mut known_hosts = Self::default();
        // A text that passed through JSON or a shell has its line breaks as two characters, which no line contains.
        let text = text.replace("\\r\\n", "\n").replace("\\n", "\n");
        for (number, line) in (1..).zip(text.lines()) {
            // A byte order mark is not a part of a host's name, nor are quotation marks.
            let line = line.replace('\u{feff}', " ");
            let line = line.trim().trim_matches(['"', '\'']).split_whitespace().collect::<Vec<_>>().join(" ");
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match parse_entry(&line) {
                Some(entry) => {
                    let key = public_key_bytes(&entry);
                    known_hosts.lines.push(PinnedLine { number, key, entry });
                }
                None if line.starts_with("@revoked") => return Err(revocation_fault(number)),
                None => known_hosts.mistakes.push((number, LineMistake::of(&line))),
            }
        }
        Ok(known_hosts)
    }

    /// Returns whether no line has a key.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns the unmarked lines for a hop. As in OpenSSH, a line without a port applies to another port only if no
    /// line has that port.
    pub(super) fn pins(&self, hop: &Hop) -> Vec<&PinnedLine> {
        let exact: Vec<&PinnedLine> =
            self.lines_for(hop, None).filter(|line| line.matches(hop, HostForm::WithPort)).collect();
        if exact.is_empty() { self.lines_for(hop, None).collect() } else { exact }
    }

    /// Returns the keys of the CAs whose certificates count for a hop. As in OpenSSH, lines with and without a port
    /// count together.
    pub(super) fn authorities(&self, hop: &Hop) -> Vec<&PinnedLine> {
        self.lines_for(hop, Some(Marker::CertAuthority)).collect()
    }

    /// Returns the keys that are revoked for a hop.
    pub(super) fn revoked(&self, hop: &Hop) -> Vec<&PinnedLine> {
        self.lines_for(hop, Some(Marker::Revoked)).collect()
    }

    /// Returns the number of the first unmarked line that has a key, for hosts other than the hop.
    pub(super) fn line_for_other_host(&self, hop: &Hop, key: &[u8]) -> Option<usize> {
        let found = self.lines.iter().filter(|line| line.entry.marker().is_none() && line.key == key);
        let mut others =
            found.filter(|line| !line.matches(hop, HostForm::WithPort) && !line.matches(hop, HostForm::HostOnly));
        others.next().map(|line| line.number)
    }

    fn lines_for(&self, hop: &Hop, marker: Option<Marker>) -> impl Iterator<Item = &PinnedLine> {
        self.lines
            .iter()
            .filter(move |line| line.entry.marker() == marker.as_ref())
            .filter(|line| line.matches(hop, HostForm::WithPort) || line.matches(hop, HostForm::HostOnly))
    }
}

/// The form of a hop's name in `known_hosts`.
#[derive(Clone, Copy)]
enum HostForm {
    /// `[host]:port`, or `host` if the port is 22.
    WithPort,
    /// `host` for every port.
    HostOnly,
}

/// Returns the name of a hop in a line of its own: `[host]:port`, or `host` if the port is 22.
pub(super) fn pinned_name(hop: &Hop) -> String {
    name_of(hop, HostForm::WithPort)
}

fn name_of(hop: &Hop, with: HostForm) -> String {
    let host = hop.host.to_ascii_lowercase();
    match with {
        HostForm::WithPort if hop.port != 22 => format!("[{host}]:{}", hop.port),
        HostForm::WithPort | HostForm::HostOnly => host,
    }
}

impl PinnedLine {
    fn matches(&self, hop: &Hop, with: HostForm) -> bool {
        let name = name_of(hop, with);
        match self.entry.host_patterns() {
            HostPatterns::Patterns(patterns) => {
                let matches = |pattern: &str| glob_matches(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes());
                let negated = patterns.iter().filter_map(|pattern| pattern.strip_prefix('!')).any(matches);
                !negated && patterns.iter().any(|pattern| matches(pattern))
            }
            HostPatterns::HashedName { salt, hash } => Hmac::<Sha1>::new_from_slice(salt)
                .is_ok_and(|hmac| hmac.chain_update(name.as_bytes()).verify_slice(hash).is_ok()),
        }
    }
}

/// Parses a line. The library ignores a wrong length before the bytes of a key, and then returns another key than the
/// one that was written.
fn parse_entry(line: &str) -> Option<Entry> {
    let entry: Entry = line.parse().ok()?;
    let is_written =
        line.split(' ').any(|word| STANDARD.decode(word).is_ok_and(|written| written == public_key_bytes(&entry)));
    is_written.then_some(entry)
}

fn public_key_bytes(entry: &Entry) -> Vec<u8> {
    entry.public_key().to_bytes().unwrap_or_default()
}
