//! The suite: tests of the real program against a real PostgreSQL and a real sshd, one file per feature. `lab` starts
//! the servers, `action` runs a step, `runner` has the runner's rules, `judge` checks results, `flights` is a proxy.

mod action;
#[cfg(test)]
mod advice;
#[cfg(test)]
mod aftercare;
/// A check of `make soak`, tested here.
#[cfg(test)]
#[path = "../soak/agreement.rs"]
mod agreement;
#[cfg(test)]
mod alembic;
#[cfg(test)]
mod answers;
mod audit;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod backup_cuts;
#[cfg(test)]
mod bare_program;
#[cfg(test)]
mod bastion;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod building_blocks;
#[cfg(test)]
mod checks;
mod circles;
#[cfg(test)]
mod client_certificates;
#[cfg(test)]
mod coming_from;
mod commands;
mod comments;
#[cfg(test)]
mod connection;
mod contract;
mod copy;
#[cfg(test)]
mod database;
mod direct;
mod direct_tls;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod expression;
#[cfg(test)]
mod figures;
mod files;
#[cfg(test)]
mod first_tries;
mod flights;
mod frameworks;
#[cfg(test)]
mod host_certificates;
#[cfg(test)]
mod hostile_database;
#[cfg(test)]
mod inputs;
mod judge;
#[cfg(test)]
mod killed;
mod lab;
#[cfg(test)]
mod large_backup;
mod latch;
#[cfg(test)]
mod layout_cases;
#[cfg(test)]
mod layout_forms;
#[cfg(test)]
mod layout_tools;
#[cfg(test)]
mod layouts;
mod layouts_back;
mod leak;
#[cfg(test)]
mod ledgers;
#[cfg(test)]
mod lint;
#[cfg(test)]
mod listener;
#[cfg(test)]
mod lock_table;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod long_files;
mod lost;
#[cfg(test)]
mod mentions;
mod notices;
#[cfg(test)]
mod notifications;
#[cfg(test)]
mod own_tool;
#[cfg(test)]
mod page;
#[cfg(test)]
mod pasted;
mod placeholders;
mod places;
#[cfg(test)]
mod plan_review;
mod plans;
#[cfg(test)]
mod pooler;
#[cfg(test)]
mod programs;
#[cfg(test)]
/// A check of `make soak`, tested here.
#[cfg(test)]
#[path = "../soak/recorded_run.rs"]
mod recorded_run;
mod recovery;
#[cfg(test)]
mod rehearsal;
#[cfg(test)]
mod rehearsal_tools;
mod release;
#[cfg(test)]
mod release_agreement;
#[cfg(test)]
mod release_check;
#[cfg(test)]
mod remote;
#[cfg(test)]
mod repository;
mod resolve;
mod retry;
#[cfg(test)]
mod roles;
mod runner;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod scheduler;
mod schema;
#[cfg(test)]
mod server_losses;
#[cfg(test)]
mod servers;
mod sessions;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod snippets;
mod sqlx;
#[cfg(test)]
mod start_when;
mod starts;
#[cfg(test)]
mod steps;
#[cfg(test)]
mod stopped;
#[cfg(test)]
mod surfaces;
#[cfg(test)]
mod symptoms;
#[cfg(test)]
mod table_facts;
mod takeover;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod together;
#[cfg(test)]
mod token_commands;
mod token_logins;
#[cfg(test)]
mod tool_sql;
#[cfg(test)]
mod tools;
mod transactions;
#[cfg(test)]
mod user_certificates;
#[cfg(test)]
mod vault;
#[cfg(test)]
mod waits;
#[cfg(test)]
mod ways_in;
mod without_transaction;
#[cfg(test)]
mod workflow;
#[cfg(test)]
mod workflow_rules;
