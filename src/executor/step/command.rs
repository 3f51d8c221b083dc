//! Running of one step command to its end: it is monitored, retried after a lock timeout, followed again after a lost
//! connection, and ended when its time or the run lock is gone.

use crate::{
    executor::{invalid_index_faults, lock_holder::LockHolder},
    fault::{Code, Fault},
    postgres::LockWaits,
    run::{event::Event, lock_retries::LockRetries},
    settings::Site,
    site::{
        CommandPurpose, RunMode, SiteCommand, Sites, Transcript,
        container_spec::{SessionAccess, SessionTerms},
    },
    tool::CommandLine,
    transport::Transport,
};
use futures_util::future::{Either, select};
use std::{cell::RefCell, pin::pin, time::Duration};
use tokio::time::timeout;

/// Number of times in a row that a killed follower on the server is restarted.
const MAX_FOLLOWER_RESTARTS: u32 = 3;

/// A command and its limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommandRun<'e> {
    pub(crate) site: &'e Site,
    pub(crate) command: &'e CommandLine,
    pub(crate) purpose: CommandPurpose,
    /// Number of retries after a lock timeout.
    pub(crate) retries: u32,
    pub(crate) timeout: Option<Duration>,
}

/// Runs the command; `lock_holder` holds the run lock meanwhile.
///
/// # Errors
/// The fault of the command, `step-timeout`, or `commit-in-doubt` if its outcome is unknown.
pub(crate) async fn run_command(
    sites: &mut Sites<'_>,
    mut lock_holder: Option<&mut LockHolder<'_>>,
    command_run: CommandRun<'_>,
) -> Result<(), Fault> {
    let Some(limit) = command_run.timeout else { return run_with_retries(sites, lock_holder, command_run).await };
    if let Ok(done) = timeout(limit, run_with_retries(sites, lock_holder.as_deref_mut(), command_run)).await {
        return done;
    }
    let cause = format!("`{}` was not done after {} s", command_run.command.display_text(), limit.as_secs());
    let ended = sites.stop_commands().await;
    if sites.is_detached(command_run.site) {
        return Err(sites.give_up(format!("{cause}, and could not be stopped: the connection to the server is lost")));
    }
    ended?;
    if let Some(holder) = lock_holder {
        holder.end_backends(sites.backend_pids()).await?;
    }
    Err(sites.with_timeout_context(Fault::new(Code::StepTimeout, cause)))
}

