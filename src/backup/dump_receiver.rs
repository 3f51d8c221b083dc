//! Receives a dump while it is made: its bytes go into the file, its messages and other lines are kept apart. Memory is
//! bounded: the next piece is read only after the last one is written.

use super::{
    dump_file::{Cipher, DumpFile, FileFacts},
    end_report::EndReport,
};
use crate::{
    fault::{Code, Fault},
    run::{
        blocking::run_blocking,
        event::{Event, Events},
        format_bytes,
        process::{LineBuffer, OutputChunk},
    },
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Number of bytes that are written at once.
const PIECE: usize = 1 << 20;

/// Time between two reports of the progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// Number of the last lines of output that a fault shows.
const SHOWN_LINES: usize = 12;

/// A dump as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedDump {
    /// Number of bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// A dump that is being received.
#[derive(Debug)]
pub struct DumpReceiver {
    events: Events,
    token: String,
    max_bytes: Option<u64>,
    estimate_bytes: Option<u64>,
    file: Option<OpenFile>,
    digest: Sha256,
    bytes: u64,
    lines: LineBuffer,
    report: EndReport,
    last_lines: VecDeque<String>,
    progress_at: Instant,
}

/// The file, unless a piece is being written.
#[derive(Debug)]
struct OpenFile {
    shown: String,
    file: DumpFile,
    /// Bytes that are not written yet.
    piece: Vec<u8>,
}

impl DumpReceiver {
    /// Creates a receiver of a dump that a command reads at its site. `token` begins each message of the script.
    #[must_use]
    pub fn new(events: &Events, token: &str, estimate_bytes: Option<u64>, max_bytes: Option<u64>) -> Self {
        Self {
            events: events.clone(),
            token: format!("{token} "),
            max_bytes,
            estimate_bytes,
            file: None,
            digest: Sha256::new(),
            bytes: 0,
            lines: LineBuffer::with_redactor(events.redactor().clone()),
            report: EndReport::default(),
            last_lines: VecDeque::new(),
            progress_at: Instant::now(),
        }
    }

    /// Lets it write the dump to a new file; `shown` is its path for reports.
    ///
    /// # Errors
    /// `backup-refused` if there is a file; `backup-failed` if it can't be created.
    pub async fn into_file(self, path: PathBuf, shown: &str, cipher: Cipher) -> Result<Self, Fault> {
        let created = run_blocking(move || DumpFile::create(&path, &cipher)).await;
        let file = created.map_err(|error| file_fault(shown, &error))?;
        Ok(Self { file: Some(OpenFile { shown: shown.to_owned(), file, piece: Vec::with_capacity(PIECE) }), ..self })
    }

    /// Receives the next bytes.
    ///
    /// # Errors
    /// `backup-failed` if they can't be written, or if the dump is too large.
    pub async fn receive(&mut self, chunk: OutputChunk<'_>) -> Result<(), Fault> {
        match chunk {
            OutputChunk::Stdout(bytes) => self.receive_dump(bytes).await?,
            OutputChunk::Stderr(bytes) => {
                let lines = self.lines.push_bytes(bytes);
                lines.iter().for_each(|line| self.receive_line(line));
            }
        }
        if self.progress_at.elapsed() >= PROGRESS_INTERVAL {
            self.report_progress();
        }
        Ok(())
    }

    async fn receive_dump(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.digest.update(bytes);
        self.bytes += u64::try_from(bytes.len()).unwrap_or_default();
        if let Some(max) = self.max_bytes.filter(|max| self.bytes > *max) {
            let cause = format!("the dump is larger than `max` of `backup`, which is {}", format_bytes(max));
            return Err(Fault::new(Code::BackupFailed, cause).fix("raise `max`, or dump fewer tables with `tables`"));
        }
        let Some(open) = &mut self.file else { return Ok(()) };
        open.piece.extend_from_slice(bytes);
        if open.piece.len() >= PIECE { self.write_piece().await } else { Ok(()) }
    }

    /// Writes on another thread, so that connections and signals are served meanwhile. A file whose future is dropped
    /// is removed there.
    async fn write_piece(&mut self) -> Result<(), Fault> {
        let Some(OpenFile { shown, mut file, mut piece }) = self.file.take() else { return Ok(()) };
        let (file, piece, written) = run_blocking(move || {
            let written = file.write(&piece);
            piece.clear();
            (file, piece, written)
        })
        .await;
        written.map_err(|error| file_fault(&shown, &error))?;
        self.file = Some(OpenFile { shown, file, piece });
        Ok(())
    }

    fn receive_line(&mut self, line: &str) {
        if let Some(message) = line.strip_prefix(&self.token) {
            self.report.add_message(message);
            return;
        }
        if self.last_lines.len() == SHOWN_LINES {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(line.to_owned());
        self.events.emit(Event::Output { line: line.to_owned() });
    }

    /// Reports the progress of the dump.
    pub fn report_progress(&mut self) {
        self.progress_at = Instant::now();
        let sofar = match &self.file {
            Some(_) => format!("{} of the dump are written", format_bytes(self.bytes)),
            None => "the dump is being read".to_owned(),
        };
        let tables = self.estimate_bytes.map(|bytes| format!("; the tables have {}", format_bytes(bytes)));
        let why = format!("{sofar}{}", tables.unwrap_or_default());
        self.events.emit(Event::Waiting { what: "the backup".to_owned(), why });
    }

    /// Receives the end. Returns what arrived.
    ///
    /// # Errors
    /// `backup-failed` if the rest can't be written.
    pub async fn end(&mut self) -> Result<ReceivedDump, Fault> {
        let rest = self.lines.take_rest();
        rest.iter().for_each(|line| self.receive_line(line));
        self.write_piece().await?;
        Ok(ReceivedDump { bytes: self.bytes, sha256: hex::encode(self.digest.clone().finalize()) })
    }

    /// Returns the messages of the script, and the last lines of its other output.
    #[must_use]
    pub fn messages(&mut self) -> (&EndReport, &[String]) {
        (&self.report, self.last_lines.make_contiguous())
    }

    /// Gives the file its final name. Returns its content as it is on the disk; nothing if there is no file.
    ///
    /// # Errors
    /// `backup-failed` if it can't be completed on the disk.
    pub async fn keep_file(self) -> Result<Option<ReceivedDump>, Fault> {
        let Some(OpenFile { shown, file, .. }) = self.file else { return Ok(None) };
        let kept = run_blocking(move || file.keep()).await;
        let FileFacts { bytes, sha256 } = kept.map_err(|error| file_fault(&shown, &error))?;
        Ok(Some(ReceivedDump { bytes, sha256 }))
    }
}

fn file_fault(shown: &str, error: &io::Error) -> Fault {
    let (code, cause, fix) = match error.kind() {
        io::ErrorKind::AlreadyExists => (
            Code::BackupRefused,
            format!("there is a file `{shown}` already, and a backup replaces none"),
            "name another file in `to` of `backup`, or leave `to` out: then each backup has a name of its own",
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (
            Code::BackupFailed,
            format!("there is no room for the file `{shown}`"),
            "free space on the runner, dump fewer tables with `tables`, or send the dump elsewhere with `to: { command: … }`",
        ),
        _ => (
            Code::BackupFailed,
            format!("the file `{shown}` can't be written"),
            "check that its directory can be written to, or name another one in `to` of `backup`",
        ),
    };
    Fault::new(code, cause).fix(fix).with_causes(error)
}
