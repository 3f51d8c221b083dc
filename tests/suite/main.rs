//! The suite: the real program against a real PostgreSQL and a real sshd. One file per feature; `lab` is the servers,
//! `action` the runner, `flights` the network between.

mod action;
#[cfg(test)]
mod bastion;
#[cfg(test)]
mod connection;
mod contract;
#[cfg(test)]
mod database;
mod direct;
mod flights;
#[cfg(test)]
mod inputs;
mod lab;
mod leak;
mod runner;
