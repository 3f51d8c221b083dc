//! Tests of the image: its content, and its work in a realistic network. They need the Docker engine and `make image`;
//! if either is missing, every test fails and names it.
#![expect(dead_code, reason = "uses only a part of the suite's lab")]

#[cfg(test)]
mod act;
#[path = "../suite/action.rs"]
mod action;
#[cfg(test)]
mod afterwards;
mod app;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod behaviours;
mod bystander;
#[cfg(test)]
mod cancel;
#[cfg(test)]
mod coming_from;
mod command_line;
#[cfg(test)]
mod compose;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod drivers;
#[cfg(test)]
mod emulator;
mod engine;
#[cfg(test)]
#[path = "../suite/expression.rs"]
mod expression;
#[cfg(test)]
mod identities;
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
#[cfg(test)]
mod later_step;
mod layout;
#[path = "../suite/leak.rs"]
mod leak;
mod network;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod pull;
mod registry;
mod rehearsal;
#[cfg(test)]
mod rehearsal_tools;
#[path = "../suite/runner/mod.rs"]
mod runner;
mod running;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod sibling;
#[cfg(test)]
mod start;
mod step;
#[cfg(test)]
mod together;
#[cfg(test)]
mod tunnel;
#[cfg(test)]
mod variants;
#[cfg(test)]
mod ways_in;
#[cfg(test)]
#[path = "../suite/workflow.rs"]
mod workflow;
#[cfg(test)]
mod workflows;

#[cfg(test)]
use lab::github;
use lab::{certificate, process};
use step::ACTION;
