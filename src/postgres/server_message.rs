//! An error or a notice of the server, field by field (PostgreSQL manual, 55.8), of which no more is kept than a reader wants.

/// So much is kept of a field.
const FIELD: usize = 64 << 10;

/// So much is kept of all.
const ALL: usize = 256 << 10;

/// So far back a field is cut where a word ends, so that no half of a word stays.
const WORD: usize = 4 << 10;

/// What has come of it so far.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    body: Vec<u8>,
    at: At,
    /// The beginning of the field that comes.
    text: Vec<u8>,
    /// How much of the field is not kept.
    more: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    #[default]
    Kind,
    Text(u8),
    End,
}

impl Complaint {
    /// Takes in a piece of the message's body.
    pub(super) fn take(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some((first, after)) = rest.split_first() {
            match self.at {
                At::Kind => {
                    self.at = if *first == 0 { At::End } else { At::Text(*first) };
                    rest = after;
                }
                At::Text(kind) => match rest.iter().position(|byte| *byte == 0) {
                    Some(end) => {
                        let (text, after) = rest.split_at(end);
                        self.keep(text);
                        self.close(kind);
                        rest = after.get(1..).unwrap_or_default();
                    }
                    None => {
                        self.keep(rest);
                        return;
                    }
                },
                At::End => return,
            }
        }
    }

    /// The body of the message that passes: readable, and not longer than a reader wants.
    pub(super) fn into_body(self) -> Vec<u8> {
        self.with(None)
    }

    /// The body of a notice. Which file of PostgreSQL's own source it comes from is nothing to us: in its place stands the migration
    /// that it is about.
    pub(super) fn into_notice(self, migration: Option<i64>) -> Vec<u8> {
        self.with(Some(migration.map(|version| version.to_string()).unwrap_or_default()))
    }

    fn with(mut self, file: Option<String>) -> Vec<u8> {
        if let At::Text(kind) = self.at {
            self.close(kind);
        }
        // The driver takes the last one that it reads.
        if let Some(file) = file {
            self.body.push(b'F');
            self.body.extend_from_slice(file.as_bytes());
            self.body.push(0);
        }
        self.body.push(0);
        self.body
    }

    fn keep(&mut self, text: &[u8]) {
        let (kept, more) = text.split_at(text.len().min(FIELD - self.text.len()));
        self.text.extend_from_slice(kept);
        self.more += more.len();
    }

    fn close(&mut self, kind: u8) {
        let (mut text, mut more) = (std::mem::take(&mut self.text), std::mem::take(&mut self.more));
        if more > 0 {
            let end = end_of_word(&text);
            more += text.len() - end;
            text.truncate(end);
        }
        self.at = At::Kind;
        if self.body.len() + text.len() > ALL {
            return;
        }
        self.body.push(kind);
        self.body.extend_from_slice(String::from_utf8_lossy(&text).as_bytes());
        if more > 0 {
            self.body.extend_from_slice(format!(" … and {more} more bytes").as_bytes());
        }
        self.body.push(0);
    }
}

/// Where the last whole word ends, or else the last whole letter.
fn end_of_word(text: &[u8]) -> usize {
    let from = text.len().saturating_sub(WORD);
    let space = text.iter().rposition(u8::is_ascii_whitespace).filter(|space| *space >= from);
    space.unwrap_or_else(|| match std::str::from_utf8(text) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => text.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(u8, &[u8])]) -> Vec<u8> {
        let mut body: Vec<u8> = fields.iter().flat_map(|(kind, text)| [&[*kind], *text, &[0]].concat()).collect();
        body.push(0);
        body
    }

    fn kept<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut complaint = Complaint::default();
        pieces.into_iter().for_each(|piece| complaint.take(piece));
        complaint.into_body()
    }

    #[test]
    fn what_a_reader_wants_is_kept_as_it_is_whatever_way_it_is_cut() {
        let body = fields(&[(b'S', b"ERROR"), (b'C', b"42P01"), (b'M', "kein größerer".as_bytes()), (b'H', b"")]);
        for cut in 0..=body.len() {
            let (one, other) = body.split_at(cut);
            assert_eq!(kept([one, other]), body, "{cut}");
        }
    }

    #[test]
    fn bytes_that_are_no_letters_are_made_readable() {
        let body = fields(&[(b'M', b"Tabelle \xbbgr\xf6\xdfe\xab")]);
        assert_eq!(kept([body.as_slice()]), fields(&[(b'M', "Tabelle �gr��e�".as_bytes())]));
    }

    #[test]
    fn of_a_long_field_the_beginning_is_kept_and_the_rest_is_counted() {
        let long = "some words ".repeat(20_000);
        let body = fields(&[(b'M', long.as_bytes()), (b'C', b"00000")]);
        let text = String::from_utf8(kept(body.chunks(1000))).unwrap();
        let (message, after) = text.split_once('\0').unwrap();
        let (beginning, count) = message.split_once(" … and ").unwrap();
        assert!(beginning.ends_with("words") || beginning.ends_with("some"));
        let count: usize = count.strip_suffix(" more bytes").unwrap().parse().unwrap();
        assert_eq!(beginning.len() - 1 + count, long.len());
        assert_eq!(after, "C00000\0\0");
    }

    #[test]
    fn a_field_is_not_cut_in_the_middle_of_a_letter() {
        let body = fields(&[(b'M', &[b"x".as_slice(), "ö".repeat(FIELD).as_bytes()].concat())]);
        assert!(!String::from_utf8(kept([body.as_slice()])).unwrap().contains('\u{fffd}'));
    }

    #[test]
    fn a_notice_says_which_migration_it_is_about() {
        let notice = |migration| {
            let mut complaint = Complaint::default();
            complaint.take(&fields(&[(b'M', b"x"), (b'F', b"9")]));
            complaint.into_notice(migration)
        };
        assert_eq!(notice(Some(7)), fields(&[(b'M', b"x"), (b'F', b"9"), (b'F', b"7")]));
        assert_eq!(notice(None), fields(&[(b'M', b"x"), (b'F', b"9"), (b'F', b"")]));
    }

    #[test]
    fn fields_without_end_do_not_add_up() {
        let field = [b"W".as_slice(), &[b'x'; 1000], &[0]].concat();
        assert!(kept(std::iter::repeat_n(field.as_slice(), 2000)).len() <= ALL + 2000);
    }

    #[test]
    fn what_breaks_off_is_kept_as_far_as_it_came() {
        assert_eq!(kept([b"SERROR\0Mhal".as_slice()]), b"SERROR\0Mhal\0\0");
        assert_eq!(kept([b"".as_slice()]), b"\0");
    }
}
