//! One command of a step, pursued to its end: watched, tried again after a lock timeout, followed over a lost connection,
//! ended when its time or the run lock is gone.

use super::{
    heard::Said,
    keeper::Keeper,
    sites::{Sites, Turn},
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
    sites.end().await?;
    keeper.end_backends(sites.pids()).await?;
    let cause = format!("`{}` was not done after {} s", errand.line.shown(), limit.as_secs());
    Err(Fault::new(Code::StepTimeout, cause))
}

async fn tries(sites: &mut Sites<'_>, keeper: &mut Keeper<'_>, errand: Errand<'_>) -> Result<(), Fault> {
    let (mut turn, mut said) = (Turn::Begin, RefCell::new(Said::default()));
    let (mut tries, mut backoff) = (0, FIRST_BACKOFF);
    loop {
        let Err(fault) = once(sites, keeper, errand, turn, &said).await else { return Ok(()) };
        if sites.is_cut_off(errand.site) {
            sites.again(&fault).await?;
            if let Err(fault) = keeper.again(sites.reach()?).await {
                // Without the lock nothing may go on.
                sites.end().await?;
                return Err(fault);
            }
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

/// One try, until it ends or the lock is lost.
async fn once(
    sites: &Sites<'_>,
    keeper: &Keeper<'_>,
    errand: Errand<'_>,
    turn: Turn,
    said: &RefCell<Said>,
) -> Result<(), Fault> {
    let work = sites.turn(errand.site, errand.line, turn, said);
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
