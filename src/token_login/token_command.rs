//! A token that a command prints.

use super::cloud_request::unavailable;
use crate::{
    fault::{Code, Fault},
    program::{Companion, UserProgram, is_in_own_image, is_start_failure, start_local},
    run::{
        event::{Event, Events},
        process::ExitStatus,
        program::{ProgramOutput, StartedProgram},
    },
    secret::{Redactor, Secret},
};
use futures_util::StreamExt as _;
use std::time::Duration;
use tokio::{io::AsyncWriteExt as _, time::timeout};
use zeroize::Zeroizing;

/// A command whose standard output is the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCommand {
    /// The program, its place and its variables.
    pub program: UserProgram,
}

/// Time limit for the command. A client of a cloud takes a few seconds.
const TIME_LIMIT: Duration = Duration::from_mins(1);

/// Longest output on standard output, in bytes: PostgreSQL accepts no longer password (`PG_MAX_AUTH_TOKEN_LENGTH`, `auth.h`).
const LONGEST_TOKEN: usize = 65_535;

/// Longest text on standard error that is kept, in bytes.
const LONGEST_MESSAGE: usize = 256 << 10;

/// Lines of standard error that are shown.
const SHOWN_LINES: usize = 10;

/// Length in bytes from which a word in a failed command's output may be a token: shorter ones are ordinary words.
const LIKELY_TOKEN: usize = 16;

/// Words of a failed command's output that are hidden.
const HIDDEN_WORDS: usize = 100;

const PRINT_FIX: &str =
    "let the command print the token in one line on standard output, and everything else on standard error";

const EXIT_FIX: &str =
    "read its messages; it has the variables in `env` and `pass-env` of `database-auth`, and no others of the job";

const NO_PROGRAMS_HERE_FIX: &str = "set `image` in `database-auth` to an image that has the program, or use the program in place of the \
    action (`.github/binary`), where the command runs on the runner";

/// The whole output of a program that has ended.
struct WholeOutput {
    stdout: Zeroizing<Vec<u8>>,
    stderr: Vec<u8>,
    status: Option<ExitStatus>,
}

impl TokenCommand {
    /// Runs the command, and returns its token.
    ///
    /// # Errors
    /// `token-unavailable`; the fault of the engine or of the image.
    pub(super) async fn obtain_token(&self, events: &Events) -> Result<Secret, Fault> {
        let output = match &self.program.image {
            Some(image) => {
                let companion = Companion::start_for(&self.program, image, events).await?;
                let output = self.run_in(&companion).await;
                if let Err(fault) = companion.close().await {
                    events.emit(Event::Warning(fault));
                }
                output?
            }
            None if is_in_own_image() => {
                let cause =
                    format!("{} can't be started: the action's container has no programs", self.program.shown());
                return Err(unavailable(&cause).fix(NO_PROGRAMS_HERE_FIX));
            }
            None => {
                let started = start_local(&self.program, &self.program.argv).map_err(|error| {
                    unavailable(&format!("{} can't be started on this machine", self.program.shown()))
                        .fix("name the whole path of the program, or install it in an earlier step")
                        .with_causes(&error)
                })?;
                self.read_output(started).await?
            }
        };
        self.token_of(&output, events.redactor())
    }

    async fn run_in(&self, companion: &Companion) -> Result<WholeOutput, Fault> {
        let started = companion.start_program(&self.program.argv, &self.program.environment()).await?;
        self.read_output(started).await
    }

    /// Reads the output up to the end of the program, whose standard input is empty.
    async fn read_output(&self, mut program: StartedProgram) -> Result<WholeOutput, Fault> {
        let reading = async {
            // A program that reads none may have closed it.
            drop(program.input.shutdown().await);
            let stdout = Zeroizing::new(Vec::with_capacity(LONGEST_TOKEN + 1));
            let mut output = WholeOutput { stdout, stderr: Vec::new(), status: None };
            while let Some(chunk) = program.output.next().await {
                match chunk {
                    ProgramOutput::Stdout(bytes) => append(&mut output.stdout, &bytes, LONGEST_TOKEN + 1),
                    ProgramOutput::Stderr(bytes) => append(&mut output.stderr, &bytes, LONGEST_MESSAGE),
                }
            }
            output.status = program.exit.await;
            output
        };
        timeout(TIME_LIMIT, reading).await.map_err(|_late| {
            let cause = format!("{} has not ended within {} s", self.program.shown(), TIME_LIMIT.as_secs());
            unavailable(&cause).fix("let it print a token without asking for anything: its standard input is empty")
        })
    }

    fn token_of(&self, output: &WholeOutput, redactor: &Redactor) -> Result<Secret, Fault> {
        let shown = self.program.shown();
        if is_start_failure(&output.stdout) {
            let message = String::from_utf8_lossy(&output.stdout);
            return Err(unavailable(&format!("{shown} can't be started in its image"))
                .fix("name a program that is in the `image` of `database-auth`, or another image; the command is no line for a shell")
                .detail(format!("the engine's message: {}", message.trim())));
        }
        let failed = |cause: String, fix: &str| Err(with_messages(unavailable(&cause).fix(fix), output, redactor));
        match output.status {
            Some(ExitStatus::Exited(0)) => {}
            Some(ExitStatus::Exited(code)) => {
                return failed(format!("{shown} ended with exit status {code}"), EXIT_FIX);
            }
            Some(ExitStatus::Signalled(signal)) => {
                return failed(format!("{shown} was killed by signal {signal}"), EXIT_FIX);
            }
            Some(ExitStatus::OutOfMemory) => {
                return failed(format!("{shown} was killed because it used too much memory"), EXIT_FIX);
            }
            None => return failed(format!("{shown} ended, and its exit status is not known"), EXIT_FIX),
        }
        if output.stdout.len() > LONGEST_TOKEN {
            return failed(format!("{shown} has printed more than {LONGEST_TOKEN} bytes"), PRINT_FIX);
        }
        let token = str::from_utf8(&output.stdout).ok().map(str::trim).filter(|token| !token.contains('\0'));
        match token {
            None => failed(format!("{shown} has printed bytes that are no text"), PRINT_FIX),
            Some("") => failed(format!("{shown} has printed nothing"), PRINT_FIX),
            Some(token) if token.contains(['\n', '\r']) => {
                failed(format!("{shown} has printed more than one line"), PRINT_FIX)
            }
            Some(token) => Ok(Secret::new(token)),
        }
    }

