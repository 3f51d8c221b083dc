//! Files that can't be read as migrations are refused before anything is touched; those that are merely unusual work.

use crate::{action::Action, judge::Finished, lab::Lab};
use std::{fs, os::unix::fs::symlink};

/// Runs the step in a fresh lab, which must be as fresh afterwards.
fn refuses(prepare: impl FnOnce(Action<'_>) -> Action<'_>, judge: impl FnOnce(Finished) -> Finished) {
    let lab = Lab::new();
    judge(prepare(Action::new(&lab)).run()).done();
    assert_eq!(lab.database.contents(), "");
}

/// The same for a file of this text.
fn refuses_text(text: impl AsRef<[u8]>, judge: impl FnOnce(Finished) -> Finished) {
    refuses(|step| step.file("migrations/0001_a.sql", text), judge);
}

#[test]
fn a_directory_that_is_not_there() {
    refuses(
        |step| step.input("migrations", "db/migrate"),
        |done| {
            done.fails("files-missing", 2)
                .error("the directory `db/migrate` named by `migrations` does not exist")
                .summary("actions/checkout ran before this step")
        },
    );
}

#[test]
fn a_file_where_the_directory_should_be() {
    refuses(
        |step| step.file("migrations", "select 1;"),
        |done| done.fails("files-missing", 2).error("`migrations` named by `migrations` is not a directory"),
    );
}

#[test]
fn a_directory_without_a_migration() {
    refuses(
        |step| step.file("migrations/README.md", "soon"),
        |done| done.fails("files-empty", 2).error("the directory `migrations` has no migration in it"),
    );
}

#[test]
fn a_directory_whose_files_lie_one_deeper() {
    refuses(
        |step| step.file("migrations/postgres/0001_a.sql", "select 1;"),
        |done| {
            done.fails("files-empty", 2)
                .error("`migrations/postgres` has SQL files, but subdirectories are not read")
                .says("fix: set `migrations: migrations/postgres`, or move the files up")
        },
    );
}

#[test]
fn a_layout_of_directories_is_called_by_its_name() {
    refuses(
        |step| {
            step.file("migrations/00000000000000_init/up.sql", "select 1;")
                .file("migrations/00000000000000_init/down.sql", "")
        },
        |done| {
            done.fails("files-empty", 2)
                .error("the layout of `migrations` is Diesel's: each migration is a directory with `up.sql` in it")
                .says("as in `migrations/00000000000000_init/up.sql`")
                .says("`run: diesel migration run`")
                .never_says("set `migrations:")
        },
    );
    for migrations in ["prisma/migrations", "prisma", "prisma/migrations/20230518191501_init"] {
        refuses(
            |step| {
                step.file("prisma/migrations/20230518191501_init/migration.sql", "select 1;")
                    .file("prisma/migrations/migration_lock.toml", "provider = \"postgresql\"")
                    .file("prisma/schema.prisma", "")
                    .input("migrations", migrations)
            },
            |done| {
                done.fails("files-empty", 2)
                    .error(&format!("the layout of `{migrations}` is Prisma's"))
                    .says("have Prisma apply them: set `tool: prisma`")
            },
        );
    }
}

#[test]
fn dates_of_several_lengths_run_by_number_and_are_warned_of() {
    let lab = Lab::new();
    Action::new(&lab)
        .file("migrations/20250626000000_c.sql", "create table c ();")
        .file("migrations/20250624000000_a.sql", "create table a ();")
        .file("migrations/20250625_b.sql", "create table b ();")
        .run()
        .succeeds()
        .applied(["20250625_b", "20250624000000_a", "20250626000000_c"])
        .warning("`20250625_b.sql` has a number of 8 digits and `20250624000000_a.sql` one of 14")
        .says("by text: `20250624000000_a.sql`, `20250625_b.sql`, `20250626000000_c.sql`")
        .done();
}

#[test]
fn a_file_that_can_not_be_read() {
    refuses(
        |step| {
            fs::create_dir(step.workspace().join("migrations")).unwrap();
            symlink("/outside/of/the/workspace.sql", step.workspace().join("migrations/0001_a.sql")).unwrap();
            step
        },
        |done| {
            done.fails("file-unreadable", 2)
                .error_in("migrations/0001_a.sql", "`migrations/0001_a.sql` can't be read")
                .says("No such file or directory")
        },
    );
}

#[test]
fn what_is_no_file_of_the_directory_itself_is_left_alone() {
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
fn a_name_that_tells_no_version() {
    refuses(
        |step| step.file("migrations/create_users.sql", "select 1;").file("migrations/0002_b.SQL", "select 1;"),
        |done| {
            done.fails("file-name", 2)
                .error_in("migrations/create_users.sql", "does not begin with a number and `_`")
                .error_in("migrations/0002_b.SQL", "does not end in `.sql` in lower case")
        },
    );
}

#[test]
fn text_that_is_not_utf_8() {
    refuses_text(b"select 1;\n-- caf\xe9\n", |done| {
        done.fails("file-not-utf8", 2).annotation("migrations/0001_a.sql", 2, "byte 0xe9 at offset 16 on line 2")
    });
    refuses_text(b"\xff\xfes\0e\0", |done| {
        done.fails("file-not-utf8", 2).annotation("migrations/0001_a.sql", 1, "it begins with the mark of UTF-16")
    });
    refuses_text("select 1;\n\0", |done| {
        done.fails("file-not-utf8", 2).annotation("migrations/0001_a.sql", 2, "a NUL byte at offset 10")
    });
}

#[test]
fn two_files_of_one_version() {
    refuses(
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
fn a_gap_between_versions_only_if_gaps_are_refused() {
    refuses(
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
fn commands_of_psql() {
    refuses_text("create table a ();\n\\i other.sql\nselect :'name';\n", |done| {
        done.fails("psql-command", 2)
            .annotation("migrations/0001_a.sql", 2, "`\\i` on line 2 of `migrations/0001_a.sql` is a command of psql")
            .annotation("migrations/0001_a.sql", 3, "`:'name'` on line 3")
    });
}

#[test]
fn a_mix_of_what_needs_a_transaction_and_what_can_not_have_one() {
    refuses_text("create table a (id int);\ncreate index concurrently i on a (id);\n", |done| {
        done.fails("mixed-file", 2)
            .annotation("migrations/0001_a.sql", 2, "CREATE INDEX CONCURRENTLY on line 2")
            .says("fix: put the statement of line 2 into a file of its own")
    });
}

#[test]
fn what_is_opened_and_never_closed() {
    refuses_text("select 1;\nselect 'x;\n", |done| {
        done.fails("file-syntax", 2).annotation("migrations/0001_a.sql", 2, "begins on line 2")
    });
}

#[test]
fn a_section_that_undoes_the_rest() {
    refuses_text("-- +goose Up\ncreate table a ();\n-- +goose Down\ndrop table a;\n", |done| {
        done.fails("undo-section", 2).annotation("migrations/0001_a.sql", 3, "`-- +goose Down` on line 3")
    });
}

#[test]
fn everything_that_is_wrong_at_once() {
    refuses(
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
fn a_byte_order_mark_and_windows_line_ends_are_taken() {
    let lab = Lab::new();
    Action::new(&lab)
        .file("migrations/0001_a.sql", "\u{feff}create table a (id int);\r\n\r\ninsert into a values (1);\r\n")
        .run()
        .succeeds()
        .applied(["0001_a"])
        .done();
    assert_eq!(lab.database.sql("select id from a"), "1");
    // A checkout with other line ends is no change.
    Action::new(&lab)
        .file("migrations/0001_a.sql", "\u{feff}create table a (id int);\n\ninsert into a values (1);\n")
        .run()
        .nothing_to_do()
        .done();
}

#[test]
fn the_directory_may_be_written_in_any_way() {
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
    // Where the runner sees the workspace, outside of the container.
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
    let guarded = if dump.contains("\\restrict ") { dump } else { format!("\\restrict x\n{dump}\\unrestrict x\n") };

    let lab = Lab::new();
    let step = || Action::new(&lab).file("migrations/0001_dump.sql", &guarded);
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
fn lines_that_guard_a_dump_from_psql_are_left_out_and_move_nothing() {
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
        .says("--> migrations/0002_b.sql:2:8\n")
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
fn odd_names_are_told_as_they_are() {
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
