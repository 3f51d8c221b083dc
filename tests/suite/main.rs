//! The suite: the real program against a real PostgreSQL and a real sshd. One file per feature; `lab` is the servers,
//! `action` the runner, `flights` the network between.

mod action;
mod bastion;
mod contract;
mod copy;
mod direct;
mod flights;
mod lab;
mod latch;
mod leak;
mod retry;
mod runner;
mod without_transaction;
