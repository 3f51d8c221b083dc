//! Log-ins to the database by a client certificate and by a token, where the app's own tool runs in its image: key and token
//! stay in the action.

use crate::{
    app::{DJANGO_5_2, MIGRATIONS},
    lab::{certificate::Expired, client_authority::ClientAuthority},
    network::{DATABASE, Database, Network, PASSWORD, ROLE},
    process::poll,
    step::Step,
};
use std::{sync::Arc, time::Duration};

/// Lets the role `certified` log in by certificates of this CA alone, and gives it the database.
fn certify(database: &Database, authority: &ClientAuthority) {
    let store = "cat > /lab/cluster/clients.crt; sed -i '1i hostssl all certified all cert' /lab/cluster/pg_hba.conf";
    database.network().postgres().feed(&["sh", "-euc", store], &authority.ca);
    database.sql(&format!("create role certified login;\nalter database {} owner to certified;", database.name()));
    database.sql("alter system set ssl_ca_file = 'clients.crt';\nselect pg_reload_conf();");
    let reloaded = || (database.sql("show ssl_ca_file") == "clients.crt").then_some(());
    poll(Duration::from_secs(30), reloaded).expect("the server reads its settings again");
}

#[test]
fn a_tool_in_its_image_logs_in_by_the_certificate_and_never_gets_the_key() {
    let network = Arc::new(Network::start());
    let (database, authority) = (network.database(), ClientAuthority::named("clients of the lab"));
    certify(&database, &authority);
    let pair = authority.issue("certified", 1, Expired::Nothing);
    let step = || {
        Step::of_app(&database, DJANGO_5_2)
            .secret("database-url", format!("postgres://certified@{DATABASE}:5432/{}", database.name()))
            .input("database-ca", network.ca())
            .input("database-sslmode", "verify-full")
            .input("database-cert", &pair.certificate)
            .secret("database-key", &pair.key)
    };
    step().run().succeeds().applied(MIGRATIONS).done();
    let owners = "select distinct tableowner from pg_tables where schemaname = 'public'";
    assert_eq!(database.sql(owners), "certified");
    let other = ClientAuthority::named("clients of another lab").issue("certified", 1, Expired::Nothing);
    let refused = step().input("database-cert", &other.certificate).secret("database-key", &other.key);
    refused.run().fails("client-cert-untrusted", 3).done();
}

/// The server asks for the token in plain text, within TLS, as those of the clouds do.
#[test]
fn a_tool_in_its_image_logs_in_by_the_token_and_never_gets_it() {
    let network = Arc::new(Network::start());
    let database = network.database();
    let rule = "sed -i '1i hostssl all app all password' /lab/cluster/pg_hba.conf";
    network.postgres().exec(&["sh", "-euc", rule]);
    database.sql("select pg_reload_conf();");
    let rules = "select count(*) from pg_hba_file_rules where auth_method = 'password'";
    assert_eq!(database.sql(rules), "1");
    let step = Step::of_app(&database, DJANGO_5_2)
        .secret("database-url", format!("postgres://{ROLE}@{DATABASE}:5432/{}", database.name()))
        .hides(PASSWORD)
        .file("token", PASSWORD)
        .input("database-auth", "{ method: file, file: token }")
        .input("database-ca", network.ca())
        .input("database-sslmode", "verify-full");
    step.run().succeeds().applied(MIGRATIONS).done();
}
