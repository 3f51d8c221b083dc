//! The one container that runs at a time. The engine finishes a request even if the client stops waiting for its
//! response: so a container is ours from its request until it is known to be gone, even if the future that requested it
//! is dropped in between.

use crate::{
    docker::{Container, ContainerSpec, DockerEngine, Labels},
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

type CreateFuture = Pin<Box<dyn Future<Output = Result<Container, Fault>>>>;

/// The container, if there is one or one is being created.
#[derive(Default)]
pub(crate) struct CurrentContainer {
    creating: RefCell<Option<CreateFuture>>,
    container: RefCell<Option<Container>>,
}

impl CurrentContainer {
    /// Creates the container.
    ///
    /// # Errors
    /// The engine's fault.
    pub(crate) async fn create(
        &self,
        engine: &DockerEngine,
        spec: ContainerSpec,
        tag: &Labels,
    ) -> Result<Container, Fault> {
        let (engine, tag) = (engine.clone(), tag.clone());
        let creation = async move { Container::create(&engine, &spec, &tag).await };
        self.creating.replace(Some(Box::pin(creation)));
        self.wait_for_creation()
            .await
            .unwrap_or_else(|| Err(Fault::new(Code::Bug, "another caller has taken the new container")))
    }

    /// Stops the container, after `grace` to end by itself, and removes it.
    ///
    /// # Errors
    /// The reason why it may still be there.
    pub(crate) async fn stop_and_remove(&self, grace: Duration) -> Result<(), Fault> {
        self.wait_for_creation().await;
        if let Some(container) = self.existing() {
            container.stop(grace).await?;
        }
        self.remove().await
    }

    /// Removes the container at once.
    ///
    /// # Errors
    /// The reason why it may still be there.
    pub(crate) async fn remove(&self) -> Result<(), Fault> {
        self.wait_for_creation().await;
        let Some(container) = self.existing() else { return Ok(()) };
        container.remove().await?;
        self.container.replace(None);
        Ok(())
    }

    /// Waits for the pending creation, if there is one. It is kept here while no caller waits.
    async fn wait_for_creation(&self) -> Option<Result<Container, Fault>> {
        poll_fn(|context| {
            let mut creating = self.creating.borrow_mut();
            let Some(future) = creating.as_mut() else { return Poll::Ready(None) };
            let created = ready!(future.as_mut().poll(context));
            *creating = None;
            self.container.replace(created.as_ref().ok().cloned());
            Poll::Ready(Some(created))
        })
        .await
    }

    fn existing(&self) -> Option<Container> {
        self.container.borrow().clone()
    }
}

impl fmt::Debug for CurrentContainer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CurrentContainer").field("container", &self.container).finish_non_exhaustive()
    }
}
