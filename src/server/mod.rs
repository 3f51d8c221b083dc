//! Programs on the deployment server that outlive the SSH connection.
//!
//! A command runs in a session of its own there (setsid(2)), its output goes to files and its exit code to another; what we hear
//! is a second process that reads those files. So a connection that is lost or slow touches only the listening, and over
//! another one it goes on at the very byte where it stopped. All of it is shell scripts (`script`), each sent on the standard
//! input of one channel (`call`), and what they say is told apart from what others say by a token (`reply`).
//!
//! On the server there is `~/.bastion-migrate/<slot>/<owner>/<run>`. The slot is the lock: one run of ours for a login and a
//! working directory. Its owner is a process that lives as long as our connection; the directory of a dead owner is renamed by
//! who takes over, and a rename has one winner. A run begins by making a directory `begun`, and who gives it up makes the same:
//! so a start that comes late, out of a connection that was taken for dead, finds that it may not begin.

mod fault;
mod follower;
mod orphan;
mod protocol;
mod request;
mod script;
mod slot;

pub use orphan::{Fate, Leftover};
pub use script::{Script, words};

use crate::{
    fault::{Code, Fault},
    run::{
        event::Events,
        process::{Output, Status},
    },
    ssh::{End, Piece, Process, Tunnel},
};
use follower::{Listening, Outcome};
use protocol::{Heard, Reply};
use request::Call;
use sha2::{Digest as _, Sha256};
use std::{cell::RefCell, fmt::Write as _, time::Duration};

/// How often the slot is given back again: a session is free a moment after its program has ended.
const TRIES: usize = 3;

/// One login on the deployment server, and what of ours runs there. What is known of the server outlives a future that is
/// dropped: dropping is not stopping, and `end` is.
#[derive(Debug)]
pub struct Server {
    slot: String,
    owner: String,
    label: String,
    events: Events,
    /// Lives as long as our connection, and the slot is ours with it.
    holder: RefCell<Option<Process>>,
    /// What runs, or may run, and how far we have heard it.
    current: RefCell<Option<Listening>>,
}

