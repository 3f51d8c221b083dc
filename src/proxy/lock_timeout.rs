//! Disables our lock timeout for a client's statements that wait for other transactions by design, and restores it
//! before the next statement of another kind.
//!
//! Both are queries of the proxy in the client's session. The server responds in order, so the proxy can recognize
//! the responses to its own queries, and the client never receives them. A lock timeout that the client has set
//! itself stays.

use super::startup_packet;
use crate::postgres::{Frames, Group, Rows, Step, framed, waits_for_others};
use std::{borrow::Cow, collections::VecDeque, time::Duration};

/// Bytes of a statement to hold back before its form is decided.
const ENOUGH: usize = 8 << 10;

/// Message types in the response to a query of the proxy; all other messages meanwhile are for the client.
const ANSWER: &[u8] = b"TDCEIZ";

/// Types of the extended protocol, whose messages form a group up to a Sync.
const EXTENDED: &[u8] = b"PBDECH";

/// The lock timeout of one session, and the state of its messages in both directions.
#[derive(Debug)]
pub(crate) struct Lift {
    /// The lock timeout since the start of the session; none if there is nothing to disable.
    limit: Option<Duration>,
    lifted: bool,
    /// Messages of the client.
    up: Frames,
    /// The beginning of a statement whose form is not known yet.
    held: Option<Held>,
    /// The type of the client's last message.
    before: u8,
    /// The group of messages sent without a Sync yet.
    group: Group,
    /// The rows of a COPY for which the server waits.
    rows: Rows,
    /// Messages of the server.
    down: Frames,
    said: u8,
    is_dropped: bool,
    /// The transaction status in the last `ReadyForQuery`; none before the first.
    status: Option<u8>,
    asked: VecDeque<Whose>,
    /// Set while the server's bytes are reassembled without the responses to the proxy's queries.
    rebuilds: bool,
}

#[derive(Debug)]
struct Held {
    kind: u8,
    length: usize,
    body: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Theirs,
    Ours,
}

