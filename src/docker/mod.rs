//! The Docker engine, thin: who we are to it, images, containers. No word about migrations here.
//!
//! It is reached by the socket that the runner mounts into every container action. What is made of its images gets nothing of
//! ours: the socket, the environment and the files of the action stay with the action.

mod archive;
mod attached;
mod cleanup;
mod client;
mod container;
mod detached;
mod image;
mod self_container;

pub use attached::{Ended, Heard, Others, Running};
pub use cleanup::{Kind, Left, Swept, Tag};
pub use client::{Engine, SOCKET};
pub use container::{Container, Input, Order};
pub use image::{Credentials, Image, Pull};
pub use self_container::Own;
