//! One command of a step, pursued to its end: watched, tried again after a lock timeout, followed over a lost connection,
//! ended when its time or the run lock is gone.

use super::{
    heard::Said,
    keeper::Keeper,
    sibling::Access,
    sites::{Sites, Task, Turn},
};
use crate::{
    fault::{Code, Fault},
    input::Site,
    run::event::Event,
    tool::Line,
};
use futures_util::future::{Either, select};
use std::{cell::RefCell, pin::pin, time::Duration};
use tokio::time::{sleep, timeout};

/// The first pause before a command is tried again; it doubles up to [`LONGEST_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// So often in a row what listens on the server is started again when it was ended there.
const LISTENERS: u32 = 3;

/// What is pursued, and within which limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errand<'e> {
    pub(super) site: &'e Site,
    pub(super) line: &'e Line,
    /// How often it is tried again after a lock timeout.
    pub(super) retries: u32,
    pub(super) timeout: Option<Duration>,
}

/// Runs it; `keeper` holds the run lock meanwhile.
///
/// # Errors
/// Why it failed, `step-timeout`, or that nobody knows what became of it.
pub(super) async fn pursue(sites: &mut Sites<'_>, keeper: &mut Keeper<'_>, errand: Errand<'_>) -> Result<(), Fault> {
    let Some(limit) = errand.timeout else { return tries(sites, keeper, errand).await };
    if let Ok(done) = timeout(limit, tries(sites, keeper, errand)).await {
        return done;
    }
    let cause = format!("`{}` was not done after {} s", errand.line.shown(), limit.as_secs());
    let ended = sites.end().await;
    if sites.is_cut_off(errand.site) {
        return Err(sites.give_up(format!("{cause}, and could not be ended: the connection to the server is lost")));
    }
    ended?;
    keeper.end_backends(sites.pids()).await?;
    Err(Fault::new(Code::StepTimeout, cause))
}

async fn tries(sites: &mut Sites<'_>, keeper: &mut Keeper<'_>, errand: Errand<'_>) -> Result<(), Fault> {
    let (mut turn, mut said) = (Turn::Begin, RefCell::new(Said::default()));
    let (mut tries, mut backoff, mut unheard) = (0, FIRST_BACKOFF, 0);
    loop {
        let Err(fault) = once(sites, keeper, errand, turn, &said).await else { return Ok(()) };
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
        if fault.code != Code::LockTimeout || tries == errand.retries {
            return Err(fault);
        }
        tries += 1;
        sites.events.tell(Event::Waiting {
            what: format!("another try of the tool ({tries} of {}, in {} s)", errand.retries, backoff.as_secs()),
            why: fault.cause,
        });
        sleep(backoff).await;
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
        (turn, said) = (Turn::Begin, RefCell::default());
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
    errand: Errand<'_>,
    turn: Turn,
    said: &RefCell<Said>,
) -> Result<(), Fault> {
    let task = Task { site: errand.site, line: errand.line, access: Access::of(sites.settings.command) };
    let work = sites.turn(task, turn, said);
    let watch = keeper.watch(sites.reach()?, || sites.pids());
    match select(pin!(work), pin!(watch)).await {
        Either::Left((done, _)) => done,
        // What goes on without a connection is taken up again.
        Either::Right((lost, _)) if sites.is_cut_off(errand.site) => Err(lost),
        Either::Right((lost, _)) => {
            sites.end().await?;
            Err(lost.detail("so the work was stopped"))
        }
    }
}