impl Lift {
    /// Starts with a session that has this lock timeout.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit: Some(limit).filter(|limit| !limit.is_zero()), ..Self::off() }
    }

    /// Leaves a session alone.
    pub(crate) fn off() -> Self {
        Self {
            limit: None,
            lifted: false,
            up: Frames::new(),
            held: None,
            before: 0,
            group: Group::None,
            rows: Rows::None,
            down: Frames::new(),
            said: 0,
            is_dropped: false,
            status: None,
            asked: VecDeque::new(),
            rebuilds: false,
        }
    }

    /// Takes bytes from the client and returns those to send to the server, with our own query before them if one is
    /// needed.
    pub(crate) fn up<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(limit) = self.limit else { return Cow::Borrowed(bytes) };
        let (mut out, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
        while let Some(step) = self.up.next(&mut rest) {
            match step {
                Step::Begin(kind, length) => self.begin(kind, length, &mut out),
                Step::Piece(piece) | Step::Last(piece) if self.held.is_none() => out.extend_from_slice(piece),
                Step::Piece(piece) => self.hold(piece, limit, &mut out),
                Step::Last(piece) => {
                    self.hold(piece, limit, &mut out);
                    self.judge(limit, &mut out);
                }
                Step::Broken => {
                    // The bytes can't be parsed any more, so the rest goes to the server as it came.
                    self.limit = None;
                    out.extend_from_slice(rest);
                    break;
                }
            }
        }
        Cow::Owned(out)
    }

    /// Returns the held-back beginning of a statement that never ended.
    pub(crate) fn held(&mut self) -> Vec<u8> {
        self.held.take().map(|held| [header(held.kind, held.length), held.body].concat()).unwrap_or_default()
    }

    fn begin(&mut self, kind: u8, length: usize, out: &mut Vec<u8>) {
        if matches!(kind, b'Q' | b'P') && self.group == Group::None && (self.lifted || self.is_quiet()) {
            self.held = Some(Held { kind, length, body: Vec::new() });
            return;
        }
        self.passes(kind);
        out.extend(header(kind, length));
    }

    /// Reports whether no request of the client is pending, and no transaction is open.
    fn is_quiet(&self) -> bool {
        self.asked.is_empty() && self.status == Some(b'I')
    }

    /// Reports whether a Sync after this message is the second one of a COPY whose rows the server has waited for.
    fn has_rows_behind(&self, before: u8) -> bool {
        self.rows == Rows::Awaited && self.group == Group::None && matches!(before, b'c' | b'f')
    }

    /// Records a message of the client that goes to the server.
    fn passes(&mut self, kind: u8) {
        let before = std::mem::replace(&mut self.before, kind);
        match kind {
            // The server ignores the Sync before the rows while it waits for them. Together with the one behind them it
            // gets one response (PostgreSQL, `CopyGetData`).
            b'S' if self.has_rows_behind(before) => self.rows = Rows::None,
            b'Q' | b'F' => self.asked.push_back(Whose::Theirs),
            b'S' => {
                self.asked.push_back(Whose::Theirs);
                self.group = Group::None;
            }
            kind if EXTENDED.contains(&kind) => self.group = Group::Begun,
            _ => {}
        }
    }

    fn hold(&mut self, piece: &[u8], limit: Duration, out: &mut Vec<u8>) {
        let Some(held) = &mut self.held else { return };
        held.body.extend_from_slice(piece);
        if held.body.len() >= ENOUGH {
            self.judge(limit, out);
        }
    }

    /// Sends the held-back statement, with a query of our own before it if one is needed.
    fn judge(&mut self, limit: Duration, out: &mut Vec<u8>) {
        let Some(Held { kind, length, body }) = self.held.take() else { return };
        let is_patient = statement(kind, &body).is_some_and(|text| waits_for_others(text).is_some());
        // In the middle of a message from the server, the response to our query could not be removed.
        let is_possible = self.down.is_between() && (self.lifted || self.is_quiet());
        if is_patient != self.lifted && is_possible {
            let query = if is_patient { lift(limit) } else { put_back(limit) };
            out.extend(framed(b'Q', format!("{query}\0").as_bytes()));
            self.asked.push_back(Whose::Ours);
            (self.lifted, self.rebuilds) = (is_patient, true);
        }
        self.passes(kind);
        out.extend(header(kind, length));
        out.extend(body);
    }

    /// Takes bytes from the server and returns those to send to the client.
    pub(crate) fn down<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.limit.is_none() && !self.rebuilds {
            return Cow::Borrowed(bytes);
        }
        let (mut out, mut rest) = (Vec::new(), bytes);
        while let Some(step) = self.down.next(&mut rest) {
            match step {
                Step::Begin(kind, length) => {
                    self.said = kind;
                    if kind == b'G' {
                        self.rows = Rows::Awaited;
                    }
                    self.is_dropped = self.asked.front() == Some(&Whose::Ours) && ANSWER.contains(&kind);
                    if !self.is_dropped {
                        out.extend(header(kind, length));
                    }
                }
                Step::Piece(piece) => self.hear(piece, &mut out),
                Step::Last(piece) => {
                    self.hear(piece, &mut out);
                    if self.said == b'Z' {
                        self.asked.pop_front();
                    }
                }
                Step::Broken => {
                    self.limit = None;
                    out.extend_from_slice(rest);
                    break;
                }
            }
        }
        if self.rebuilds {
            // A message that has begun to be reassembled must be finished before bytes pass unchanged again.
            self.rebuilds = self.asked.contains(&Whose::Ours) || !self.down.is_between();
            return Cow::Owned(out);
        }
        Cow::Borrowed(bytes)
    }

    fn hear(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if self.said == b'Z' {
            self.status = piece.first().copied().or(self.status);
        }
        if !self.is_dropped {
            out.extend_from_slice(piece);
        }
    }
}

/// Returns the text of a query or of a statement to prepare.
fn statement(kind: u8, body: &[u8]) -> Option<&str> {
    let body = if kind == b'P' { startup_packet::text(body)?.1 } else { body };
    let text = body.split(|byte| *byte == 0).next()?;
    // A text cut within a character is read up to that character.
    match std::str::from_utf8(text) {
        Ok(text) => Some(text),
        Err(cut) => std::str::from_utf8(text.split_at_checked(cut.valid_up_to())?.0).ok(),
    }
}

/// Returns a query that disables our lock timeout and records in a setting that it did, so that a timeout that the
/// client has set itself is not overwritten later.
fn lift(limit: Duration) -> String {
    let millis = limit.as_millis();
    format!(
        "SELECT pg_catalog.set_config('lock_timeout', '0', false), pg_catalog.set_config('{LIFTED}', 'on', false) \
         WHERE pg_catalog.current_setting('lock_timeout')::pg_catalog.interval OPERATOR(pg_catalog.=) '{millis} ms'::pg_catalog.interval"
    )
}

fn put_back(limit: Duration) -> String {
    let millis = limit.as_millis();
    format!(
        "SELECT pg_catalog.set_config('lock_timeout', '{millis}', false), pg_catalog.set_config('{LIFTED}', 'off', false) \
         WHERE pg_catalog.current_setting('{LIFTED}', true) OPERATOR(pg_catalog.=) 'on'"
    )
}

