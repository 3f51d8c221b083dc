//! The form of each layout: how a migration is written, and what its ledger has afterwards, as the layout's own tool
//! leaves it.

use crate::action::Action;

/// A path and a text.
pub(crate) type TextFile = (String, String);

/// A layout, and how its files are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// The name in the input `layout`.
    pub(crate) layout: &'static str,
    /// The files of a migration: number, name, SQL that applies it, SQL that undoes it.
    write: fn(u32, &str, &str, &str) -> Vec<TextFile>,
    /// The name under which a migration is reported.
    label: fn(u32, &str) -> String,
    /// The lines that opt a file out of its transaction, and a file beside it.
    pub(crate) opt_out: OptOut,
    /// The ledger.
    pub(crate) table: &'static str,
    /// The query for the ledger's rows without times, after the migrations 1 `one` and 2 `two`.
    pub(crate) rows: &'static str,
    /// Its result.
    pub(crate) golden: &'static str,
    /// The query for the ledger's versions, each with `t` if its migration is complete.
    pub(crate) versions: &'static str,
    /// The reach of a row.
    pub(crate) reach: Reach,
    /// Set if the ledger has checksums.
    pub(crate) has_checksums: bool,
    /// The keys of what the ledger has about the origin of a row.
    pub(crate) has_of_rows: &'static [&'static str],
}

/// Layouts whose files have SQL that undoes a migration.
pub(crate) const WITH_WAY_BACK: [&str; 7] = ["plain", "sqlx", "golang-migrate", "dbmate", "goose", "diesel", "tern"];

/// The way in which a file opts out of its transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OptOut {
    /// A line above its statements.
    Line(&'static str),
    /// In the place of `-- migrate:up`.
    UpMark(&'static str),
    /// A file of this name and content beside it.
    File(&'static str, &'static str),
}

/// The migrations for which a row of a ledger stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The one with its version.
    One,
    /// All up to its version: the ledger has only the newest one.
    UpTo,
}

/// SQL of the migrations whose rows are golden. Its checksums were computed with the tools' own programs, or from their
/// sources.
pub(crate) const ONE: &str = "create table one (id int);\n";
pub(crate) const TWO: &str = "create table two (id int);\n";
pub(crate) const UNDO_ONE: &str = "drop table one;\n";
pub(crate) const UNDO_TWO: &str = "drop table two;\n";

fn numbered(number: u32, name: &str) -> String {
    format!("{number:04}_{name}")
}

fn dated(number: u32, name: &str) -> String {
    format!("{}_{name}", 20_240_101_000_000_u64 + u64::from(number))
}

