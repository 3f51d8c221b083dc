//! The image: what is in it, and what it does in a network as it is. Needs the Docker engine and `make image`; where either
//! is missing, every test says so and fails.
#![expect(dead_code, reason = "uses a part of what the suite's lab has")]

#[path = "../suite/lab/certificate.rs"]
mod certificate;
mod engine;
#[cfg(test)]
mod image;
#[cfg(test)]
mod isolation;
mod network;
#[path = "../suite/lab/process.rs"]
mod process;

/// What `make image` builds.
const ACTION: &str = "bastion-migrate:dev";
