//! The requests in a client's messages: the server completes each with one `ReadyForQuery` (PostgreSQL manual, 55.2).

use super::frontend_messages as frontend;

/// The protocol of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryProtocol {
    /// One message.
    Simple,
    /// A group of messages up to a `Sync`.
    Extended,
}

/// The position within the requests of one session.
#[derive(Debug)]
pub(crate) struct ClientRequests {
    /// The type of the last message; none before the first.
    last_type: Option<u8>,
    group: MessageGroup,
    copy_rows: CopyRows,
}

/// The state of a group of extended-protocol messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageGroup {
    Open,
    None,
}

/// The rows of a COPY that the client itself has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CopyRows {
    Awaited,
    None,
}

impl ClientRequests {
    /// Starts before the first message.
    pub(crate) fn new() -> Self {
        Self { last_type: None, group: MessageGroup::None, copy_rows: CopyRows::None }
    }

    /// Takes the type of the next message, and returns the protocol of the request that begins with it, if one does.
    pub(crate) fn begin_message(&mut self, kind: u8) -> Option<QueryProtocol> {
        let before = self.last_type.replace(kind);
        match kind {
            frontend::QUERY | frontend::FUNCTION_CALL => Some(QueryProtocol::Simple),
            frontend::SYNC if self.is_sync_after_rows(before) => {
                self.copy_rows = CopyRows::None;
                None
            }
            frontend::SYNC => {
                let request = self.open_group();
                self.group = MessageGroup::None;
                request
            }
            kind if frontend::EXTENDED_TYPES.contains(&kind) => self.open_group(),
            _ => None,
        }
    }

    /// Reports whether the next message may belong to the same request as the last one.
    pub(crate) fn is_group_open(&self) -> bool {
        self.group == MessageGroup::Open
    }

    /// Records that the server waits for the rows of a COPY.
    pub(crate) fn expect_copy_rows(&mut self) {
        self.copy_rows = CopyRows::Awaited;
    }

    /// Reports whether a Sync after this message is the second one of a COPY whose rows the server has waited for. The
    /// server ignores the Sync before the rows while it waits for them. Together with the one behind them it gets one
    /// response (PostgreSQL, `CopyGetData`).
    fn is_sync_after_rows(&self, before: Option<u8>) -> bool {
        self.copy_rows == CopyRows::Awaited
            && self.group == MessageGroup::None
            && matches!(before, Some(frontend::COPY_DONE | frontend::COPY_FAIL))
    }

    fn open_group(&mut self) -> Option<QueryProtocol> {
        let before = std::mem::replace(&mut self.group, MessageGroup::Open);
        (before == MessageGroup::None).then_some(QueryProtocol::Extended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the types of the messages that begin a request. The server responds to a `G` by waiting for rows.
    fn beginnings(kinds: &[u8]) -> Vec<u8> {
        let mut requests = ClientRequests::new();
        kinds
            .iter()
            .copied()
            .filter(|kind| match kind {
                b'G' => {
                    requests.expect_copy_rows();
                    false
                }
                kind => requests.begin_message(*kind).is_some(),
            })
            .collect()
    }

    #[test]
    fn a_query_is_a_request_and_so_is_each_group_up_to_a_sync() {
        assert_eq!(beginnings(b"QQPBDESPSSF"), b"QQPPSF");
        assert_eq!(beginnings(b"PQS"), b"PQ");
    }

    #[test]
    fn the_sync_behind_the_rows_of_a_copy_belongs_to_the_request_of_the_copy() {
        assert_eq!(beginnings(b"BESGddcSQ"), b"BQ");
        assert_eq!(beginnings(b"BESGfSS"), b"BS");
        assert_eq!(beginnings(b"BEGdcSS"), b"BS", "the rows came before the first Sync");
    }
}
