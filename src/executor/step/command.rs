//! Running of one step command to its end: it is monitored, retried after a lock timeout, followed again after a lost
//! connection, and ended when its time or the run lock is gone.

use crate::{
    executor::{invalid_index, lock_holder::Keeper},
    fault::{Code, Fault},
    postgres::LockWaits,
    run::{event::Event, lock_retries::LockRetries},
    settings::Site,
    site::{
        Said, Sites, Task, Turn,
        container_spec::{Access, Terms},
    },
    tool::CommandLine,
};
use futures_util::future::{Either, select};
use std::{cell::RefCell, pin::pin, time::Duration};
use tokio::time::timeout;

/// Number of times in a row that a killed follower on the server is restarted.
const LISTENERS: u32 = 3;

/// A command and its limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errand<'e> {
    pub(crate) site: &'e Site,
    pub(crate) line: &'e CommandLine,
    /// Number of retries after a lock timeout.
    pub(crate) retries: u32,
    pub(crate) timeout: Option<Duration>,
}

/// Runs the command; `keeper` holds the run lock meanwhile.
///
/// # Errors
/// The fault of the command, `step-timeout`, or `commit-in-doubt` if its outcome is unknown.
pub(crate) async fn pursue(sites: &mut Sites<'_>, keeper: &mut Keeper<'_>, errand: Errand<'_>) -> Result<(), Fault> {
    let Some(limit) = errand.timeout else { return tries(sites, keeper, errand).await };
    if let Ok(done) = timeout(limit, tries(sites, keeper, errand)).await {
        return done;
    }
    let cause = format!("`{}` was not done after {} s", errand.line.display_text(), limit.as_secs());
    let ended = sites.end().await;
    if sites.is_cut_off(errand.site) {
        return Err(sites.give_up(format!("{cause}, and could not be stopped: the connection to the server is lost")));
    }
    ended?;
    keeper.end_backends(sites.pids()).await?;
    Err(sites.cut_short(Fault::new(Code::StepTimeout, cause)))
}

/// The state between attempts.
struct Course {
    attempt: u32,
    /// Unlimited after a lock timeout ended a statement that waits for others by design: then the sessions of the next
    /// attempt have no lock timeout of their own, and the monitor cancels any other statement that waits too long.
    patience: Patience,
    /// The INVALID indexes that existed before.
    broken: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    Limited,
    Unlimited,
}

async fn tries(sites: &mut Sites<'_>, keeper: &mut Keeper<'_>, errand: Errand<'_>) -> Result<(), Fault> {
    let (mut turn, mut said) = (Turn::Begin, RefCell::new(Said::default()));
    let ladder = LockRetries { lock_timeout: sites.settings.safety.lock_timeout, retries: errand.retries };
    let lookout = LockWaits::default();
    let broken = keeper.invalid_indexes().await?;
    keeper.look_out(sites.reach()?).await;
    let (mut course, mut unheard) = (Course { attempt: 0, patience: Patience::Limited, broken }, 0);
    loop {
        let lock_timeout = begin_try(&lookout, ladder, &course);
        let terms = Terms { lock_timeout, ..Terms::of(sites.settings, Access::of(sites.settings.command)) };
        let task = Task { site: errand.site, line: errand.line, terms };
        let Err(fault) = once(sites, keeper, task, turn, &said, &lookout).await else { return Ok(()) };
        if sites.is_unheard(errand.site, &fault) {
            unheard = if sites.is_lost() { 0 } else { unheard + 1 };
            if unheard > LISTENERS {
                sites.end().await?;
                return Err(fault.detail("so the work was stopped"));
            }
            take_up(sites, keeper, &fault).await?;
            turn = Turn::Resume;
            continue;
        }
        let fault = if lookout.has_cancelled_a_wait() { fault.code(Code::LockTimeout) } else { fault };
        if fault.code != Code::LockTimeout {
            return Err(fault);
        }
        course = again(sites, keeper, (ladder, course), &lookout, fault).await?;
        (turn, said) = (Turn::Begin, RefCell::default());
    }
}

/// Starts an attempt, and returns its time limit for each statement's wait for a lock.
fn begin_try(lookout: &LockWaits, ladder: LockRetries, course: &Course) -> Duration {
    match course.patience {
        Patience::Limited => {
            let limit = ladder.timeout_for(course.attempt);
            lookout.begin_attempt(limit);
            limit
        }
        Patience::Unlimited => {
            lookout.begin_monitored_attempt(ladder.lock_timeout);
            Duration::ZERO
        }
    }
}

