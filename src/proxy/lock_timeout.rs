//! Lifts our limit on waits for locks from a client's statements that wait for others by what they are, and puts it back before
//! the next statement of another kind.
//!
//! Both are queries of our own in the client's session. The server answers in order, so it is known which answer is ours: the
//! client never sees it. A limit that the client has set itself stays.

use super::startup_packet;
use crate::postgres::{Frames, Group, Rows, Step, framed, waits_for_others};
use std::{borrow::Cow, collections::VecDeque, time::Duration};

/// So much of a statement is waited for before it is judged.
const ENOUGH: usize = 8 << 10;

/// What a server answers a query of ours with; everything else that comes meanwhile is for the client.
const ANSWER: &[u8] = b"TDCEIZ";

/// What belongs together up to a Sync.
const EXTENDED: &[u8] = b"PBDECH";

/// One session, both ways.
#[derive(Debug)]
pub(crate) struct Lift {
    /// In the session from its start; none where there is nothing to lift.
    limit: Option<Duration>,
    lifted: bool,
    /// What the client says.
    up: Frames,
    /// The beginning of a statement, while it is not known what it is.
    held: Option<Held>,
    /// The kind of the client's last message.
    before: u8,
    /// Whether messages are on their way that have no Sync behind them yet.
    group: Group,
    /// Whether the server waits for the rows of a COPY.
    rows: Rows,
    /// What the server says.
    down: Frames,
    said: u8,
    is_dropped: bool,
    /// The state of the transaction, once the server is ready for the first query.
    status: Option<u8>,
    asked: VecDeque<Whose>,
    /// Whether what the server says is put together anew.
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
    /// Of a session that has this limit from its start.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit: Some(limit).filter(|limit| !limit.is_zero()), ..Self::off() }
    }

    /// Of a session that is not ours to look at.
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

    /// What passes to the server of this, with what is ours before it.
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
                    // What this is nobody knows, nor what of it has been taken: it goes to the server as it came.
                    self.limit = None;
                    out.extend_from_slice(rest);
                    break;
                }
            }
        }
        Cow::Owned(out)
    }

    /// What was held back of a statement that has not come to its end.
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

    /// Whether nothing of the client's is on its way, and no transaction has begun.
    fn is_quiet(&self) -> bool {
        self.asked.is_empty() && self.status == Some(b'I')
    }

    /// Whether a Sync that follows this message is the second one of a COPY whose rows the server has waited for.
    fn has_rows_behind(&self, before: u8) -> bool {
        self.rows == Rows::Awaited && self.group == Group::None && matches!(before, b'c' | b'f')
    }

    /// A message of the client's goes to the server.
    fn passes(&mut self, kind: u8) {
        let before = std::mem::replace(&mut self.before, kind);
        match kind {
            // One was sent before the rows, which the server passes over while it waits for them, and one behind them: both
            // have one answer (PostgreSQL, `CopyGetData`).
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

    /// Lets go what was held back, behind a query of ours if it takes one.
    fn judge(&mut self, limit: Duration, out: &mut Vec<u8>) {
        let Some(Held { kind, length, body }) = self.held.take() else { return };
        let is_patient = statement(kind, &body).is_some_and(|text| waits_for_others(text).is_some());
        // In the middle of a message nothing can be left out behind it.
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

    /// What passes to the client of this.
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
            // What was passed on as it came must not be put together again in the middle of a message.
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

/// The text of a query, or of one that is prepared.
fn statement(kind: u8, body: &[u8]) -> Option<&str> {
    let body = if kind == b'P' { startup_packet::text(body)?.1 } else { body };
    let text = body.split(|byte| *byte == 0).next()?;
    // Cut in the middle of a letter, it is read up to there.
    match std::str::from_utf8(text) {
        Ok(text) => Some(text),
        Err(cut) => std::str::from_utf8(text.split_at_checked(cut.valid_up_to())?.0).ok(),
    }
}

/// Notes that it has done something, so that a limit of the client's own is not put back over.
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

/// The setting of ours that says that the limit is lifted.
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
    fn the_limit_is_lifted_for_a_build_and_put_back_before_the_next_statement() {
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
    fn it_is_lifted_for_a_statement_that_is_prepared_until_it_has_run() {
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
    fn what_comes_for_the_client_meanwhile_is_passed_on() {
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
    fn nothing_is_asked_while_something_of_the_clients_is_on_its_way() {
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
    fn it_is_put_back_although_something_of_the_clients_is_on_its_way() {
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
    fn rows_of_a_copy_have_one_answer_however_many_syncs() {
        let mut lift = session();
        drop(lift.up(&[prepare("COPY t FROM STDIN"), framed(b'E', b""), framed(b'S', b"")].concat()));
        drop(lift.down(&framed(b'G', b"")));
        drop(lift.up(&[framed(b'd', b"1"), framed(b'c', b""), framed(b'S', b"")].concat()));
        drop(lift.down(&[framed(b'C', b"COPY 1\0"), ready(b"I")].concat()));
        assert_eq!(lift.up(&query(BUILD)).into_owned(), [query(&super::lift(LIMIT)), query(BUILD)].concat());
    }

    #[test]
    fn without_a_limit_there_is_nothing_to_lift() {
        for mut lift in [Lift::new(Duration::ZERO), Lift::off()] {
            drop(lift.down(&ready(b"I")));
            assert_eq!(lift.up(&query(BUILD)).into_owned(), query(BUILD));
        }
    }

    #[test]
    fn a_statement_that_does_not_come_to_its_end_is_passed_on_as_far_as_it_came() {
        let mut lift = session();
        let whole = query("SELECT 1");
        let (part, _) = whole.split_at(9);
        assert_eq!(lift.up(part).into_owned(), b"");
        assert_eq!(lift.held(), part);
        assert_eq!(lift.held(), b"");
    }

    proptest! {
        #[test]
        fn whatever_a_client_says_passes_unchanged_however_it_is_cut(
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
        fn whatever_a_server_says_passes_unchanged_however_it_is_cut(
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
