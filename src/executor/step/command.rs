//! One command of a step, pursued to its end: watched, tried again after a lock timeout, followed over a lost connection,
//! ended when its time or the run lock is gone.

use crate::{
    executor::{invalid_index, lock_holder::Keeper},
    fault::{Code, Fault},
    postgres::LockWaits,
    run::{event::Event, lock_retries::Ladder},
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

/// So often in a row what listens on the server is started again when it was ended there.
const LISTENERS: u32 = 3;

/// What is pursued, and within which limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errand<'e> {
    pub(crate) site: &'e Site,
    pub(crate) line: &'e CommandLine,
    /// How often it is tried again after a lock timeout.
    pub(crate) retries: u32,
    pub(crate) timeout: Option<Duration>,
}

/// Runs it; `keeper` holds the run lock meanwhile.
///
/// # Errors
/// Why it failed, `step-timeout`, or that nobody knows what became of it.
pub(crate) async fn pursue(sites: &mut Sites<'_>, keeper: &mut Keeper<'_>, errand: Errand<'_>) -> Result<(), Fault> {
    let Some(limit) = errand.timeout else { return tries(sites, keeper, errand).await };
    if let Ok(done) = timeout(limit, tries(sites, keeper, errand)).await {
        return done;
    }
    let cause = format!("`{}` was not done after {} s", errand.line.display_text(), limit.as_secs());
    let ended = sites.end().await;
    if sites.is_cut_off(errand.site) {
        return Err(sites.give_up(format!("{cause}, and could not be ended: the connection to the server is lost")));
    }
    ended?;
    keeper.end_backends(sites.pids()).await?;
    Err(sites.cut_short(Fault::new(Code::StepTimeout, cause)))
}

/// How the next try is made.
struct Course {
    attempt: u32,
    /// Whether the limit on waits for locks has hit what waits for others by what it is: then the sessions of the next try have
    /// none, and the guard ends what others queue behind.
    patience: Patience,
    /// The INVALID indexes that were there before.
    broken: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    Limited,
    Unlimited,
}

async fn tries(sites: &mut Sites<'_>, keeper: &mut Keeper<'_>, errand: Errand<'_>) -> Result<(), Fault> {
    let (mut turn, mut said) = (Turn::Begin, RefCell::new(Said::default()));
    let ladder = Ladder { top: sites.settings.safety.lock_timeout, retries: errand.retries };
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

/// How long each statement of this try waits for a lock.
fn begin_try(lookout: &LockWaits, ladder: Ladder, course: &Course) -> Duration {
    match course.patience {
        Patience::Limited => {
            let limit = ladder.limit(course.attempt);
            lookout.begin_attempt(limit);
            limit
        }
        Patience::Unlimited => {
            lookout.begin_monitored_attempt(ladder.top);
            Duration::ZERO
        }
    }
}

/// What comes before the next try, if there is one: a pause, or the end of what a build that was cut off has left behind.
///
/// # Errors
/// The fault, if it was the last try.
async fn again(
    sites: &Sites<'_>,
    keeper: &Keeper<'_>,
    (ladder, course): (Ladder, Course),
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
        let Some(_) = ladder.pause(course.attempt) else { return Err(fault) };
        sites.events.tell(Event::Waiting {
            what: format!("another try of the tool, in which {form} may wait for as long as the run may last"),
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
    let pause = ladder.pause(course.attempt).ok_or(named)?;
    let number = course.attempt + 1;
    let most = if said.is_some() { "at most " } else { "" };
    sites.events.tell(Event::Waiting {
        what: format!("another try of the tool ({number} of {}, in {most}{} s)", ladder.retries, pause.as_secs()),
        why: [Some(fault.cause), said].into_iter().flatten().collect::<Vec<_>>().join("; "),
    });
    rest(sites, keeper, lookout, pause).await?;
    Ok(Course { attempt: number, ..course })
}

/// A pause, in which it is seen whether whoever was in the way still is.
async fn rest(sites: &Sites<'_>, keeper: &Keeper<'_>, lookout: &LockWaits, pause: Duration) -> Result<(), Fault> {
    let watch = keeper.watch(sites.reach()?, Vec::new, lookout);
    match select(pin!(lookout.pause_while_blocked(pause)), pin!(watch)).await {
        Either::Left(((), _)) => Ok(()),
        Either::Right((lost, _)) => Err(lost),
    }
}

/// Has everything again that a command needs to go on. What goes on without the run lock is stopped.
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

/// One try, until it ends or the lock is lost.
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
        // What goes on without a connection is taken up again.
        Either::Right((lost, _)) if sites.is_cut_off(task.site) => Err(lost),
        Either::Right((lost, _)) => {
            sites.end().await?;
            Err(lost.detail("so the work was stopped"))
        }
    }
}
