//! The suite: the real program against a real PostgreSQL and a real sshd. One file per feature; `lab` is the servers,
//! `action` the runner, `flights` the network between.

mod action;
#[cfg(test)]
mod bastion;
mod contract;
mod direct;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod figures;
mod flights;
mod lab;
mod leak;
mod runner;
