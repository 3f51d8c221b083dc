//! Programs on the deployment server that outlive the SSH connection.
//!
//! A command runs in a session of its own (setsid(2)), its output goes to files and its exit code to another; a second
//! process reads those files and sends them to us. So a lost or slow connection affects only that process, and another
//! connection continues at the very byte where it stopped. All of it is shell scripts (`script`), each sent on the
//! standard input of one channel (`request`); a token separates their messages from other output (`protocol`).
//!
//! The state on the server is `~/.bastion-migrate/<slot>/<owner>/<run>`. The slot is the lock: one run of ours for a
//! login and a working directory. Its owner is a process that lives as long as our connection; a run that takes over
//! renames the directory of the dead owner, and only one rename succeeds. Starting and abandoning a run both make the
//! directory `begun`, and only one of them succeeds: so a late start, from a connection that was taken for dead, cannot
//! follow an abandonment.

mod examination;
mod fault;
mod followed_command;
mod follower;
mod following;
mod login_output;
mod orphan;
mod protocol;
mod reply;
mod request;
mod script;
mod slot;
mod stream;
mod waiting_command;

pub use examination::{FreeSpace, ServerState, examine_server};
pub use followed_command::{FollowedCommand, WaitingCommand};
pub use orphan::{OrphanOutcome, OrphanedRun};
pub use script::{CommandInput, PrivateFile, ShellScript, quote_words};

use crate::{
    fault::{Code, Fault},
    run::{
        event::Events,
        process::{ExitStatus, Output},
    },
    ssh::{RemoteProcess, Tunnel},
};
use follower::Follower;
use reply::request_reply;
use request::ScriptRequest;
use sha2::{Digest as _, Sha256};
use std::{cell::RefCell, fmt::Write as _, time::Duration};

/// Number of further attempts to release the slot: the server frees a session a moment after its program has ended.
const RELEASE_TRIES: usize = 3;

/// The scripts that start a command and follow it.
const START_PARTS: [&str; 5] = [
    include_str!("script/directory.sh"),
    include_str!("script/input.sh"),
    include_str!("script/start.sh"),
    include_str!("script/output.sh"),
    include_str!("script/follow.sh"),
];

/// The scripts that follow a command over another connection.
const ATTACH_PARTS: [&str; 4] = [
    include_str!("script/input.sh"),
    include_str!("script/attach.sh"),
    include_str!("script/output.sh"),
    include_str!("script/follow.sh"),
];

/// Time to end by itself for a command whose input has ended.
const UNCONFIRMED_GRACE: Duration = Duration::from_secs(1);

/// A login on the deployment server, and the command that runs there. This state outlives a dropped future: dropping a
/// future does not stop the command, `end` does.
#[derive(Debug)]
pub struct Server {
    slot: String,
    owner: String,
    label: String,
    events: Events,
    /// The process that holds the slot for as long as our connection lives.
    slot_holder: RefCell<Option<RemoteProcess>>,
    /// The command that runs or may run, and the output received so far.
    follower: RefCell<Option<Follower>>,
}

impl Server {
    /// Creates the value without touching the server. `slot_of` names the resource that only one run at a time may use,
    /// such as the working directory; `label` is shown to other runs, such as the run's URL: one line, nothing secret.
    ///
    /// # Errors
    /// If the system's random generator fails.
    pub fn new(slot_of: &str, label: &str, events: Events) -> Result<Self, Fault> {
        let digest = Sha256::digest(slot_of.as_bytes());
        let slot = digest.iter().take(8).fold(String::from("s."), |mut slot, byte| {
            // Writing to a String cannot fail.
            write!(slot, "{byte:02x}").unwrap_or_default();
            slot
        });
        Ok(Self {
            slot,
            owner: format!("o.{}", request::random_token()?),
            label: script::one_line(label),
            events,
            slot_holder: RefCell::default(),
            follower: RefCell::default(),
        })
    }

    /// Takes the slot, waiting for it up to `wait` (whole seconds), with one event a second. Returns and removes the
    /// result of an earlier run that no run has collected.
    ///
    /// # Errors
    /// `lock-held`, `server-no-shell`, `server-home`, and those of [`Tunnel::start_program`].
    pub async fn take_slot(&self, tunnel: &Tunnel, wait: Duration) -> Result<Option<OrphanedRun>, Fault> {
        let mut request = self.new_request()?;
        request
            .set_variable("label", &self.label)
            .set_variable("again", "no")
            .set_variable("wait", &wait.as_secs().to_string());
        let (holder, leftover) = slot::take_slot(tunnel, &request, &self.events).await?;
        self.slot_holder.replace(Some(holder));
        Ok(leftover)
    }