/// All layouts.
pub(crate) const FORMS: &[Form] = &[
    Form {
        layout: "plain",
        write: |number, name, up, down| {
            let stem = numbered(number, name);
            vec![(format!("{stem}.sql"), up.to_owned()), (format!("{stem}.down.sql"), down.to_owned())]
        },
        label: numbered,
        opt_out: OptOut::Line("-- no-transaction\n"),
        table: "bastion_migrate.ledger",
        rows: "select version, name, checksum = encode(sha256(convert_to(case version when 1 then 'create table one (id int);' \
               else 'create table two (id int);' end || chr(10), 'UTF8')), 'hex') from bastion_migrate.ledger order by 1",
        golden: "1|one|t\n2|two|t",
        versions: "select version, 't' from bastion_migrate.ledger",
        reach: Reach::One,
        has_checksums: true,
        has_of_rows: &["recorded_at", "role", "run"],
    },
    Form {
        layout: "sqlx",
        write: |number, name, up, down| {
            let stem = numbered(number, name);
            vec![(format!("{stem}.up.sql"), up.to_owned()), (format!("{stem}.down.sql"), down.to_owned())]
        },
        label: |number, name| format!("{}.up", numbered(number, name)),
        opt_out: OptOut::Line("-- no-transaction\n"),
        table: "_sqlx_migrations",
        rows: "select version, description, success, checksum = sha384(convert_to(case version when 1 then \
               'create table one (id int);' else 'create table two (id int);' end || chr(10), 'UTF8')) \
               from _sqlx_migrations order by 1",
        golden: "1|one|t|t\n2|two|t|t",
        versions: "select version, success from _sqlx_migrations",
        reach: Reach::One,
        has_checksums: true,
        has_of_rows: &["recorded_at"],
    },
    Form {
        layout: "golang-migrate",
        write: |number, name, up, down| {
            let stem = format!("{number:06}_{name}");
            vec![(format!("{stem}.up.sql"), up.to_owned()), (format!("{stem}.down.sql"), down.to_owned())]
        },
        label: |number, name| format!("{number:06}_{name}.up"),
        opt_out: OptOut::Line("-- no-transaction\n"),
        table: "schema_migrations",
        rows: "select version, dirty from schema_migrations",
        golden: "2|f",
        versions: "select version, not dirty from schema_migrations",
        reach: Reach::UpTo,
        has_checksums: false,
        has_of_rows: &[],
    },
    Form {
        layout: "dbmate",
        write: |number, name, up, down| {
            let up = if up.starts_with("-- migrate:up") { up.to_owned() } else { format!("-- migrate:up\n{up}") };
            vec![(format!("{}.sql", dated(number, name)), format!("{up}\n-- migrate:down\n{down}"))]
        },
        label: dated,
        opt_out: OptOut::UpMark("-- migrate:up transaction:false\n"),
        table: "schema_migrations",
        rows: "select version from schema_migrations order by 1",
        golden: "20240101000001\n20240101000002",
        versions: "select version, 't' from schema_migrations",
        reach: Reach::One,
        has_checksums: false,
        has_of_rows: &[],
    },
    Form {
        layout: "goose",
        write: |number, name, up, down| {
            vec![(
                format!("{}.sql", numbered(number, name)),
                format!(
                    "-- +goose Up\n{up}\n-- +goose Down\n-- +goose StatementBegin\n{down}\n-- +goose StatementEnd\n"
                ),
            )]
        },
        label: numbered,
        opt_out: OptOut::Line("-- +goose NO TRANSACTION\n"),
        table: "goose_db_version",
        rows: "select id, version_id, is_applied from goose_db_version order by 1",
        golden: "1|0|t\n2|1|t\n3|2|t",
        versions: "select version_id, is_applied from goose_db_version where version_id > 0",
        reach: Reach::One,
        has_checksums: false,
        has_of_rows: &["recorded_at"],
    },
    Form {
        layout: "diesel",
        write: |number, name, up, down| {
            let directory = diesel_directory(number, name);
            vec![(format!("{directory}/up.sql"), up.to_owned()), (format!("{directory}/down.sql"), down.to_owned())]
        },
        label: diesel_directory,
        opt_out: OptOut::File("metadata.toml", "run_in_transaction = false\n"),
        table: "__diesel_schema_migrations",
        rows: "select version from __diesel_schema_migrations order by 1",
        golden: "20240101000001\n20240101000002",
        versions: "select version, 't' from __diesel_schema_migrations",
        reach: Reach::One,
        has_checksums: false,
        has_of_rows: &["recorded_at"],
    },
    Form {
        layout: "refinery",
        write: |number, name, up, _| vec![(format!("V{number}__{name}.sql"), up.to_owned())],
        label: |number, name| format!("V{number}__{name}"),
        opt_out: OptOut::Line("-- no-transaction\n"),
        table: "refinery_schema_history",
        rows: "select version, name, applied_on ~ '^[0-9]{4}-[0-9-]+T[0-9:.]+Z$', checksum from refinery_schema_history order by 1",
        golden: "1|one|t|13066505081342230554\n2|two|t|10882991275459591221",
        versions: "select version, 't' from refinery_schema_history",
        reach: Reach::One,
        has_checksums: true,
        has_of_rows: &["recorded_at"],
    },
    Form {
        layout: "flyway",
        write: |number, name, up, _| vec![(format!("V{number}__{name}.sql"), up.to_owned())],
        label: |number, name| format!("V{number}__{name}"),
        opt_out: OptOut::Line("-- flyway:executeInTransaction=false\n"),
        table: "flyway_schema_history",
        rows: "select installed_rank, version, description, type, script, checksum, installed_by, execution_time between 0 and 60000, \
               success from flyway_schema_history order by 1",
        golden: "1|1|one|SQL|V1__one.sql|-955116569|app|t|t\n2|2|two|SQL|V2__two.sql|-406682249|app|t|t",
        versions: "select version, success from flyway_schema_history",
        reach: Reach::One,
        has_checksums: true,
        has_of_rows: &["recorded_at", "role"],
    },
    Form {
        layout: "prisma",
        write: |number, name, up, _| {
            vec![
                (format!("{}/migration.sql", dated(number, name)), up.to_owned()),
                ("migration_lock.toml".to_owned(), "provider = \"postgresql\"\n".to_owned()),
            ]
        },
        label: dated,
        opt_out: OptOut::Line("-- no-transaction\n"),
        table: "_prisma_migrations",
        rows: "select migration_name, checksum = encode(sha256(convert_to(case when migration_name ~ 'one' then \
               'create table one (id int);' else 'create table two (id int);' end || chr(10), 'UTF8')), 'hex'), length(id), \
               finished_at >= started_at, logs, rolled_back_at, applied_steps_count from _prisma_migrations order by 1",
        golden: "20240101000001_one|t|36|t|||1\n20240101000002_two|t|36|t|||1",
        versions: "select migration_name, finished_at is not null and rolled_back_at is null from _prisma_migrations",
        reach: Reach::One,
        has_checksums: true,
        has_of_rows: &["recorded_at"],
    },
    Form {
        layout: "tern",
        write: |number, name, up, down| {
            let text = format!("{up}\n---- create above / drop below ----\n{down}");
            vec![(format!("{number:03}_{name}.sql"), text)]
        },
        label: |number, name| format!("{number:03}_{name}"),
        opt_out: OptOut::Line("---- tern: disable-tx ----\n"),
        table: "schema_version",
        rows: "select version from schema_version",
        golden: "2",
        versions: "select version, 't' from schema_version where version > 0",
        reach: Reach::UpTo,
        has_checksums: false,
        has_of_rows: &[],
    },
    Form {
        layout: "supabase",
        write: |number, name, up, _| vec![(format!("{}.sql", dated(number, name)), up.to_owned())],
        label: dated,
        opt_out: OptOut::Line("-- no-transaction\n"),
        table: "supabase_migrations.schema_migrations",
        rows: "select version, statements, name from supabase_migrations.schema_migrations order by 1",
        golden: "20240101000001|{\"create table one (id int)\"}|one\n20240101000002|{\"create table two (id int)\"}|two",
        versions: "select version, 't' from supabase_migrations.schema_migrations",
        reach: Reach::One,
        has_checksums: false,
        has_of_rows: &[],
    },
];