impl Server {
    /// Touches nothing yet. `slot_of` names what only one run at a time may work on, such as the working directory; `label` is
    /// shown to others, such as the run's URL: one line, nothing secret.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn new(slot_of: &str, label: &str, events: Events) -> Result<Self, Fault> {
        let digest = Sha256::digest(slot_of.as_bytes());
        let slot = digest.iter().take(8).fold(String::from("s."), |mut slot, byte| {
            // A String takes all that is written.
            write!(slot, "{byte:02x}").unwrap_or_default();
            slot
        });
        Ok(Self {
            slot,
            owner: format!("o.{}", request::token()?),
            label: script::one_line(label),
            events,
            holder: RefCell::default(),
            current: RefCell::default(),
        })
    }

    /// Takes the slot, and waits for it as long as `wait` (whole seconds), told once a second. Says what an earlier run left
    /// that nobody had settled; it is settled with that.
    ///
    /// # Errors
    /// `lock-held`, `server-no-shell`, `server-home`, and those of [`Tunnel::exec`].
    pub async fn enter(&self, tunnel: &Tunnel, wait: Duration) -> Result<Option<Leftover>, Fault> {
        let mut call = self.call()?;
        call.set("label", &self.label).set("again", "no").set("wait", &wait.as_secs().to_string());
        let (holder, leftover) = slot::enter(tunnel, &call, &self.events).await?;
        self.holder.replace(Some(holder));
        Ok(leftover)
    }

    /// Starts the script and tells what it says, to its end. A command that vanished without a word, with the machine for
    /// instance, was ended by signal 9.
    ///
    /// # Errors
    /// `server-directory-missing`, `server-directory-forbidden`, `server-setup-failed`, `server-home`, `server-no-setsid`:
    /// the command did not begin. `lock-lost`: the slot is another run's. `server-unstopped`: another command of
    /// ours still runs. `bastion-lost`: [`Self::attach`] goes on.
    pub async fn run(&self, tunnel: &Tunnel, script: &Script, tell: impl FnMut(Output<'_>)) -> Result<Status, Fault> {
        let mut call = self.call()?;
        let run = format!("r.{}", request::token()?);
        call.set("run", &run).set("label", &self.label).set("title", &script::one_line(&script.title));
        call.assign("directory", &script.directory()).set("work", script.work().expose());
        call.set("wrapper", include_str!("script/wrapper.sh")).set("out", "0").set("err", "0");
        self.current.replace(Some(Listening::new(run, script.clone(), self.events.redactor())));
        let parts = [include_str!("script/start.sh"), include_str!("script/follow.sh")];
        match self.listen(tunnel, &call, &parts, tell).await? {
            Some(status) => Ok(status),
            // Nothing but a full disk is known to do this.
            None => Err(fault::home("~/.bastion-migrate").detail("the command was started and never began")),
        }
    }

    /// Takes the slot again, over another connection.
    ///
    /// # Errors
    /// `lock-lost`: another run has it. And those of [`Self::enter`].
    pub async fn enter_again(&self, tunnel: &Tunnel) -> Result<(), Fault> {
        let mut call = self.call()?;
        call.set("label", &self.label).set("again", "yes").set("wait", "0");
        let (holder, _) = slot::enter(tunnel, &call, &self.events).await?;
        self.holder.replace(Some(holder));
        Ok(())
    }

    /// Goes on with what [`Self::run`] has begun, exactly where it was heard last; after [`Self::enter_again`]. `None`: it
    /// never began, and now never will; it may be run again.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn attach(&self, tunnel: &Tunnel, tell: impl FnMut(Output<'_>)) -> Result<Option<Status>, Fault> {
        let mut call = self.call()?;
        {
            let current = self.current.borrow();
            let Some(listening) = current.as_ref() else { return Ok(None) };
            let (out, err) = listening.heard();
            call.set("run", listening.run()).set("out", &out.to_string()).set("err", &err.to_string());
        }
        let parts = [include_str!("script/attach.sh"), include_str!("script/follow.sh")];
        self.listen(tunnel, &call, &parts, tell).await
    }

    /// Whether something of ours may be at work there.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        self.current.borrow().as_ref().is_some_and(Listening::is_open)
    }

    /// Ends what runs: TERM, and after `grace` KILL, to all processes of its session. Nothing runs: nothing to do. A start
    /// that is still on its way is forbidden.
    ///
    /// # Errors
    /// `server-unstopped` when something can't be ended, and those of [`Tunnel::exec`].
    pub async fn end(&self, tunnel: &Tunnel, grace: Duration) -> Result<(), Fault> {
        let mut call = self.call()?;
        let open = |listening: &&Listening| listening.is_open();
        let Some(run) = self.current.borrow().as_ref().filter(open).map(|listening| listening.run().to_owned()) else {
            return Ok(());
        };
        // The script counts in tenths of a second.
        call.set("run", &run).set("grace", &(grace.as_millis() / 100).to_string());
        let said = converse(tunnel, &call, &[include_str!("script/end.sh")]).await?;
        match said.split_once(' ') {
            Some(("stubborn", pids)) => Err(Fault::new(
                Code::ServerUnstopped,
                format!("processes on the server can't be ended: {}", pids.trim()),
            )),
            _ => {
                self.current.replace(None);
                Ok(())
            }
        }
    }

    /// Gives the slot back and removes every trace.
    ///
    /// # Errors
    /// `server-unstopped` when the command still runs, and those of [`Tunnel::exec`].
    pub async fn leave(&self, tunnel: &Tunnel) -> Result<(), Fault> {
        let mut call = self.call()?;
        call.set("run", &request::token()?).set("label", &self.label);
        let mut said = converse(tunnel, &call, &[include_str!("script/leave.sh")]).await;
        for _ in 0..TRIES {
            // A server that has one session for a connection has it for the holder.
            let Err(Fault { code: Code::ExecNoChannel, .. }) = said else { break };
            if let Some(holder) = self.holder.replace(None) {
                drop(holder.converse(b"", |_| {}).await);
            }
            said = converse(tunnel, &call, &[include_str!("script/leave.sh")]).await;
        }
        let said = said?;
        if said == "busy" {
            return Err(Fault::new(
                Code::ServerUnstopped,
                "the slot on the server was to be given back while its command runs",
            ));
        }
        self.holder.replace(None);
        self.current.replace(None);
        Ok(())
    }

    fn call(&self) -> Result<Call, Fault> {
        let mut call = Call::new()?;
        call.set("name", &self.slot).set("owner", &self.owner);
        Ok(call)
    }

    /// Hears the command to its end. `None`: it never began.
    async fn listen(
        &self,
        tunnel: &Tunnel,
        call: &Call,
        parts: &[&str],
        mut tell: impl FnMut(Output<'_>),
    ) -> Result<Option<Status>, Fault> {
        if let Some(listening) = self.current.borrow_mut().as_mut() {
            listening.begin(&call.token);
        }
        let process = tunnel.exec(request::LINE).await?;
        let text = call.text(parts);
        let ended = process.converse(text.as_bytes(), |piece| {
            if let Some(listening) = self.current.borrow_mut().as_mut() {
                listening.take(piece, &mut tell);
            }
        });
        let ended = ended.await;
        let outcome = self.current.borrow_mut().as_mut().map(|listening| listening.outcome(&mut tell));
        match outcome {
            Some(Outcome::Ended(status)) => {
                self.current.borrow_mut().iter_mut().for_each(Listening::end);
                Ok(Some(status))
            }
            Some(Outcome::Never) => {
                self.current.replace(None);
                Ok(None)
            }
            Some(Outcome::Refused(fault)) => {
                self.current.replace(None);
                Err(fault)
            }
            // No word of ours was the last: it is the connection, or somebody ended our process there.
            Some(Outcome::Open(fault)) => Err(tunnel.check().or(ended.err()).unwrap_or(fault)),
            None => Err(Fault::new(Code::Bug, "what runs on the server was forgotten while it was heard")),
        }
    }
}

/// Makes a call that has one word for an answer.
async fn converse(tunnel: &Tunnel, call: &Call, parts: &[&str]) -> Result<String, Fault> {
    let process = tunnel.exec(request::LINE).await?;
    let (mut reply, mut said, mut noise) = (Reply::new(&call.token), None, Vec::new());
    let text = call.text(parts);
    let ended: End = process
        .converse(text.as_bytes(), |piece| {
            if let Piece::Out(bytes) = piece {
                reply.take(bytes, |heard| match heard {
                    Heard::Word(word) => said = Some(word.to_owned()),
                    Heard::Raw(raw) => noise.extend_from_slice(raw),
                });
            }
        })
        .await?;
    match said {
        Some(said) => Ok(said),
        None => {
            Err(tunnel.check().unwrap_or_else(|| fault::no_shell(&noise).detail(format!("it ended with {ended:?}"))))
        }
    }
}