/// Our own setting that records that the lock timeout is disabled.
const LIFTED: &str = "bastion_migrate.lifted";

fn header(kind: u8, length: usize) -> Vec<u8> {
    let length = u32::try_from(length + 4).unwrap_or(u32::MAX);
    [&[kind], length.to_be_bytes().as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: Duration = Duration::from_millis(100);

    fn query(text: &str) -> Vec<u8> {
        framed(b'Q', format!("{text}\0").as_bytes())
    }

    fn prepare(text: &str) -> Vec<u8> {
        framed(b'P', format!("name\0{text}\0\0\0").as_bytes())
    }

    fn ready(status: &[u8]) -> Vec<u8> {
        framed(b'Z', status)
    }

    fn answer() -> Vec<u8> {
        [framed(b'T', b"columns"), framed(b'D', b"row"), framed(b'C', b"SELECT 1\0")].concat()
    }

    /// A session in which the server is ready for the first query.
    fn session() -> Lift {
        let mut lift = Lift::new(LIMIT);
        let greeting = [framed(b'R', &[0; 4]), framed(b'K', &[0; 8]), ready(b"I")].concat();
        assert_eq!(lift.up(&framed(b'p', b"secret")).into_owned(), framed(b'p', b"secret"));
        assert_eq!(lift.down(&greeting).into_owned(), greeting);
        lift
    }

    const BUILD: &str = "CREATE INDEX CONCURRENTLY i ON t (x)";

    #[test]
    fn disables_the_timeout_for_an_index_build_and_restores_it_before_the_next_statement() {
        let mut lift = session();
        assert_eq!(lift.up(&query(BUILD)).into_owned(), [query(&super::lift(LIMIT)), query(BUILD)].concat());
        let built = [framed(b'C', b"CREATE INDEX\0"), ready(b"I")].concat();
        let said = [answer(), ready(b"I"), built.clone()].concat();
        assert_eq!(lift.down(&said).into_owned(), built);
        assert_eq!(lift.up(&query(BUILD)).into_owned(), query(BUILD), "it still is lifted");
        assert_eq!(lift.down(&built).into_owned(), built);
        let next = [query("SELECT 1"), query("SELECT 2")].concat();
        assert_eq!(lift.up(&next).into_owned(), [query(&put_back(LIMIT)), next.clone()].concat());
        let answered = [answer(), ready(b"I"), answer(), ready(b"I")].concat();
        assert_eq!(lift.down(&[answer(), ready(b"I"), answered.clone()].concat()).into_owned(), answered);
    }

    #[test]
    fn disables_the_timeout_for_a_prepared_statement_until_it_has_run() {
        let mut lift = session();
        let prepared = [prepare(BUILD), framed(b'D', b"S"), framed(b'S', b"")].concat();
        assert_eq!(lift.up(&prepared).into_owned(), [query(&super::lift(LIMIT)), prepared.clone()].concat());
        let parsed = [framed(b'1', b""), framed(b'n', b""), ready(b"I")].concat();
        assert_eq!(lift.down(&[answer(), ready(b"I"), parsed.clone()].concat()).into_owned(), parsed);
        let run = [framed(b'B', b"name"), framed(b'E', b""), framed(b'S', b"")].concat();
        assert_eq!(lift.up(&run).into_owned(), run);
        let done = [framed(b'2', b""), framed(b'C', b"CREATE INDEX\0"), ready(b"I")].concat();
        assert_eq!(lift.down(&done).into_owned(), done);
    }

    #[test]
    fn passes_messages_for_the_client_meanwhile() {
        let mut lift = session();
        drop(lift.up(&query(BUILD)));
        let notice = framed(b'N', b"a notice");
        let built = [framed(b'C', b"CREATE INDEX\0"), ready(b"I")].concat();
        let said = [answer(), notice.clone(), ready(b"I"), built.clone()].concat();
        for cut in 1..said.len() {
            let mut lift = session();
            drop(lift.up(&query(BUILD)));
            let (one, other) = said.split_at(cut);
            let heard = [lift.down(one).into_owned(), lift.down(other).into_owned()].concat();
            assert_eq!(heard, [notice.clone(), built.clone()].concat(), "{cut}");
        }
    }

    #[test]
    fn sends_no_query_while_a_request_of_the_client_is_pending() {
        let mut lift = session();
        let both = [query("SELECT 1"), query(BUILD)].concat();
        assert_eq!(lift.up(&both).into_owned(), both);
        let mut lift = session();
        let open = [prepare("SELECT 1"), framed(b'H', b"")].concat();
        assert_eq!(lift.up(&open).into_owned(), open);
        assert_eq!(lift.up(&prepare(BUILD)).into_owned(), prepare(BUILD), "there is no Sync yet");
        let mut lift = session();
        drop(lift.up(&query("BEGIN")));
        drop(lift.down(&[framed(b'C', b"BEGIN\0"), ready(b"T")].concat()));
        assert_eq!(lift.up(&query(BUILD)).into_owned(), query(BUILD), "it fails in a transaction anyway");
    }

    #[test]
    fn restores_the_timeout_even_while_a_request_of_the_client_is_pending() {
        let mut lift = session();
        drop(lift.up(&query(BUILD)));
        let built = [framed(b'C', b"CREATE INDEX\0"), ready(b"I")].concat();
        drop(lift.down(&[answer(), ready(b"I"), built].concat()));
        let closed = [framed(b'C', b"Sname\0"), framed(b'S', b"")].concat();
        assert_eq!(lift.up(&closed).into_owned(), closed);
        assert_eq!(lift.up(&query("SELECT 1")).into_owned(), [query(&put_back(LIMIT)), query("SELECT 1")].concat());
        let close = [framed(b'3', b""), ready(b"I")].concat();
        let one = [answer(), ready(b"I")].concat();
        let heard = lift.down(&[close.clone(), answer(), ready(b"I"), one.clone()].concat()).into_owned();
        assert_eq!(heard, [close, one].concat());
    }

    #[test]
    fn the_rows_of_a_copy_have_one_response_despite_two_syncs() {
        let mut lift = session();
        drop(lift.up(&[prepare("COPY t FROM STDIN"), framed(b'E', b""), framed(b'S', b"")].concat()));
        drop(lift.down(&framed(b'G', b"")));
        drop(lift.up(&[framed(b'd', b"1"), framed(b'c', b""), framed(b'S', b"")].concat()));
        drop(lift.down(&[framed(b'C', b"COPY 1\0"), ready(b"I")].concat()));
        assert_eq!(lift.up(&query(BUILD)).into_owned(), [query(&super::lift(LIMIT)), query(BUILD)].concat());
    }

    #[test]
    fn does_nothing_without_a_timeout() {
        for mut lift in [Lift::new(Duration::ZERO), Lift::off()] {
            drop(lift.down(&ready(b"I")));
            assert_eq!(lift.up(&query(BUILD)).into_owned(), query(BUILD));
        }
    }

    #[test]
    fn releases_an_incomplete_statement_at_the_end() {
        let mut lift = session();
        let whole = query("SELECT 1");
        let (part, _) = whole.split_at(9);
        assert_eq!(lift.up(part).into_owned(), b"");
        assert_eq!(lift.held(), part);
        assert_eq!(lift.held(), b"");
    }

    proptest! {
        #[test]
        fn passes_a_clients_messages_unchanged_for_any_split(
            texts in prop::collection::vec(("[QPBDESFXdcp]", "[a-z ]{0,20}|CREATE INDEX a"), 0..12),
            cuts in prop::collection::vec(1_usize..40, 1..30),
        ) {
            let messages = texts.iter().map(|(kind, text)| framed(kind.as_bytes()[0], format!("{text}\0").as_bytes()));
            let bytes = messages.collect::<Vec<_>>().concat();
            let (mut lift, mut rest, mut out) = (session(), bytes.as_slice(), Vec::new());
            for length in cuts.into_iter().cycle() {
                let (piece, after) = rest.split_at(length.min(rest.len()));
                out.extend_from_slice(&lift.up(piece));
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            out.extend(lift.held());
            prop_assert_eq!(out, bytes);
        }

        #[test]
        fn passes_a_servers_messages_unchanged_for_any_split(
            kinds in prop::collection::vec(("[TDCEIZNAS123]", prop::collection::vec(any::<u8>(), 0..30)), 0..12),
            cuts in prop::collection::vec(1_usize..40, 1..30),
        ) {
            let bytes = kinds.iter().map(|(kind, body)| framed(kind.as_bytes()[0], body)).collect::<Vec<_>>().concat();
            let (mut lift, mut rest, mut out) = (session(), bytes.as_slice(), Vec::new());
            for length in cuts.into_iter().cycle() {
                let (piece, after) = rest.split_at(length.min(rest.len()));
                out.extend_from_slice(&lift.down(piece));
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(out, bytes);
        }
    }
}
