//! A thin client of the Docker engine: our own container, images, containers. It knows nothing about migrations.
//!
//! It uses the socket that the runner mounts into every container action. The containers that it creates get neither
//! that socket nor the environment or the files of the action.

mod archive;
mod attached;
mod available_image;
mod bound_container;
mod cleanup;
mod client;
mod container;
mod detached;
mod exec;
mod image;
mod labels;
mod self_container;

pub use attached::{ContainerExit, OtherProcesses, RunningContainer};
pub use available_image::{AvailableImage, ImageSource};
pub use cleanup::{CleanupScope, RemovedContainer};
pub use client::{DockerEngine, ENGINE_SOCKET};
pub use container::{Container, ContainerRemoval, ContainerSpec, ContainerStdin, ContainerUser, OutputRecord};
pub use image::{Image, PullPolicy, RegistryCredentials};
pub use labels::{ContainerKind, JOB_GONE, Labels};
pub use self_container::SelfContainer;
