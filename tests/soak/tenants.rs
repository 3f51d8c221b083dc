//! A schema per tenant, each with its own files, ledger and traces.

use crate::{
    action::Action,
    agreement::Trace,
    files::{File, PLAIN, SETUP},
    layout_forms::Form,
    look::{Sql, read_traces},
};

/// The schemas of the tenants, in their order.
pub(crate) const TENANTS: [&str; 3] = ["a", "b", "c"];

/// Creates the schemas, and in each the table that the files write to.
pub(crate) fn set_up(sql: Sql<'_>) {
    for tenant in TENANTS {
        sql(&format!("create schema {tenant} authorization app; set search_path to {tenant}; {SETUP}"));
    }
}

/// Adds the tenants to the step.
pub(crate) fn add(step: Action<'_>) -> Action<'_> {
    step.input("tenants", format!("{{ names: [{}], parallel: 2 }}", TENANTS.join(", ")))
}

/// Returns the traces of the files in each schema, named as they are reported, and what belongs to none of them. The
/// queries have to be of one session.
pub(crate) fn read(sql: Sql<'_>, files: &[File]) -> (Vec<Trace>, Vec<String>) {
    let mut form = *Form::of(PLAIN);
    (form.table, form.versions) = ("bastion_migrate_ledger", "select version, 't' from bastion_migrate_ledger");
    let in_schema = |tenant: &str| {
        sql(&format!("set search_path to {tenant}"));
        let (mut traces, wrong) = read_traces(sql, &form, files);
        traces.iter_mut().for_each(|trace| trace.name.insert_str(0, &format!("{tenant}: ")));
        (traces, wrong)
    };
    let (traces, wrong): (Vec<_>, Vec<_>) = TENANTS.map(in_schema).into_iter().unzip();
    sql("reset search_path");
    (traces.concat(), wrong.concat())
}