fn diesel_directory(number: u32, name: &str) -> String {
    format!("2024-01-01-0000{number:02}_{name}")
}

fn add(files: Vec<TextFile>, step: Action<'_>) -> Action<'_> {
    files.into_iter().fold(step, |step, (path, text)| step.file(&format!("migrations/{path}"), text))
}

impl Form {
    /// Returns the form of a layout.
    pub(crate) fn of(layout: &str) -> &'static Self {
        FORMS.iter().find(|form| form.layout == layout).expect("every layout has a form")
    }

    /// Adds a migration to the step.
    pub(crate) fn migration<'a>(&self, step: Action<'a>, number: u32, name: &str, up: &str) -> Action<'a> {
        self.reversible(step, number, name, up, "select 1;\n")
    }

    /// Adds a migration with its way back to the step.
    pub(crate) fn reversible<'a>(&self, step: Action<'a>, number: u32, name: &str, up: &str, down: &str) -> Action<'a> {
        add((self.write)(number, name, up, down), step)
    }

    /// Adds a migration that opts out of its transaction.
    pub(crate) fn without_transaction<'a>(&self, step: Action<'a>, number: u32, name: &str, up: &str) -> Action<'a> {
        add(self.texts_without_transaction(number, name, up), step)
    }

    /// Returns the files of a migration.
    pub(crate) fn texts(&self, number: u32, name: &str, up: &str) -> Vec<TextFile> {
        (self.write)(number, name, up, "select 1;\n")
    }

    /// Returns the files of a migration that opts out of its transaction.
    pub(crate) fn texts_without_transaction(&self, number: u32, name: &str, up: &str) -> Vec<TextFile> {
        match self.opt_out {
            OptOut::Line(line) | OptOut::UpMark(line) => self.texts(number, name, &format!("{line}{up}")),
            OptOut::File(file, text) => {
                let beside = (format!("{}/{file}", self.label(number, name)), text.to_owned());
                self.texts(number, name, up).into_iter().chain([beside]).collect()
            }
        }
    }

    /// Returns the name under which a migration is reported.
    pub(crate) fn label(&self, number: u32, name: &str) -> String {
        (self.label)(number, name)
    }

    /// Returns the version of the migration 1 `one` or 2 `two`, as `target` has it.
    pub(crate) fn version(&self, number: u32) -> String {
        let label = self.label(number, if number == 1 { "one" } else { "two" });
        if self.layout == "prisma" {
            return label;
        }
        label.split('_').next().unwrap_or_default().trim_start_matches('V').trim_start_matches('0').to_owned()
    }

    /// Returns the version of a migration as the ledger has it.
    pub(crate) fn recorded_version(&self, number: u32, name: &str) -> String {
        let label = self.label(number, name);
        match self.layout {
            "prisma" => label,
            "diesel" => label.split('_').next().unwrap_or_default().replace('-', ""),
            _ => label.split('_').next().unwrap_or_default().trim_start_matches(['V', '0']).to_owned(),
        }
    }

    /// Returns the path of the file that applies a migration.
    pub(crate) fn path(&self, number: u32, name: &str) -> String {
        let (path, _) = (self.write)(number, name, "", "").swap_remove(0);
        format!("migrations/{path}")
    }

    /// Returns a step with this layout.
    pub(crate) fn step<'a>(&self, step: Action<'a>) -> Action<'a> {
        step.input("layout", self.layout)
    }

    /// Returns the files of the two migrations whose rows are golden.
    pub(crate) fn golden_texts(&self) -> Vec<TextFile> {
        [self.golden_texts_of_one(), (self.write)(2, "two", TWO, UNDO_TWO)].concat()
    }

    /// Returns the files of the first of them.
    pub(crate) fn golden_texts_of_one(&self) -> Vec<TextFile> {
        (self.write)(1, "one", ONE, UNDO_ONE)
    }

    /// Adds the two migrations whose rows are golden.
    pub(crate) fn golden_files<'a>(&self, step: Action<'a>) -> Action<'a> {
        let step = self.reversible(step, 1, "one", ONE, UNDO_ONE);
        self.reversible(step, 2, "two", TWO, UNDO_TWO)
    }
}
