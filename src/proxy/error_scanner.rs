//! Finds the errors in a server's messages, and keeps nothing of the others.

use super::backend_event::{BackendEvent, MAX_KEPT};
use crate::postgres::{FramePart, MessageFramer, backend_messages::ERROR_RESPONSE};

/// The position within the messages of one session, and the beginning of an error.
#[derive(Debug)]
pub(crate) struct ErrorScanner {
    frames: MessageFramer,
    kind: u8,
    error: Vec<u8>,
}

impl ErrorScanner {
    /// Starts at the header of a message.
    pub(crate) fn new() -> Self {
        Self { frames: MessageFramer::new(), kind: 0, error: Vec::new() }
    }

    /// Reads through the bytes and reports errors. None if they are no messages.
    pub(crate) fn scan_messages(&mut self, bytes: &[u8], on_event: &mut impl FnMut(BackendEvent)) -> Option<()> {
        let mut rest = bytes;
        while let Some(step) = self.frames.next_part(&mut rest) {
            match step {
                FramePart::Header(kind, _) => self.kind = kind,
                FramePart::Body(chunk) if self.kind == ERROR_RESPONSE => self.append_error(chunk),
                FramePart::BodyEnd(chunk) if self.kind == ERROR_RESPONSE => {
                    self.append_error(chunk);
                    let error = std::mem::take(&mut self.error);
                    BackendEvent::from_message(ERROR_RESPONSE, &error).into_iter().for_each(&mut *on_event);
                }
                FramePart::Body(_) | FramePart::BodyEnd(_) => {}
                FramePart::Invalid => return None,
            }
        }
        Some(())
    }

    /// Reports whether only whole messages have passed so far.
    pub(crate) fn is_at_boundary(&self) -> bool {
        self.frames.is_at_boundary()
    }

    fn append_error(&mut self, chunk: &[u8]) {
        let room = MAX_KEPT - self.error.len();
        self.error.extend(chunk.iter().take(room));
    }
}
