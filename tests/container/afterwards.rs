//! What follows a migration in a container: the after-care of the tables that a tool has changed, and the message to a webhook.

use crate::{
    app::{DJANGO_5_2, MIGRATIONS, TROUBLE},
    certificate::{Certificate, Expired},
    engine::image,
    lab::webhook::{CANARY, Service, Webhook},
    network::{MACHINE, shared},
    step::Step,
};
use serde_json::{Value, json};

#[test]
fn the_tables_that_a_tool_in_an_image_has_changed_are_looked_after() {
    let database = shared().database();
    let run = "psql -Xqc 'create table rows as select generate_series(1, 1000) as id' \
               -c 'alter table rows add constraint positive check (id > 0) not valid'";
    let step = Step::in_image(&database, image(MACHINE), run).input("aftercare", "analyze, validate, report");
    let finished = step.run().succeeds_without_ledger();
    let report: Value = serde_json::from_str(&finished.outputs["report"]).expect("the report is JSON");
    let result = json!({ "analyzed": ["public.rows"], "validated": ["positive on public.rows"], "findings": [] });
    assert_eq!(report["aftercare"], result);
    finished.logs("ANALYZE public.rows").summary("Analyzed: <code>public.rows</code>").done();
    let state = "select convalidated, last_analyze is not null from pg_constraint \
                 join pg_stat_user_tables on relid = conrelid where conname = 'positive'";
    assert_eq!(database.sql(state), "t|t");
}

/// The webhook is on the machine, outside of the networks of the job and of the database.
#[test]
fn a_failure_of_a_tool_in_an_image_is_told_to_a_webhook() {
    let database = shared().database();
    let host = database.network().gateway();
    let certificate = Certificate::named(&host, Expired::Nothing);
    let webhook = Webhook::with_tls(&host, Service::Json, &certificate);
    let step = Step::of_app(&database, DJANGO_5_2).trouble("missing-table").file("ca.pem", &certificate.ca);
    let step = step.env("SSL_CERT_FILE", "/github/workspace/ca.pem").hides(CANARY);
    let step = step.secret("notify", webhook.url().replacen("http:", "https:", 1));
    step.run().fails("tool-failed", 6).applied(MIGRATIONS).pending([TROUBLE]).done();
    let [message] = webhook.messages().try_into().unwrap_or_else(|all| panic!("not one message: {all:#?}"));
    let expected = [
        ("event", json!("failed")),
        ("command", json!("migrate")),
        ("done-count", json!(MIGRATIONS.len())),
        ("pending-count", json!(1)),
    ];
    for (key, value) in expected {
        assert_eq!(message[key], value, "{key}: {message:#}");
    }
    let cause = message["fault"]["cause"].as_str().expect("a cause");
    assert!(cause.contains("relation \"trouble_nowhere\" does not exist"), "{message:#}");
}
