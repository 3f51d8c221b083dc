//! Disables our lock timeout for a client's statements that wait for other transactions by design, and restores it
//! before the next statement of another kind.
//!
//! Both are queries of the proxy in the client's session. The server responds in order, so the proxy can recognize
//! the responses to its own queries, and the client never receives them. A lock timeout that the client has set
//! itself stays.
//!
//! In the same way, the settings of a session behind a pooler are set before the client's first statement.

use super::{
    held_statement::HeldStatement,
    lock_timeout_sql::{disable_sql, restore_sql},
};
use crate::postgres::{
    FramePart, MessageFramer, backend_messages as backend,
    client_requests::ClientRequests,
    frontend_messages as frontend,
    wire_format::{encode_header, encode_message},
};
use std::{borrow::Cow, collections::VecDeque, time::Duration};

/// The lock timeout of one session, and the state of its messages in both directions.
#[derive(Debug)]
pub(crate) struct LockTimeoutSwitch {
    /// The lock timeout since the start of the session; none if there is nothing to disable.
    limit: Option<Duration>,
    is_disabled: bool,
    /// The statements that set the session's settings, until they are sent.
    opening: Vec<String>,
    /// Messages of the client.
    client_frames: MessageFramer,
    /// The beginning of a statement whose form is not known yet.
    held: Option<HeldStatement>,
    client_requests: ClientRequests,
    /// Messages of the server.
    server_frames: MessageFramer,
    server_kind: u8,
    is_dropped: bool,
    /// The transaction status in the last `ReadyForQuery`; none before the first.
    status: Option<u8>,
    pending: VecDeque<QueryOrigin>,
    /// Set while the server's bytes are reassembled without the responses to the proxy's queries.
    is_rewriting: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QueryOrigin {
    Client,
    Proxy,
}

impl LockTimeoutSwitch {
    /// Starts with a session that has this lock timeout.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit: Some(limit).filter(|limit| !limit.is_zero()), ..Self::inactive() }
    }

    /// Sends these statements before the client's first one.
    pub(crate) fn with_opening(self, opening: Vec<String>) -> Self {
        Self { opening, ..self }
    }

    /// Leaves a session alone.
    pub(crate) fn inactive() -> Self {
        Self {
            limit: None,
            is_disabled: false,
            opening: Vec::new(),
            client_frames: MessageFramer::new(),
            held: None,
            client_requests: ClientRequests::new(),
            server_frames: MessageFramer::new(),
            server_kind: 0,
            is_dropped: false,
            status: None,
            pending: VecDeque::new(),
            is_rewriting: false,
        }
    }

    /// Takes bytes from the client and returns those to send to the server, with our own query before them if one is
    /// needed.
    pub(crate) fn pass_to_server<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.limit.is_none() && self.opening.is_empty() && self.held.is_none() {
            return Cow::Borrowed(bytes);
        }
        let (mut out, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
        while let Some(step) = self.client_frames.next_part(&mut rest) {
            match step {
                FramePart::Header(kind, length) => self.begin_client_message(kind, length, &mut out),
                FramePart::Body(chunk) | FramePart::BodyEnd(chunk) if self.held.is_none() => {
                    out.extend_from_slice(chunk);
                }
                FramePart::Body(chunk) => self.hold_back(chunk, &mut out),
                FramePart::BodyEnd(chunk) => {
                    self.hold_back(chunk, &mut out);
                    self.release_held(&mut out);
                }
                FramePart::Invalid => {
                    // The bytes can't be parsed any more, so the rest goes to the server as it came.
                    (self.limit, self.opening) = (None, Vec::new());
                    out.extend_from_slice(rest);
                    break;
                }
            }
        }
        Cow::Owned(out)
    }

    /// Returns the held-back beginning of a statement that never ended.
    pub(crate) fn take_held(&mut self) -> Vec<u8> {
        self.held.take().map(HeldStatement::into_bytes).unwrap_or_default()
    }

    fn begin_client_message(&mut self, kind: u8, length: usize, out: &mut Vec<u8>) {
        if matches!(kind, frontend::QUERY | frontend::PARSE)
            && !self.client_requests.is_group_open()
            && (self.is_disabled || self.is_idle())
        {
            self.held = Some(HeldStatement::new(kind, length));
            return;
        }
        self.record_client_message(kind);
        out.extend(encode_header(kind, length));
    }

