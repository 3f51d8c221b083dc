//! sqlx's files and ledger: sqlx itself can continue to use the database. sqlx's behaviour is taken from its sources, version
//! 0.9: `sqlx-core/src/migrate` and `sqlx-postgres/src/migrate.rs`.

use crate::{action::Action, lab::Lab};

const USERS: &str = "create table users (id int);\n";
const NAME: &str = "alter table users add name text;\n";

/// The table of sqlx's `ensure_migrations_table`.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
    success BOOLEAN NOT NULL,
    checksum BYTEA NOT NULL,
    execution_time BIGINT NOT NULL
);";

/// Creates a database as sqlx leaves it after applying these files.
fn migrated(files: &[(i64, &str, &str)]) -> Lab {
    let lab = Lab::new();
    lab.database.sql(&format!("set role app; {TABLE}"));
    for (version, description, text) in files {
        lab.database.sql(&format!(
            "set role app; {text}; insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
             values ({version}, '{description}', true, sha384('{}'), 1234567)",
            text.replace('\\', "\\\\").replace('\r', "\\015").replace('\n', "\\012")
        ));
    }
    lab
}

#[test]
fn a_fresh_database_gets_the_ledger_that_sqlx_would_create() {
    let lab = Lab::new();
    let step = || {
        Action::new(&lab)
            .input("layout", "sqlx")
            .file("migrations/20260101120000_create_the_users.up.sql", USERS)
            .file("migrations/20260101120000_create_the_users.down.sql", "drop table users;\n")
            .file("migrations/20260102120000_add__name.up.sql", NAME)
            .file("migrations/20260102120000_add__name.down.sql", "alter table users drop name;\n")
    };
    step().run().succeeds().applied(["20260101120000_create_the_users.up", "20260102120000_add__name.up"]).done();
    step().run().nothing_to_do().done();
    assert_eq!(lab.database.contents(), "_sqlx_migrations\nusers");
    assert_eq!(
        lab.database.sql(&format!(
            "select version, description, success, checksum = case version when 20260101120000 then sha384('{}') \
             else sha384('{}') end, execution_time > 0 and execution_time < 60e9, \
             installed_on between now() - interval '1 minute' and now() from _sqlx_migrations order by version",
            USERS.replace('\n', "\\012"),
            NAME.replace('\n', "\\012")
        )),
        "20260101120000|create the users|t|t|t|t\n20260102120000|add  name|t|t|t|t"
    );
    let migrated_by_sqlx = migrated(&[]);
    let shape = "select attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid) \
                 from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum \
                 where attrelid = '_sqlx_migrations'::regclass and attnum > 0 order by attnum; \
                 select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = '_sqlx_migrations'::regclass; \
                 select relnamespace::regnamespace, relowner::regrole from pg_class where relname = '_sqlx_migrations'";
    assert_eq!(lab.database.sql(shape), migrated_by_sqlx.database.sql(shape));
}

#[test]
fn a_ledger_of_sqlx_is_kept_for_files_of_any_name() {
    let lab = migrated(&[(1, "users", USERS)]);
    Action::new(&lab)
        .file("migrations/0001_users.sql", USERS)
        .file("migrations/0002_name.sql", NAME)
        .run()
        .succeeds()
        .applied(["0002_name"])
        .done();
    assert_eq!(lab.database.contents(), "_sqlx_migrations\nusers");
    assert_eq!(lab.database.sql("select version, description from _sqlx_migrations order by 1"), "1|users\n2|name");
}

#[test]
fn an_unsuccessful_row_in_the_ledger_is_refused() {
    let lab = migrated(&[(1, "users", USERS)]);
    lab.database.sql("update _sqlx_migrations set success = false");
    Action::new(&lab)
        .file("migrations/0001_users.sql", USERS)
        .file("migrations/0002_name.sql", NAME)
        .run()
        .fails("ledger-dirty", 5)
        .error_in("migrations/0001_users.sql", "version 1 (`users`) was started and not finished")
        .done();
    assert_eq!(lab.database.sql("select version, success from _sqlx_migrations"), "1|f");
}

#[test]
fn a_changed_file_is_refused_and_other_line_ends_are_no_change() {
    let lab = migrated(&[(1, "users", "create table users\r\n(id int);\r\n"), (2, "name", NAME)]);
    let step = |users: &str, name: &str| {
        Action::new(&lab).file("migrations/1_users.sql", users).file("migrations/2_name.sql", name)
    };
    let lf = "create table users\n(id int);\n";
    step(lf, &NAME.replace('\n', "\r\n")).run().nothing_to_do().done();
    step(lf, "alter table users add names text;\n")
        .run()
        .fails("file-changed", 5)
        .error_in("migrations/2_name.sql", "`migrations/2_name.sql` is not what was applied as version 2")
        .done();
}

#[test]
fn files_without_a_transaction_are_recorded_as_well() {
    let lab = Lab::new();
    let index = "-- no-transaction\ncreate index concurrently users_id on users (id);\n";
    let step = || {
        let step = Action::new(&lab).input("layout", "sqlx").file("migrations/1_users.up.sql", USERS);
        step.file("migrations/2_index.up.sql", index)
    };
    step().run().succeeds().applied(["1_users.up", "2_index.up"]).done();
    step().run().nothing_to_do().done();
    let rows = "select version, success, execution_time > 0 from _sqlx_migrations order by 1";
    assert_eq!(lab.database.sql(rows), "1|t|t\n2|t|t");
}

#[test]
fn a_run_waits_for_the_lock_of_sqlx_and_names_its_holder() {
    let lab = migrated(&[]);
    let holder = lab.database.session();
    let key = 0x3d32_ad9e_i64 * i64::from(crc32(lab.database.name().as_bytes()));
    holder.sql(&format!("set application_name = 'lab'; select pg_advisory_lock({key})"));
    let step = || Action::new(&lab).file("migrations/0001_users.sql", USERS).input("lock-wait", "0s");
    step().run().fails("lock-held", 4).error("sqlx's own lock is held by `lab` (pid").done();
    // Only a command that writes needs the lock.
    step().input("command", "plan").run().has_pending().pending(["0001_users"]).done();
    drop(holder);
    step().input("lock-wait", "10s").run().succeeds().applied(["0001_users"]).done();
}

/// Computes `CRC_32_ISO_HDLC` bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