    /// Starts the script and passes on its output until it ends. A command that ended without a status, for instance
    /// with the machine, counts as ended by signal 9.
    ///
    /// # Errors
    /// `server-directory-missing`, `server-directory-forbidden`, `server-setup-failed`, `server-home`,
    /// `server-no-setsid`: the command did not start. `lock-lost`: another run has the slot. `server-unstopped`:
    /// another command of ours is still running. `bastion-lost`: [`Self::resume_following`] continues.
    pub async fn run_script(
        &self,
        tunnel: &Tunnel,
        script: &ShellScript,
        on_output: impl FnMut(Output<'_>),
    ) -> Result<ExitStatus, Fault> {
        let request = self.start_request(script)?;
        let ended = self.follow_command(tunnel, &request, &START_PARTS, on_output).await?;
        ended.ok_or_else(fault::never_started)
    }

    /// Returns the request that starts this script, and begins to follow it.
    fn start_request(&self, script: &ShellScript) -> Result<ScriptRequest, Fault> {
        let mut request = self.new_request()?;
        let run = format!("r.{}", request::random_token()?);
        request
            .set_variable("run", &run)
            .set_variable("label", &self.label)
            .set_variable("title", &script::one_line(&script.title));
        request.assign_word("directory", &script.directory_word()).set_variable("work", script.shell_text().expose());
        request
            .set_variable("asks", if script.input == CommandInput::Lines { "yes" } else { "no" })
            .set_variable("wrapper", include_str!("script/wrapper.sh"))
            .set_variable("out", "0")
            .set_variable("err", "0");
        self.follower.replace(Some(Follower::new(run, script.clone(), self.events.redactor())));
        Ok(request)
    }

    /// Takes the slot again over another connection.
    ///
    /// # Errors
    /// `lock-lost`: another run has it; and those of [`Self::take_slot`].
    pub async fn retake_slot(&self, tunnel: &Tunnel) -> Result<(), Fault> {
        let mut request = self.new_request()?;
        request.set_variable("label", &self.label).set_variable("again", "yes").set_variable("wait", "0");
        let (holder, _) = slot::take_slot(tunnel, &request, &self.events).await?;
        self.slot_holder.replace(Some(holder));
        Ok(())
    }

    /// Continues to follow the command of [`Self::run_script`] exactly where its output stopped; to be called after
    /// [`Self::retake_slot`]. Returns `None` if the command never started and now never will, or if the last line of its
    /// input never came and now never will; it may be run again.
    ///
    /// # Errors
    /// As [`Self::run_script`].
    pub async fn resume_following(
        &self,
        tunnel: &Tunnel,
        on_output: impl FnMut(Output<'_>),
    ) -> Result<Option<ExitStatus>, Fault> {
        let mut request = self.new_request()?;
        {
            let current = self.follower.borrow();
            let Some(follower) = current.as_ref() else { return Ok(None) };
            let (out, err) = follower.bytes_received();
            request
                .set_variable("run", follower.run_id())
                .set_variable("lines", &follower.lines_sent().to_string())
                .set_variable("out", &out.to_string())
                .set_variable("err", &err.to_string());
        }
        let ended = self.follow_command(tunnel, &request, &ATTACH_PARTS, on_output).await?;
        if ended.is_none() {
            self.terminate_command(tunnel, UNCONFIRMED_GRACE).await?;
        }
        Ok(ended)
    }

    /// Returns whether a command of ours may be running.
    #[must_use]
    pub fn may_be_running(&self) -> bool {
        self.follower.borrow().as_ref().is_some_and(Follower::may_be_running)
    }

    /// Terminates the command, if one runs: TERM, and after `grace` KILL, to all processes of its session. A start that
    /// is still under way is prevented.
    ///
    /// # Errors
    /// `server-unstopped` if a process can't be ended, and those of [`Tunnel::start_program`].
    pub async fn terminate_command(&self, tunnel: &Tunnel, grace: Duration) -> Result<(), Fault> {
        let mut request = self.new_request()?;
        let may_run = |follower: &&Follower| follower.may_be_running();
        let Some(run) = self.follower.borrow().as_ref().filter(may_run).map(|follower| follower.run_id().to_owned())
        else {
            return Ok(());
        };
        // The script counts in tenths of a second.
        request.set_variable("run", &run).set_variable("grace", &(grace.as_millis() / 100).to_string());
        let reply = request_reply(tunnel, &request, &[include_str!("script/end.sh")]).await?;
        match reply.split_once(' ') {
            Some(("stubborn", pids)) => Err(Fault::new(
                Code::ServerUnstopped,
                format!("processes on the server can't be ended: {}", pids.trim()),
            )),
            _ => {
                self.follower.replace(None);
                Ok(())
            }
        }
    }

    /// Releases the slot and removes all files of ours.
    ///
    /// # Errors
    /// `server-unstopped` if the command is still running, and those of [`Tunnel::start_program`].
    pub async fn release_slot(&self, tunnel: &Tunnel) -> Result<(), Fault> {
        let mut request = self.new_request()?;
        request.set_variable("run", &request::random_token()?).set_variable("label", &self.label);
        let mut result = request_reply(tunnel, &request, &[include_str!("script/leave.sh")]).await;
        for _ in 0..RELEASE_TRIES {
            // A server that allows one session for each connection has given it to the holder.
            let Err(Fault { code: Code::ExecNoChannel, .. }) = result else { break };
            if let Some(holder) = self.slot_holder.replace(None) {
                drop(holder.run_with_input(b"", |_| {}).await);
            }
            result = request_reply(tunnel, &request, &[include_str!("script/leave.sh")]).await;
        }
        let result = result?;
        if result == "busy" {
            return Err(Fault::new(
                Code::ServerUnstopped,
                "the slot on the server can't be released while its command is running",
            ));
        }
        self.slot_holder.replace(None);
        self.follower.replace(None);
        Ok(())
    }

    fn new_request(&self) -> Result<ScriptRequest, Fault> {
        let mut request = ScriptRequest::new()?;
        request.set_variable("name", &self.slot).set_variable("owner", &self.owner);
        Ok(request)
    }
}
