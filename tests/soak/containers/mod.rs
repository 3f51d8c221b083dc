//! `make soak-container`: the ground where the action's real image is started, read, stopped and followed by its post
//! stage as the runner does it.

mod app;
mod damage;
mod disruption;
mod machines;
mod rest;
mod room;
mod round;

pub(crate) use machines::Machines;
pub(crate) use room::{ROOMS, Room};
