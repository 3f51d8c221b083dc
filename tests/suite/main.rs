//! The suite: the real program against a real PostgreSQL and a real sshd. One file per feature; `lab` is the servers,
//! `action` the runner, `flights` the network between.

mod action;
#[cfg(test)]
mod bastion;
mod contract;
mod direct;
mod documents;
mod figures;
mod flights;
mod lab;
mod leak;
mod runner;