/// Prepares the next attempt, if there is one: pauses, or drops the indexes that an interrupted build left behind.
///
/// # Errors
/// The given fault, if this was the last attempt.
async fn again(
    sites: &Sites<'_>,
    keeper: &Keeper<'_>,
    (ladder, course): (LockRetries, Course),
    lookout: &LockWaits,
    fault: Fault,
) -> Result<Course, Fault> {
    let said = lookout.describe_blockers();
    let left = keeper.invalid_indexes().await.unwrap_or_default();
    let left: Vec<String> = left.into_iter().filter(|index| !course.broken.contains(index)).collect();
    let form = lookout.current_blockers().into_iter().rev().find_map(|obstacle| obstacle.form);
    let cut_off = form.or_else(|| (!left.is_empty()).then_some("CREATE INDEX CONCURRENTLY or its like"));
    if let Some(form) = cut_off.filter(|_| course.patience == Patience::Limited) {
        let fault = invalid_index::cut_off(fault, form, said.as_deref());
        let Some(_) = ladder.pause_after(course.attempt) else { return Err(fault) };
        sites.events.emit(Event::Waiting {
            what: format!("another try of the tool, in which {form} may wait as long as the run may take"),
            why: fault.cause.clone(),
        });
        let dropped = keeper.drop_indexes(sites.reach()?, &left, lookout).await;
        dropped.map_err(|why| fault.detail(format!("what it left behind could not be dropped: {}", why.cause)))?;
        return Ok(Course { patience: Patience::Unlimited, ..course });
    }
    let named = match &said {
        Some(said) => fault.clone().detail(said.clone()),
        None => fault.clone(),
    };
    let pause = ladder.pause_after(course.attempt).ok_or(named)?;
    let number = course.attempt + 1;
    let most = if said.is_some() { "at most " } else { "" };
    sites.events.emit(Event::Waiting {
        what: format!("another try of the tool ({number} of {}, in {most}{} s)", ladder.retries, pause.as_secs()),
        why: [Some(fault.cause), said].into_iter().flatten().collect::<Vec<_>>().join("; "),
    });
    rest(sites, keeper, lookout, pause).await?;
    Ok(Course { attempt: number, ..course })
}

/// Pauses; the monitor checks meanwhile whether the blocking sessions are still there.
async fn rest(sites: &Sites<'_>, keeper: &Keeper<'_>, lookout: &LockWaits, pause: Duration) -> Result<(), Fault> {
    let watch = keeper.watch(sites.reach()?, Vec::new, lookout);
    match select(pin!(lookout.pause_while_blocked(pause)), pin!(watch)).await {
        Either::Left(((), _)) => Ok(()),
        Either::Right((lost, _)) => Err(lost),
    }
}

/// Reconnects, takes the slot and the run lock again, and stops the command if the lock is gone.
async fn take_up(sites: &mut Sites<'_>, keeper: &mut Keeper<'_>, lost: &Fault) -> Result<(), Fault> {
    let mut lost = lost.clone();
    loop {
        let was_lost = sites.is_lost();
        sites.again(&lost).await?;
        if !was_lost {
            return Ok(());
        }
        match keeper.again(sites.reach()?).await {
            Ok(()) => return Ok(()),
            Err(fault) if sites.is_lost() => lost = fault,
            Err(fault) => {
                sites.end().await?;
                return Err(fault.detail("so the work was stopped"));
            }
        }
    }
}

/// Runs one attempt, until it ends or the lock is lost.
async fn once(
    sites: &Sites<'_>,
    keeper: &Keeper<'_>,
    task: Task<'_>,
    turn: Turn,
    said: &RefCell<Said>,
    lookout: &LockWaits,
) -> Result<(), Fault> {
    let work = sites.turn(task, turn, said);
    let watch = keeper.watch(sites.reach()?, || sites.pids(), lookout);
    match select(pin!(work), pin!(watch)).await {
        Either::Left((done, _)) => done,
        // A command that runs on without a connection is followed again.
        Either::Right((lost, _)) if sites.is_cut_off(task.site) => Err(lost),
        Either::Right((lost, _)) => {
            sites.end().await?;
            Err(lost.detail("so the work was stopped"))
        }
    }
}