/// The state between attempts.
struct RetryState {
    attempt: u32,
    /// Unlimited after a lock timeout ended a statement that waits for others by design: then the sessions of the next
    /// attempt have no lock timeout of their own, and the monitor cancels any other statement that waits too long.
    lock_limit: LockWaitLimit,
    /// The INVALID indexes that existed before.
    invalid_before: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LockWaitLimit {
    Limited,
    Unlimited,
}

async fn run_with_retries(
    sites: &mut Sites<'_>,
    mut lock_holder: Option<&mut LockHolder<'_>>,
    command_run: CommandRun<'_>,
) -> Result<(), Fault> {
    let (mut mode, mut transcript) = (RunMode::Start, RefCell::new(Transcript::default()));
    let lock_retries = LockRetries { lock_timeout: sites.settings.safety.lock_timeout, retries: command_run.retries };
    let lock_waits = LockWaits::default();
    let invalid_before = match &lock_holder {
        Some(holder) => {
            let invalid_indexes = holder.invalid_indexes().await?;
            holder.start_monitor(sites.transport()?).await;
            invalid_indexes
        }
        None => Vec::new(),
    };
    let mut state = RetryState { attempt: 0, lock_limit: LockWaitLimit::Limited, invalid_before };
    let mut follower_failures = 0;
    loop {
        let lock_timeout = begin_attempt(&lock_waits, lock_retries, &state);
        let terms = SessionTerms {
            lock_timeout,
            ..SessionTerms::with_user_lock_timeout(sites.settings, SessionAccess::for_command(sites.settings.command))
        };
        let CommandRun { site, command, purpose, .. } = command_run;
        let task = SiteCommand { site, command, purpose, terms };
        let Err(fault) = run_once(sites, lock_holder.as_deref(), task, mode, &transcript, &lock_waits).await else {
            return Ok(());
        };
        if sites.may_be_detached(command_run.site, &fault) {
            follower_failures = if sites.is_connection_lost() { 0 } else { follower_failures + 1 };
            if follower_failures > MAX_FOLLOWER_RESTARTS {
                sites.stop_commands().await?;
                return Err(fault.detail("so the work was stopped"));
            }
            reattach(sites, lock_holder.as_deref_mut(), &fault).await?;
            mode = RunMode::Resume;
            continue;
        }
        let fault = if lock_waits.has_cancelled_a_wait() { fault.code(Code::LockTimeout) } else { fault };
        if fault.code != Code::LockTimeout {
            return Err(fault);
        }
        state = prepare_retry(sites, lock_holder.as_deref(), (lock_retries, state), &lock_waits, fault).await?;
        (mode, transcript) = (RunMode::Start, RefCell::default());
    }
}

/// Starts an attempt, and returns its time limit for each statement's wait for a lock.
fn begin_attempt(lock_waits: &LockWaits, lock_retries: LockRetries, state: &RetryState) -> Duration {
    match state.lock_limit {
        LockWaitLimit::Limited => {
            let limit = lock_retries.timeout_for(state.attempt);
            lock_waits.begin_attempt(limit);
            limit
        }
        LockWaitLimit::Unlimited => {
            lock_waits.begin_monitored_attempt(lock_retries.lock_timeout);
            Duration::ZERO
        }
    }
}

/// Prepares the next attempt, if there is one: pauses, or drops the indexes that an interrupted build left behind.
///
/// # Errors
/// The given fault, if this was the last attempt.
async fn prepare_retry(
    sites: &Sites<'_>,
    lock_holder: Option<&LockHolder<'_>>,
    (lock_retries, state): (LockRetries, RetryState),
    lock_waits: &LockWaits,
    fault: Fault,
) -> Result<RetryState, Fault> {
    let blockers = lock_waits.describe_blockers();
    let invalid_indexes = match lock_holder {
        Some(holder) => holder.invalid_indexes().await.unwrap_or_default(),
        None => Vec::new(),
    };
    let invalid_indexes: Vec<String> =
        invalid_indexes.into_iter().filter(|index| !state.invalid_before.contains(index)).collect();
    let blocked_form = lock_waits.current_blockers().into_iter().rev().find_map(|blocker| blocker.form);
    let interrupted_form =
        blocked_form.or_else(|| (!invalid_indexes.is_empty()).then_some("CREATE INDEX CONCURRENTLY or its like"));
    if let Some(blocked_form) = interrupted_form.filter(|_| state.lock_limit == LockWaitLimit::Limited) {
        let fault = invalid_index_faults::lock_limit_fault(fault, blocked_form, blockers.as_deref());
        let Some(_) = lock_retries.pause_after(state.attempt) else { return Err(fault) };
        sites.events.emit(Event::Waiting {
            what: format!("another try of the tool, in which {blocked_form} may wait as long as the run may take"),
            why: fault.cause.clone(),
        });
        if let Some(holder) = lock_holder {
            let dropped = holder.drop_indexes(sites.transport()?, &invalid_indexes, lock_waits).await;
            dropped
                .map_err(|error| fault.detail(format!("what it left behind could not be dropped: {}", error.cause)))?;
        }
        return Ok(RetryState { lock_limit: LockWaitLimit::Unlimited, ..state });
    }
    let described_fault = match &blockers {
        Some(blockers) => fault.clone().detail(blockers.clone()),
        None => fault.clone(),
    };
    let pause = lock_retries.pause_after(state.attempt).ok_or(described_fault)?;
    let number = state.attempt + 1;
    let at_most = if blockers.is_some() { "at most " } else { "" };
    sites.events.emit(Event::Waiting {
        what: format!(
            "another try of the tool ({number} of {}, in {at_most}{} s)",
            lock_retries.retries,
            pause.as_secs()
        ),
        why: [Some(fault.cause), blockers].into_iter().flatten().collect::<Vec<_>>().join("; "),
    });
    pause_before_retry(sites, lock_holder, lock_waits, pause).await?;
    Ok(RetryState { attempt: number, ..state })
}

/// Pauses; the monitor checks meanwhile whether the blocking sessions are still there.
async fn pause_before_retry(
    sites: &Sites<'_>,
    lock_holder: Option<&LockHolder<'_>>,
    lock_waits: &LockWaits,
    pause: Duration,
) -> Result<(), Fault> {
    let watch = monitor_until_lost(lock_holder, sites.transport()?, Vec::new, lock_waits);
    match select(pin!(lock_waits.pause_while_blocked(pause)), pin!(watch)).await {
        Either::Left(((), _)) => Ok(()),
        Either::Right((lost, _)) => Err(lost),
    }
}

/// Reconnects, takes the slot and the run lock again, and stops the command if the lock is gone.
async fn reattach(
    sites: &mut Sites<'_>,
    mut lock_holder: Option<&mut LockHolder<'_>>,
    lost: &Fault,
) -> Result<(), Fault> {
    let mut lost = lost.clone();
    loop {
        let was_lost = sites.is_connection_lost();
        sites.reconnect(&lost).await?;
        if !was_lost {
            return Ok(());
        }
        let Some(holder) = lock_holder.as_deref_mut() else { return Ok(()) };
        match holder.reconnect(sites.transport()?).await {
            Ok(()) => return Ok(()),
            Err(fault) if sites.is_connection_lost() => lost = fault,
            Err(fault) => {
                sites.stop_commands().await?;
                return Err(fault.detail("so the work was stopped"));
            }
        }
    }
}

/// Runs one attempt, until it ends or the lock is lost.
async fn run_once(
    sites: &Sites<'_>,
    lock_holder: Option<&LockHolder<'_>>,
    task: SiteCommand<'_>,
    mode: RunMode,
    transcript: &RefCell<Transcript>,
    lock_waits: &LockWaits,
) -> Result<(), Fault> {
    let work = sites.run_to_success(task, mode, transcript);
    let watch = monitor_until_lost(lock_holder, sites.transport()?, || sites.backend_pids(), lock_waits);
    match select(pin!(work), pin!(watch)).await {
        Either::Left((done, _)) => done,
        // A command that runs on without a connection is followed again.
        Either::Right((lost, _)) if sites.is_detached(task.site) => Err(lost),
        Either::Right((lost, _)) => {
            sites.stop_commands().await?;
            Err(lost.detail("so the work was stopped"))
        }
    }
}

/// Resolves when the run lock is lost, and reports meanwhile which sessions block others; without a holder never.
async fn monitor_until_lost(
    lock_holder: Option<&LockHolder<'_>>,
    transport: &Transport,
    pids: impl Fn() -> Vec<i32>,
    lock_waits: &LockWaits,
) -> Fault {
    match lock_holder {
        Some(holder) => holder.monitor_until_lost(transport, pids, lock_waits).await,
        None => std::future::pending().await,
    }
}
