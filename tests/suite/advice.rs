//! Files that can't run as they are: each gets advice, and runs after a change that follows it.

use crate::{action::Action, lab::Lab};

/// A file, the advice about it, and the file changed accordingly.
struct Advice {
    wrong: &'static str,
    code: &'static str,
    exit: i32,
    fix: &'static str,
    right: &'static str,
}

const ADVICE: [Advice; 8] = [
    Advice {
        wrong: "create table ${schema}.t (i int);\n",
        code: "statement-failed",
        exit: 6,
        fix: "`${schema}` is a placeholder of Flyway, envsubst or a shell, and files are sent unchanged: write the value itself",
        right: "create table public.t (i int);\n",
    },
    Advice {
        wrong: "create table t_${env} (i int);\n",
        code: "statement-failed",
        exit: 6,
        fix: "`${env}` is a placeholder of Flyway, envsubst or a shell",
        right: "create table t_dev (i int);\n",
    },
    Advice {
        wrong: "-- no-transaction\ncreate table größe (i int);\ncreate view v as select * from {{ ref('größe') }};\n",
        code: "statement-failed",
        exit: 6,
        fix: "`{{ ref('größe') }}` is a placeholder of dbt, Jinja or Go's templates",
        right: "-- no-transaction\ncreate table größe (i int);\ncreate view v as select * from größe;\n",
    },
    Advice {
        wrong: "create table t (i int);\ngrant select on t to :reader;\n",
        code: "statement-failed",
        exit: 6,
        fix: "`:reader` is a placeholder of psql, SQLAlchemy or Yii",
        right: "create table t (i int);\ngrant select on t to public;\n",
    },
    Advice {
        wrong: "create table t (i int);\nsavepoint s;\ninsert into t values (1);\ncommit;\n",
        code: "own-transaction",
        exit: 2,
        fix: "remove the statements that begin or end transactions",
        right: "create table t (i int);\nsavepoint s;\ninsert into t values (1);\n",
    },
    Advice {
        wrong: "create table t (i int);\nvacuum t;\n",
        code: "mixed-file",
        exit: 2,
        fix: "put `-- no-transaction` on the first line, and each statement is committed on its own",
        right: "-- no-transaction\ncreate table t (i int);\nvacuum t;\n",
    },
    Advice {
        wrong: "do $$ begin create table t (i int); commit; end $$;\n",
        code: "statement-failed",
        exit: 6,
        fix: "put it into a file of its own with `-- no-transaction` on the first line",
        right: "-- no-transaction\ndo $$ begin create table t (i int); commit; end $$;\n",
    },
    Advice {
        wrong: "-- no-transaction\ncreate table t (i int);\nset transaction isolation level serializable;\ninsert into t values (1);\n",
        code: "statement-refused",
        exit: 2,
        fix: "write `SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL …` in its place",
        right: "-- no-transaction\ncreate table t (i int);\n\
                set session characteristics as transaction isolation level serializable;\ninsert into t values (1);\n",
    },
];

#[test]
fn a_file_that_follows_the_advice_runs() {
    for Advice { wrong, code, exit, fix, right } in ADVICE {
        let lab = Lab::new();
        let file = |body: &str| Action::new(&lab).file("migrations/0001_file.sql", body);
        let refused = file(wrong).run().fails(code, exit).logs(fix);
        if exit == 6 { refused.pending(["0001_file"]) } else { refused }.done();
        file(right).run().succeeds().applied(["0001_file"]).done();
    }
}

#[test]
fn a_comment_after_a_copy_is_no_statement_and_the_rows_are_copied() {
    for tail in [" -- of rows", " /* of rows */ ; -- and more", " ;;", "\t"] {
        let lab = Lab::new();
        let body = format!("create table t (i int);\ncopy t from stdin;{tail}\n1\n2\n\\.\n");
        Action::new(&lab).file("migrations/0001_rows.sql", body).run().succeeds().applied(["0001_rows"]).done();
        assert_eq!(lab.database.sql("select sum(i) from t"), "3", "{tail}");
    }
    let lab = Lab::new();
    let body = "create table t (x text);\ncopy t from stdin\n-- no rows\n";
    Action::new(&lab).file("migrations/0001_rows.sql", body).run().succeeds().applied(["0001_rows"]).done();
    assert_eq!(lab.database.sql("select count(*) from t"), "0");
}

/// Uses the minimal rights that a database's owner may grant to the role of deployments.
#[test]
fn a_role_that_may_write_our_tables_and_create_none_runs_a_file_without_a_transaction() {
    let lab = Lab::new();
    let step = |body: &'static str| {
        let step = Action::new(&lab).file("migrations/1_a.sql", "-- no-transaction\ncreate table a (i int);\n");
        step.file("migrations/2_b.sql", body)
    };
    step("-- no-transaction\nselect 1;\n").input("target", "1").run().succeeds().applied(["1_a"]).done();
    lab.database.sql(
        "alter schema bastion_migrate owner to postgres; alter table bastion_migrate.ledger owner to postgres; \
         alter table bastion_migrate.ledger_progress owner to postgres; grant usage on schema bastion_migrate to app; \
         grant select, insert, update, delete on all tables in schema bastion_migrate to app",
    );
    step("-- no-transaction\ncreate index concurrently a_i on a (i);\n").run().succeeds().applied(["2_b"]).done();
}
