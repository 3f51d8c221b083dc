//! A thin client of the Docker engine: our own container, images, containers. It knows nothing about migrations.
//!
//! It uses the socket that the runner mounts into every container action. The containers that it creates get neither
//! that socket nor the environment or the files of the action.

mod archive;
mod attached;
mod cleanup;
mod client;
mod container;
mod detached;
mod image;
mod labels;
mod self_container;

pub use attached::{Ended, Heard, Others, Running};
pub use cleanup::{Left, Swept};
pub use client::{Engine, SOCKET};
pub use container::{Container, Input, Order};
pub use image::{Credentials, Image, Pull};
pub use labels::{Kind, Tag};
pub use self_container::Own;