    pub(super) fn refusal_fault(&self, role: &str) -> Fault {
        let cause =
            format!("the server does not let the role `{role}` log in by the token of {}", self.program.shown());
        Fault::new(Code::TokenRefused, cause)
            .fix("check that the command's token is for this server and this role, and that it has not expired")
    }

    pub(super) fn expired_fault(&self, minutes: u64) -> Fault {
        let cause = format!("the token of {} expired {minutes} minutes ago", self.program.shown());
        Fault::new(Code::TokenExpired, cause).fix("let the command get a new token each time that it runs")
    }
}

/// Adds the last lines on standard error. They are redacted here, because they may repeat what the command has printed.
fn with_messages(fault: Fault, output: &WholeOutput, redactor: &Redactor) -> Fault {
    let printed = Secret::new(String::from_utf8_lossy(&output.stdout));
    let words = printed.expose().split(|letter: char| letter.is_whitespace() || "\"',".contains(letter));
    for word in words.filter(|word| word.len() >= LIKELY_TOKEN).take(HIDDEN_WORDS) {
        redactor.hide(&Secret::new(word));
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let text = redactor.redact(&text);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let shown = lines.iter().skip(lines.len().saturating_sub(SHOWN_LINES));
    shown.fold(fault, |fault, line| fault.detail(format!("stderr: {line}")))
}

/// Appends as many bytes as there is room for.
fn append(kept: &mut Vec<u8>, bytes: &[u8], most: usize) {
    let room = most.saturating_sub(kept.len()).min(bytes.len());
    kept.extend_from_slice(bytes.get(..room).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::stream;
    use std::future::{pending, ready};

    fn command() -> TokenCommand {
        let program = UserProgram {
            input: "database-auth",
            argv: vec!["print-token".to_owned(), "--secret".to_owned()],
            image: None,
            inherited: Vec::new(),
            env: Vec::new(),
            passed: Vec::new(),
        };
        TokenCommand { program }
    }

    fn program(output: Vec<ProgramOutput>, status: Option<ExitStatus>) -> StartedProgram {
        StartedProgram {
            input: Box::pin(tokio::io::sink()),
            output: Box::pin(stream::iter(output)),
            exit: Box::pin(ready(status)),
        }
    }

    async fn token_of(output: Vec<ProgramOutput>, status: Option<ExitStatus>) -> Result<Secret, Fault> {
        let command = command();
        let output = command.read_output(program(output, status)).await?;
        command.token_of(&output, &Redactor::default())
    }

    fn out(text: &str) -> ProgramOutput {
        ProgramOutput::Stdout(Bytes::copy_from_slice(text.as_bytes()))
    }

    const DONE: Option<ExitStatus> = Some(ExitStatus::Exited(0));

    #[tokio::test]
    async fn the_token_is_the_only_line_on_standard_output() {
        let noise = ProgramOutput::Stderr(Bytes::from_static(b"a note\n"));
        let token = token_of(vec![out("to"), noise, out("ken"), out(" \r\n\n")], DONE).await;
        assert_eq!(token.map(|token| token.expose().to_owned()), Ok("token".to_owned()));
    }

    #[tokio::test]
    async fn an_end_that_is_no_success_is_told_without_the_arguments() {
        for (status, how) in [
            (Some(ExitStatus::Exited(2)), "ended with exit status 2"),
            (Some(ExitStatus::OutOfMemory), "was killed because it used too much memory"),
            (None, "ended, and its exit status is not known"),
        ] {
            let fault = token_of(vec![out("a-token-of-many-letters")], status).await.unwrap_err();
            assert_eq!(fault.cause, format!("the command `print-token` of `database-auth` {how}"));
            assert!(!format!("{fault:?}").contains("a-token-of-many-letters"), "{fault:?}");
        }
    }

    #[tokio::test]
    async fn the_engines_report_is_no_token() {
        let message = "OCI runtime exec failed: exec: \"print-token\": executable file not found in $PATH: unknown\r\n";
        let fault = token_of(vec![out(message)], Some(ExitStatus::Exited(127))).await.unwrap_err();
        assert!(fault.cause.ends_with("can't be started in its image"), "{fault:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_waits_for_an_answer_is_given_up_after_a_minute() {
        let silent = StartedProgram {
            input: Box::pin(tokio::io::sink()),
            output: Box::pin(stream::pending()),
            exit: Box::pin(pending()),
        };
        let begin = tokio::time::Instant::now();
        let fault = command().read_output(silent).await.err().expect("it never ends");
        assert_eq!((fault.code, begin.elapsed()), (Code::TokenUnavailable, TIME_LIMIT));
        assert!(fault.cause.ends_with("has not ended within 60 s"), "{fault:?}");
    }
}
