//! Files that can't be migrations are rejected before anything is changed; merely unusual ones work.

use crate::{action::Action, judge::Finished, lab::Lab};
use std::{fs, os::unix::fs::symlink};

/// Runs a step that must leave the database empty.
fn leaves_the_database_empty(prepare: impl FnOnce(Action<'_>) -> Action<'_>, judge: impl FnOnce(Finished) -> Finished) {
    let lab = Lab::new();
    judge(prepare(Action::new(&lab)).run()).done();
    assert_eq!(lab.database.contents(), "");
}

/// Runs a step with one file of this text.
fn leaves_the_database_empty_for_text(text: impl AsRef<[u8]>, judge: impl FnOnce(Finished) -> Finished) {
    leaves_the_database_empty(|step| step.file("migrations/0001_a.sql", text), judge);
}

#[test]
fn a_missing_directory_is_rejected() {
    leaves_the_database_empty(
        |step| step.input("migrations", "db/migrate"),
        |done| {
            done.fails("files-missing", 2)
                .error("the directory `db/migrate` named by `migrations` does not exist")
                .summary("actions/checkout ran before this step")
        },
    );
}

#[test]
fn a_file_in_place_of_the_directory_is_rejected() {
    leaves_the_database_empty(
        |step| step.file("migrations", "select 1;"),
        |done| done.fails("files-missing", 2).error("`migrations` named by `migrations` is not a directory"),
    );
}

#[test]
fn a_directory_without_a_migration_is_rejected() {
    leaves_the_database_empty(
        |step| step.file("migrations/README.md", "soon"),
        |done| done.fails("files-empty", 2).error("the directory `migrations` has no migration in it"),
    );
}

#[test]
fn files_in_a_subdirectory_are_named() {
    leaves_the_database_empty(
        |step| step.file("migrations/postgres/0001_a.sql", "select 1;"),
        |done| {
            done.fails("files-empty", 2)
                .error("`migrations/postgres` has SQL files, but subdirectories are not read")
                .logs("fix: set `migrations: migrations/postgres`, or move the files up")
        },
    );
}

#[test]
fn the_parent_of_the_directory_and_a_single_migration_are_named() {
    for (migrations, fix) in [
        ("prisma", "set `migrations: prisma/migrations`"),
        ("prisma/migrations/20230518191501_init", "set `migrations: prisma/migrations`"),
    ] {
        leaves_the_database_empty(
            |step| {
                step.file("prisma/migrations/20230518191501_init/migration.sql", "select 1;")
                    .file("prisma/migrations/migration_lock.toml", "provider = \"postgresql\"")
                    .file("prisma/schema.prisma", "")
                    .input("migrations", migrations)
            },
            |done| {
                done.fails("files-empty", 2)
                    .error(&format!("the directory `{migrations}` has no migration in it"))
                    .logs("each migration is a directory, as in `prisma/migrations/20230518191501_init/migration.sql`")
                    .logs(fix)
            },
        );
    }
}

#[test]
fn dates_of_several_lengths_run_by_number_with_a_warning() {
    let lab = Lab::new();
    Action::new(&lab)
        .file("migrations/20250626000000_c.sql", "create table c ();")
        .file("migrations/20250624000000_a.sql", "create table a ();")
        .file("migrations/20250625_b.sql", "create table b ();")
        .run()
        .succeeds()
        .applied(["20250625_b", "20250624000000_a", "20250626000000_c"])
        .warning("`20250625_b.sql` has a number of 8 digits and `20250624000000_a.sql` one of 14")
        .logs("by text: `20250624000000_a.sql`, `20250625_b.sql`, `20250626000000_c.sql`")
        .done();
}

#[test]
fn an_unreadable_file_is_rejected() {
    leaves_the_database_empty(
        |step| {
            fs::create_dir(step.workspace().join("migrations")).unwrap();
            symlink("/outside/of/the/workspace.sql", step.workspace().join("migrations/0001_a.sql")).unwrap();
            step
        },
        |done| {
            done.fails("file-unreadable", 2)
                .error_in("migrations/0001_a.sql", "`migrations/0001_a.sql` can't be read")
                .logs("No such file or directory")
        },
    );
}

#[test]
fn only_sql_files_of_the_directory_itself_are_read() {
    let lab = Lab::new();
    Action::new(&lab)
        .file("migrations/0001_a.sql", "create table a ();")
        .file("migrations/0002_b.sql/0003_c.sql", "create table c ();")
        .file("migrations/.0004_d.sql", "create table d ();")
        .file("migrations/README.md", "create table e ();")
        .run()
        .succeeds()
        .applied(["0001_a"])
        .warning("`migrations/0002_b.sql` has a SQL file in it that is not read")
        .done();
    assert_eq!(lab.database.contents(), "a\nbastion_migrate\nbastion_migrate.ledger");
}

#[test]
fn names_without_a_version_are_rejected() {
    leaves_the_database_empty(
        |step| step.file("migrations/create_users.sql", "select 1;").file("migrations/0002_b.SQL", "select 1;"),
        |done| {
            done.fails("file-name", 2)
                .error_in("migrations/create_users.sql", "does not begin with a number and `_`")
                .error_in("migrations/0002_b.SQL", "does not end in `.sql` in lower case")
        },
    );
}

#[test]
fn text_that_is_not_utf_8_is_rejected() {
    leaves_the_database_empty_for_text(b"select 1;\n-- caf\xe9\n", |done| {
        done.fails("file-not-utf8", 2).annotation("migrations/0001_a.sql", 2, "byte 0xe9 at offset 16 on line 2")
    });
    leaves_the_database_empty_for_text(b"\xff\xfes\0e\0", |done| {
        done.fails("file-not-utf8", 2).annotation("migrations/0001_a.sql", 1, "it begins with the mark of UTF-16")
    });
    leaves_the_database_empty_for_text("select 1;\n\0", |done| {
        done.fails("file-not-utf8", 2).annotation("migrations/0001_a.sql", 2, "a NUL byte at offset 10")
    });
}

#[test]
fn two_files_of_one_version_are_rejected() {
    leaves_the_database_empty(
        |step| step.file("migrations/0002_a.sql", "select 1;").file("migrations/2_b.sql", "select 1;"),
        |done| {
            done.fails("version-duplicate", 2)
                .error_in("migrations/2_b.sql", "`migrations/0002_a.sql` and `migrations/2_b.sql` both have version 2")
        },
    );
}

fn with_gap(step: Action<'_>) -> Action<'_> {
    step.file("migrations/0001_a.sql", "create table a ();").file("migrations/0003_c.sql", "create table c ();")
}

#[test]
fn a_gap_between_versions_is_rejected_only_if_gaps_are_refused() {
    leaves_the_database_empty(
        |step| with_gap(step).input("gaps", "refuse"),
        |done| {
            done.fails("version-gap", 5).error_in(
                "migrations/0003_c.sql",
                "version 2 is missing between `migrations/0001_a.sql` and `migrations/0003_c.sql`",
            )
        },
    );
    let lab = Lab::new();
    with_gap(Action::new(&lab)).run().succeeds().applied(["0001_a", "0003_c"]).done();
}

#[test]
fn commands_of_psql_are_rejected() {
    leaves_the_database_empty_for_text("create table a ();\n\\i other.sql\nselect :'name';\n", |done| {
        done.fails("psql-command", 2)
            .annotation("migrations/0001_a.sql", 2, "`\\i` on line 2 of `migrations/0001_a.sql` is a command of psql")
            .annotation("migrations/0001_a.sql", 3, "`:'name'` on line 3")
    });
}

#[test]
fn a_mix_of_transactional_and_other_statements_is_rejected() {
    leaves_the_database_empty_for_text("create table a (id int);\ncreate index concurrently i on a (id);\n", |done| {
        done.fails("mixed-file", 2)
            .annotation("migrations/0001_a.sql", 2, "CREATE INDEX CONCURRENTLY on line 2")
            .logs("fix: put the statement of line 2 into a file of its own")
    });
}

#[test]
fn an_unterminated_string_is_rejected() {
    leaves_the_database_empty_for_text("select 1;\nselect 'x;\n", |done| {
        done.fails("file-syntax", 2).annotation("migrations/0001_a.sql", 2, "begins on line 2")
    });
}

#[test]
fn an_undo_section_is_rejected() {
    let text = "-- +goose Up\ncreate table a ();\n-- +goose Down\ndrop table a;\n";
    leaves_the_database_empty(
        |step| step.input("layout", "plain").file("migrations/0001_a.sql", text),
        |done| done.fails("undo-section", 2).annotation("migrations/0001_a.sql", 3, "`-- +goose Down` on line 3"),
    );
}

#[test]
fn every_problem_of_the_files_is_reported_in_one_run() {
    leaves_the_database_empty(
        |step| {
            step.file("migrations/0001_a.sql", "commit;\n")
                .file("migrations/0001_b.sql", "\\q\n")
                .file("migrations/0004_d.sql", b"\xff")
                .file("migrations/notes.sql", "")
                .input("gaps", "refuse")
        },
        |done| {
            done.fails("file-name", 2)
                .error_in("migrations/notes.sql", "file-name")
                .error_in("migrations/0001_b.sql", "version-duplicate")
                .error_in("migrations/0004_d.sql", "version-gap")
                .annotation("migrations/0001_a.sql", 1, "own-transaction")
                .annotation("migrations/0001_b.sql", 1, "psql-command")
                .annotation("migrations/0004_d.sql", 1, "file-not-utf8")
        },
    );
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_accepted() {
    let lab = Lab::new();
    Action::new(&lab)
        .file("migrations/0001_a.sql", "\u{feff}create table a (id int);\r\n\r\ninsert into a values (1);\r\n")
        .run()
        .succeeds()
        .applied(["0001_a"])
        .done();
    assert_eq!(lab.database.sql("select id from a"), "1");
    // A checkout with other line ends changes no checksum.
    Action::new(&lab)
        .file("migrations/0001_a.sql", "\u{feff}create table a (id int);\n\ninsert into a values (1);\n")
        .run()
        .nothing_to_do()
        .done();
}

#[test]
fn the_directory_may_be_given_in_any_form() {
    let lab = Lab::new();
    let step = || Action::new(&lab).file("db/migrations/0001_a.sql", "create table a (id int);\nselect oops;\n");
    for written in ["db/migrations/", "./db/migrations", "db/./migrations//"] {
        step()
            .input("migrations", written)
            .run()
            .fails("statement-failed", 6)
            .annotation("db/migrations/0001_a.sql", 2, "oops")
            .pending(["0001_a"])
            .done();
    }
    let absolute = step();
    let path = absolute.workspace().join("db/migrations").display().to_string();
    absolute
        .input("migrations", path)
        .run()
        .fails("statement-failed", 6)
        .annotation("db/migrations/0001_a.sql", 2, "oops")
        .pending(["0001_a"])
        .done();
    // The workspace's path on the host, outside the container.
    step()
        .input("migrations", "/home/runner/work/app/app/db/migrations")
        .run()
        .fails("statement-failed", 6)
        .annotation("db/migrations/0001_a.sql", 2, "oops")
        .pending(["0001_a"])
        .done();
    Action::new(&lab)
        .file("0001_a.sql", "create table a ();\n")
        .input("migrations", ".")
        .run()
        .succeeds()
        .applied(["0001_a"])
        .done();
}

#[test]
fn a_dump_of_a_real_schema_is_applied() {
    let source = Lab::new();
    source.database.sql(
        "set role app; \
         create table words (id int primary key, word text); \
         create table journal (id int, at timestamptz default now()); \
         insert into words values (1, E'tab\\there'), (2, 'semicolon; and ''quote'''), (3, null), (4, E'\\\\.'); \
         create function twice(n int) returns int language plpgsql as $$ begin return n * 2; end $$; \
         create function thrice(n int) returns int begin atomic select case when n > 0 then n * 3 end; end; \
         create rule note as on update to words do also \
             (insert into journal (id) values (old.id); insert into journal (id) values (new.id))",
    );
    let dump = source.database.dump();
    assert!(dump.contains("COPY public.words") && dump.contains("BEGIN ATOMIC") && dump.contains("CREATE RULE"));
    // Dumps before August 2025 have no such lines.
    let restricted = if dump.contains("\\restrict ") { dump } else { format!("\\restrict x\n{dump}\\unrestrict x\n") };

    let lab = Lab::new();
    let step = || Action::new(&lab).file("migrations/0001_dump.sql", &restricted);
    step()
        .file("migrations/0002_next.sql", "alter table words add note text;\n")
        .run()
        .succeeds()
        .applied(["0001_dump", "0002_next"])
        .done();
    let words = "select id, word from words order by id";
    assert_eq!(lab.database.sql(words), source.database.sql(words));
    assert_eq!(
        lab.database
            .sql("select twice(2), thrice(2); update words set id = 9 where id = 1; table journal")
            .lines()
            .count(),
        3
    );
}

#[test]
fn the_restrict_lines_of_a_dump_are_ignored_without_moving_positions() {
    let lab = Lab::new();
    let schema = |text: &str| format!("\\restrict x1\n{text}\n\\unrestrict x1\n");
    Action::new(&lab)
        .file("migrations/0001_a.sql", schema("create table a ();"))
        .file("migrations/0002_b.sql", schema("select oops;"))
        .run()
        .fails("statement-failed", 6)
        .annotation("migrations/0002_b.sql", 2, "oops")
        .applied(["0001_a"])
        .pending(["0002_b"])
        .logs("--> migrations/0002_b.sql:2:8\n")
        .done();
}

#[test]
fn a_file_without_a_statement_is_a_migration() {
    let lab = Lab::new();
    let step = || {
        Action::new(&lab)
            .file("migrations/0001_empty.sql", "")
            .file("migrations/0002_comment.sql", "-- nothing any more\n;\n")
            .file("migrations/0003_optout.sql", "-- no-transaction\n")
    };
    step().run().succeeds().applied(["0001_empty", "0002_comment", "0003_optout"]).done();
    step().run().nothing_to_do().done();
}

#[test]
fn odd_file_names_are_reported_unchanged() {
    let lab = Lab::new();
    let [odd, failing] = ["0001_größe & 'mehr' [a](b)|c", "0002_50%, a:b;c"];
    Action::new(&lab)
        .file(&format!("migrations/{odd}.sql"), "create table a ();")
        .file(&format!("migrations/{failing}.sql"), "\nselect oops;")
        .run()
        .fails("statement-failed", 6)
        .annotation(&format!("migrations/{failing}.sql"), 2, "oops")
        .applied([odd])
        .pending([failing])
        .summary("größe &amp; 'mehr' \\[a\\](b)\\|c")
        .done();
    assert_eq!(lab.database.sql("select name from bastion_migrate.ledger"), "größe & 'mehr' [a](b)|c");
}
