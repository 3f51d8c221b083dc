//! The one container that works at a time. The engine finishes what it was asked for, whoever still waits for the answer: so
//! a container is ours from the moment it is asked for until it is known to be gone, even if the future that asked is dropped
//! in between.

use crate::{
    docker::{Container, Engine, Order, Tag},
    fault::{Code, Fault},
};
use std::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Poll, ready},
    time::Duration,
};

type Making = Pin<Box<dyn Future<Output = Result<Container, Fault>>>>;

/// The container, if there is one or will be one in a moment.
#[derive(Default)]
pub(crate) struct Current {
    making: RefCell<Option<Making>>,
    container: RefCell<Option<Container>>,
}

impl Current {
    /// Makes it.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn make(&self, engine: &Engine, order: Order, tag: &Tag) -> Result<Container, Fault> {
        let (engine, tag) = (engine.clone(), tag.clone());
        let making = async move { Container::create(&engine, &order, &tag).await };
        self.making.replace(Some(Box::pin(making)));
        self.made().await.unwrap_or_else(|| Err(Fault::new(Code::Bug, "somebody else has waited for the container")))
    }

    /// Removes it, after it had this time to end by itself.
    ///
    /// # Errors
    /// Why it may still be there.
    pub(crate) async fn end(&self, grace: Duration) -> Result<(), Fault> {
        self.made().await;
        if let Some(container) = self.there() {
            container.stop(grace).await?;
        }
        self.remove().await
    }

    /// Removes it, whatever it does.
    ///
    /// # Errors
    /// Why it may still be there.
    pub(crate) async fn remove(&self) -> Result<(), Fault> {
        self.made().await;
        let Some(container) = self.there() else { return Ok(()) };
        container.remove().await?;
        self.container.replace(None);
        Ok(())
    }

    /// Waits for what is being made, if anything is; it stays here while nobody waits.
    async fn made(&self) -> Option<Result<Container, Fault>> {
        poll_fn(|context| {
            let mut making = self.making.borrow_mut();
            let Some(future) = making.as_mut() else { return Poll::Ready(None) };
            let made = ready!(future.as_mut().poll(context));
            *making = None;
            self.container.replace(made.as_ref().ok().cloned());
            Poll::Ready(Some(made))
        })
        .await
    }

    fn there(&self) -> Option<Container> {
        self.container.borrow().clone()
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Current").field("container", &self.container).finish_non_exhaustive()
    }
}
