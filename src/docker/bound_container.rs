//! A container that ends with this process: its first process waits for the end of its standard input, which the engine
//! closes when we are gone, and the engine then removes the container itself.

use super::{
    attached::RunningContainer,
    client::DockerEngine,
    container::{Container, ContainerRemoval, ContainerSpec, ContainerStdin, OutputRecord},
    labels::Labels,
};
use crate::{
    fault::{Code, Fault},
    secret::Redactor,
};

impl Container {
    /// Creates and starts a container that ends with this process, in a task: if the caller is gone by then, the container
    /// is dropped, and so it ends. Its input, output record and removal are not those of `spec`.
    ///
    /// # Errors
    /// `tool-missing` if its program can't be started; `engine-failed`.
    #[expect(clippy::disallowed_methods, reason = "the task ends by itself, and what it has made is dropped with it")]
    pub async fn start_bound(
        engine: DockerEngine,
        spec: ContainerSpec,
        labels: Labels,
    ) -> Result<(Self, RunningContainer), Fault> {
        let spec = ContainerSpec {
            stdin: ContainerStdin::Once,
            record: OutputRecord::None,
            removal: ContainerRemoval::AtItsEnd,
            ..spec
        };
        let starting = tokio::spawn(async move {
            let container = Self::create(&engine, &spec, &labels).await?;
            match container.start(&Redactor::default()).await {
                Ok(running) => Ok((container, running)),
                Err(fault) => Err(container.remove_after(fault).await),
            }
        });
        starting
            .await
            .unwrap_or_else(|_panic| Err(Fault::new(Code::Bug, "the start of a container ended unexpectedly")))
    }

    /// Removes the container after a fault, which stays the first cause.
    pub(crate) async fn remove_after(self, fault: Fault) -> Fault {
        match self.remove().await {
            Ok(()) => fault,
            Err(left) => fault.detail(left.cause),
        }
    }
}
