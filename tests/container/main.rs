//! The image: what is in it, and what it does in a network as it is. Needs the Docker engine and `make image`; where either
//! is missing, every test says so and fails.
#![expect(dead_code, reason = "uses a part of what the suite's lab has")]

#[cfg(test)]
mod act;
#[path = "../suite/action.rs"]
mod action;
mod app;
#[cfg(test)]
mod behaviours;
mod bystander;
#[cfg(test)]
mod cancel;
mod command_line;
#[cfg(test)]
mod compose;
#[cfg(test)]
mod drivers;
#[cfg(test)]
mod emulator;
mod engine;
#[cfg(test)]
mod image;
#[cfg(test)]
mod image_cancel;
#[cfg(test)]
mod image_executor;
#[cfg(test)]
mod images;
#[cfg(test)]
mod isolation;
#[path = "../suite/judge.rs"]
mod judge;
#[path = "../suite/lab/mod.rs"]
mod lab;
mod layout;
#[path = "../suite/leak.rs"]
mod leak;
mod network;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod pull;
mod registry;
#[path = "../suite/runner/mod.rs"]
mod runner;
mod running;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod sibling;
mod step;
#[cfg(test)]
mod together;
#[cfg(test)]
mod tunnel;
#[cfg(test)]
mod variants;
#[cfg(test)]
#[path = "../suite/workflow.rs"]
mod workflow;
#[cfg(test)]
mod workflows;

#[cfg(test)]
use lab::github;
use lab::{certificate, process};

/// What `make image` builds.
const ACTION: &str = "bastion-migrate:dev";