    /// Reports whether no request of the client is pending, and no transaction is open.
    fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.status == Some(backend::IDLE)
    }

    /// Records a message of the client that goes to the server.
    fn record_client_message(&mut self, kind: u8) {
        if self.client_requests.begin_message(kind).is_some() {
            self.pending.push_back(QueryOrigin::Client);
        }
    }

    fn hold_back(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let Some(statement) = &mut self.held else { return };
        statement.push_bytes(chunk);
        if statement.is_decided() {
            self.release_held(out);
        }
    }

    /// Sends the held-back statement, with a query of our own before it if one is needed.
    fn release_held(&mut self, out: &mut Vec<u8>) {
        let Some(statement) = self.held.take() else { return };
        // In the middle of a message from the server, the response to our query could not be removed.
        if self.server_frames.is_at_boundary() && (self.is_disabled || self.is_idle()) {
            let mut queries = std::mem::take(&mut self.opening);
            let waits_long = statement.waits_for_transactions();
            if let Some(limit) = self.limit.filter(|_| waits_long != self.is_disabled) {
                queries.push(if waits_long { disable_sql(limit) } else { restore_sql(limit) });
                self.is_disabled = waits_long;
            }
            for query in queries {
                out.extend(encode_message(frontend::QUERY, format!("{query}\0").as_bytes()));
                self.pending.push_back(QueryOrigin::Proxy);
                self.is_rewriting = true;
            }
        }
        self.record_client_message(statement.kind());
        out.extend(statement.into_bytes());
    }

    /// Takes bytes from the server and returns those to send to the client.
    pub(crate) fn pass_to_client<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.limit.is_none() && self.opening.is_empty() && !self.is_rewriting {
            return Cow::Borrowed(bytes);
        }
        let (mut out, mut rest) = (Vec::new(), bytes);
        while let Some(step) = self.server_frames.next_part(&mut rest) {
            match step {
                FramePart::Header(kind, length) => {
                    self.server_kind = kind;
                    if kind == backend::COPY_IN_RESPONSE {
                        self.client_requests.expect_copy_rows();
                    }
                    self.is_dropped =
                        self.pending.front() == Some(&QueryOrigin::Proxy) && backend::RESPONSE_TYPES.contains(&kind);
                    if !self.is_dropped {
                        out.extend(encode_header(kind, length));
                    }
                }
                FramePart::Body(chunk) => self.take_server_body(chunk, &mut out),
                FramePart::BodyEnd(chunk) => {
                    self.take_server_body(chunk, &mut out);
                    if self.server_kind == backend::READY_FOR_QUERY {
                        self.pending.pop_front();
                    }
                }
                FramePart::Invalid => {
                    self.limit = None;
                    out.extend_from_slice(rest);
                    break;
                }
            }
        }
        if self.is_rewriting {
            // A message that has begun to be reassembled must be finished before bytes pass unchanged again.
            self.is_rewriting = self.pending.contains(&QueryOrigin::Proxy) || !self.server_frames.is_at_boundary();
            return Cow::Owned(out);
        }
        Cow::Borrowed(bytes)
    }

    fn take_server_body(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        if self.server_kind == backend::READY_FOR_QUERY {
            self.status = backend::transaction_status(chunk).or(self.status);
        }
        if !self.is_dropped {
            out.extend_from_slice(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::{fuzzing::cut_into_chunks, test_messages::chunk_lengths};
    use proptest::prelude::*;

    const LIMIT: Duration = Duration::from_millis(100);

    fn query(text: &str) -> Vec<u8> {
        encode_message(b'Q', format!("{text}\0").as_bytes())
    }

    fn prepare(text: &str) -> Vec<u8> {
        encode_message(b'P', format!("name\0{text}\0\0\0").as_bytes())
    }

    fn ready(status: &[u8]) -> Vec<u8> {
        encode_message(b'Z', status)
    }

    fn query_response() -> Vec<u8> {
        [encode_message(b'T', b"columns"), encode_message(b'D', b"row"), encode_message(b'C', b"SELECT 1\0")].concat()
    }

    /// A session in which the server is ready for the first query.
    fn session() -> LockTimeoutSwitch {
        let mut switch = LockTimeoutSwitch::new(LIMIT);
        let greeting = [encode_message(b'R', &[0; 4]), encode_message(b'K', &[0; 8]), ready(b"I")].concat();
        assert_eq!(
            switch.pass_to_server(&encode_message(b'p', b"secret")).into_owned(),
            encode_message(b'p', b"secret")
        );
        assert_eq!(switch.pass_to_client(&greeting).into_owned(), greeting);
        switch
    }

    const BUILD: &str = "CREATE INDEX CONCURRENTLY i ON t (x)";

    #[test]
    fn statements_open_the_session_before_the_first_one_with_and_without_a_lock_timeout() {
        for limit in [LIMIT, Duration::ZERO] {
            let mut switch = LockTimeoutSwitch::new(limit).with_opening(vec!["SET a".to_owned(), "SET b".to_owned()]);
            let greeting = [encode_message(b'R', &[0; 4]), encode_message(b'K', &[0; 8]), ready(b"I")].concat();
            assert_eq!(switch.pass_to_client(&greeting).into_owned(), greeting);
            let sent = switch.pass_to_server(&query("SELECT 1")).into_owned();
            assert_eq!(sent, [query("SET a"), query("SET b"), query("SELECT 1")].concat());
            let set = [encode_message(b'C', b"DO\0"), ready(b"I")].concat();
            let response = [query_response(), ready(b"I")].concat();
            let received = [set.clone(), set, response.clone()].concat();
            assert_eq!(switch.pass_to_client(&received).into_owned(), response);
            assert_eq!(switch.pass_to_server(&query("SELECT 2")).into_owned(), query("SELECT 2"));
            assert_eq!(switch.pass_to_client(&response).into_owned(), response);
        }
    }

    #[test]
    fn disables_the_timeout_for_an_index_build_and_restores_it_before_the_next_statement() {
        let mut switch = session();
        assert_eq!(
            switch.pass_to_server(&query(BUILD)).into_owned(),
            [query(&disable_sql(LIMIT)), query(BUILD)].concat()
        );
        let built = [encode_message(b'C', b"CREATE INDEX\0"), ready(b"I")].concat();
        let received = [query_response(), ready(b"I"), built.clone()].concat();
        assert_eq!(switch.pass_to_client(&received).into_owned(), built);
        assert_eq!(switch.pass_to_server(&query(BUILD)).into_owned(), query(BUILD), "it still is lifted");
        assert_eq!(switch.pass_to_client(&built).into_owned(), built);
        let next = [query("SELECT 1"), query("SELECT 2")].concat();
        assert_eq!(switch.pass_to_server(&next).into_owned(), [query(&restore_sql(LIMIT)), next.clone()].concat());
        let responses = [query_response(), ready(b"I"), query_response(), ready(b"I")].concat();
        assert_eq!(
            switch.pass_to_client(&[query_response(), ready(b"I"), responses.clone()].concat()).into_owned(),
            responses
        );
    }

    #[test]
    fn disables_the_timeout_for_a_prepared_statement_until_it_has_run() {
        let mut switch = session();
        let prepared = [prepare(BUILD), encode_message(b'D', b"S"), encode_message(b'S', b"")].concat();
        assert_eq!(
            switch.pass_to_server(&prepared).into_owned(),
            [query(&disable_sql(LIMIT)), prepared.clone()].concat()
        );
        let parsed = [encode_message(b'1', b""), encode_message(b'n', b""), ready(b"I")].concat();
        assert_eq!(
            switch.pass_to_client(&[query_response(), ready(b"I"), parsed.clone()].concat()).into_owned(),
            parsed
        );
        let run = [encode_message(b'B', b"name"), encode_message(b'E', b""), encode_message(b'S', b"")].concat();
        assert_eq!(switch.pass_to_server(&run).into_owned(), run);
        let done = [encode_message(b'2', b""), encode_message(b'C', b"CREATE INDEX\0"), ready(b"I")].concat();
        assert_eq!(switch.pass_to_client(&done).into_owned(), done);
    }

    #[test]
    fn passes_messages_for_the_client_meanwhile() {
        let notice = encode_message(b'N', b"a notice");
        let built = [encode_message(b'C', b"CREATE INDEX\0"), ready(b"I")].concat();
        let received = [query_response(), notice.clone(), ready(b"I"), built.clone()].concat();
        for cut in 1..received.len() {
            let mut switch = session();
            drop(switch.pass_to_server(&query(BUILD)));
            let (first, second) = received.split_at(cut);
            let passed =
                [switch.pass_to_client(first).into_owned(), switch.pass_to_client(second).into_owned()].concat();
            assert_eq!(passed, [notice.clone(), built.clone()].concat(), "{cut}");
        }
    }

    #[test]
    fn sends_no_query_while_a_request_of_the_client_is_pending() {
        let mut switch = session();
        let both = [query("SELECT 1"), query(BUILD)].concat();
        assert_eq!(switch.pass_to_server(&both).into_owned(), both);
        let mut switch = session();
        let open = [prepare("SELECT 1"), encode_message(b'H', b"")].concat();
        assert_eq!(switch.pass_to_server(&open).into_owned(), open);
        assert_eq!(switch.pass_to_server(&prepare(BUILD)).into_owned(), prepare(BUILD), "there is no Sync yet");
        let mut switch = session();
        drop(switch.pass_to_server(&query("BEGIN")));
        drop(switch.pass_to_client(&[encode_message(b'C', b"BEGIN\0"), ready(b"T")].concat()));
        assert_eq!(switch.pass_to_server(&query(BUILD)).into_owned(), query(BUILD), "it fails in a transaction anyway");
    }

    #[test]
    fn restores_the_timeout_even_while_a_request_of_the_client_is_pending() {
        let mut switch = session();
        drop(switch.pass_to_server(&query(BUILD)));
        let built = [encode_message(b'C', b"CREATE INDEX\0"), ready(b"I")].concat();
        drop(switch.pass_to_client(&[query_response(), ready(b"I"), built].concat()));
        let closed = [encode_message(b'C', b"Sname\0"), encode_message(b'S', b"")].concat();
        assert_eq!(switch.pass_to_server(&closed).into_owned(), closed);
        assert_eq!(
            switch.pass_to_server(&query("SELECT 1")).into_owned(),
            [query(&restore_sql(LIMIT)), query("SELECT 1")].concat()
        );
        let close = [encode_message(b'3', b""), ready(b"I")].concat();
        let response = [query_response(), ready(b"I")].concat();
        let passed = switch
            .pass_to_client(&[close.clone(), query_response(), ready(b"I"), response.clone()].concat())
            .into_owned();
        assert_eq!(passed, [close, response].concat());
    }

    #[test]
    fn the_rows_of_a_copy_have_one_response_despite_two_syncs() {
        let mut switch = session();
        drop(switch.pass_to_server(
            &[prepare("COPY t FROM STDIN"), encode_message(b'E', b""), encode_message(b'S', b"")].concat(),
        ));
        drop(switch.pass_to_client(&encode_message(b'G', b"")));
        drop(switch.pass_to_server(
            &[encode_message(b'd', b"1"), encode_message(b'c', b""), encode_message(b'S', b"")].concat(),
        ));
        drop(switch.pass_to_client(&[encode_message(b'C', b"COPY 1\0"), ready(b"I")].concat()));
        assert_eq!(
            switch.pass_to_server(&query(BUILD)).into_owned(),
            [query(&disable_sql(LIMIT)), query(BUILD)].concat()
        );
    }

    #[test]
    fn does_nothing_without_a_timeout() {
        for mut switch in [LockTimeoutSwitch::new(Duration::ZERO), LockTimeoutSwitch::inactive()] {
            drop(switch.pass_to_client(&ready(b"I")));
            assert_eq!(switch.pass_to_server(&query(BUILD)).into_owned(), query(BUILD));
        }
    }

    #[test]
    fn releases_an_incomplete_statement_at_the_end() {
        let mut switch = session();
        let message = query("SELECT 1");
        let (part, _) = message.split_at(9);
        assert_eq!(switch.pass_to_server(part).into_owned(), b"");
        assert_eq!(switch.take_held(), part);
        assert_eq!(switch.take_held(), b"");
    }

    proptest! {
        #[test]
        fn passes_a_clients_messages_unchanged_for_any_split(
            texts in prop::collection::vec(("[QPBDESFXdcp]", "[a-z ]{0,20}|CREATE INDEX a"), 0..12),
            lengths in chunk_lengths(),
        ) {
            let messages = texts.iter().map(|(kind, text)| encode_message(kind.as_bytes()[0], format!("{text}\0").as_bytes()));
            let bytes = messages.collect::<Vec<_>>().concat();
            let (mut switch, mut out) = (session(), Vec::new());
            for chunk in cut_into_chunks(&bytes, &lengths) {
                out.extend_from_slice(&switch.pass_to_server(chunk));
            }
            out.extend(switch.take_held());
            prop_assert_eq!(out, bytes);
        }

        #[test]
        fn passes_a_servers_messages_unchanged_for_any_split(
            kinds in prop::collection::vec(("[TDCEIZNAS123]", prop::collection::vec(any::<u8>(), 0..30)), 0..12),
            lengths in chunk_lengths(),
        ) {
            let bytes = kinds.iter().map(|(kind, body)| encode_message(kind.as_bytes()[0], body)).collect::<Vec<_>>().concat();
            let (mut switch, mut out) = (session(), Vec::new());
            for chunk in cut_into_chunks(&bytes, &lengths) {
                out.extend_from_slice(&switch.pass_to_client(chunk));
            }
            prop_assert_eq!(out, bytes);
        }
    }
}
