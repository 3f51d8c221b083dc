//! Recipes against the real output of the tools, which is in `tests/cases/tools` with versions and sources.

use bastion_migrate::{
    fault::{Code, Fault},
    tool::{Done, ListedMigration, ListingOutcome, MigrationStarted, Recipe, explain_failure},
};
use std::{fs, path::Path};

/// A recorded call of a tool.
#[derive(Debug, Default)]
struct Case {
    title: String,
    exit: i64,
    out: Vec<String>,
    err: Vec<String>,
}

impl Case {
    /// Reads all cases of a file: `=== title [exit]`, then lines of standard output after `| ` and of standard error
    /// after `! `.
    fn all(file: &str) -> Vec<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cases/tools/{file}.txt"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut cases: Vec<Self> = Vec::new();
        for line in text.lines() {
            let output =
                |prefix| line.strip_prefix(prefix).map(|text: &str| text.strip_prefix(' ').unwrap_or(text).to_owned());
            if let Some(heading) = line.strip_prefix("=== ") {
                let (title, exit) = heading.trim_end_matches(']').rsplit_once(" [").expect("a case has an exit code");
                cases.push(Self { title: title.to_owned(), exit: exit.parse().unwrap(), ..Self::default() });
            } else if let Some(case) = cases.last_mut() {
                case.out.extend(output('|'));
                case.err.extend(output('!'));
            }
        }
        assert!(!cases.is_empty(), "{file}");
        cases
    }

    fn of(file: &str, title: &str) -> Self {
        Self::all(file)
            .into_iter()
            .find(|case| case.title.starts_with(title))
            .unwrap_or_else(|| panic!("{file}: {title}"))
    }

    fn started(&self, recipe: &Recipe) -> Vec<MigrationStarted> {
        self.out.iter().filter_map(|line| recipe.started_migration(line)).collect()
    }

    /// Returns the finished migrations in the output, with their durations in microseconds if the tool prints them.
    fn finished_migrations(&self, recipe: &Recipe) -> Vec<(String, Option<u128>)> {
        let finished_migrations = self.out.iter().filter_map(|line| recipe.ends(line));
        finished_migrations.map(|Done { name, took, .. }| (name, took.map(|took| took.as_micros()))).collect()
    }

    fn started_names(&self, recipe: &Recipe) -> Vec<String> {
        self.started(recipe).into_iter().map(|started| started.name).collect()
    }

    /// Explains the failure as the executor does: by standard error, or by standard output if that is empty.
    fn fault(&self, recipe: &Recipe) -> Fault {
        let lines = if self.err.is_empty() { &self.out } else { &self.err };
        let started = self.started(recipe).pop();
        explain_failure(recipe, "ended with code 1", lines, started.as_ref().map(|started| started.name.as_str()))
    }

    fn listing_outcome(&self, recipe: &Recipe) -> ListingOutcome {
        let listing = recipe.listing.as_ref().expect("the tool lists");
        listing.read_outcome(self.exit, self.out.iter().chain(&self.err).map(String::as_str))
    }

    fn listed(&self, recipe: &Recipe) -> Vec<ListedMigration> {
        match self.listing_outcome(recipe) {
            ListingOutcome::Listed(listed) => listed,
            other => panic!("{}: {other:?}", self.title),
        }
    }
}

fn tool(name: &str) -> Recipe {
    Recipe::by_name(name).unwrap_or_else(|| panic!("there is no recipe {name}"))
}

/// Formats a listing: `+` before applied migrations and `-` before pending ones.
fn formatted(listed: &[ListedMigration]) -> Vec<String> {
    listed.iter().map(|migration| format!("{}{}", if migration.applied { '+' } else { '-' }, migration.name)).collect()
}

/// The prefix of a failed case's title, its code, and parts of its cause and its fix.
type Expected = (&'static str, Code, &'static str, &'static str);

/// Checks that every failed case of the file is expected and explained, and that every expected case exists.
fn assert_explained(recipe: &Recipe, file: &str, expected: &[Expected]) {
    let failed = Case::all(file).into_iter().filter(|case| case.exit != 0 && !case.title.contains("pending"));
    let titles: Vec<String> = failed.map(|case| case.title).collect();
    for title in &titles {
        assert!(expected.iter().any(|(begins, ..)| title.starts_with(begins)), "{file}: `{title}` is not expected");
    }
    for (title, code, cause, fix) in expected {
        let fault = Case::of(file, title).fault(recipe);
        assert_eq!(fault.code, *code, "{file}: {title}: {fault:?}");
        assert!(fault.cause.contains(cause) && fault.fix.contains(fix), "{file}: {title}: {fault:?}");
    }
}

const DJANGO: [&str; 8] = [
    "django-4.2-psycopg2",
    "django-4.2",
    "django-5.0-psycopg2",
    "django-5.1-psycopg2",
    "django-5.2-psycopg2",
    "django-5.2",
    "django-6.0",
    "django-6.1",
];

const DJANGO_FAILS: &[Expected] = &[
    (
        "InconsistentMigrationHistory: carriers",
        Code::ToolFailed,
        "Migration orders.0001_initial is applied before its dependency carriers.0001_initial",
        "contains orders.0001_initial, but not carriers.0001_initial",
    ),
    (
        "table already exists",
        Code::ToolFailed,
        "ProgrammingError: relation \"carriers_carrier\" already exists",
        "`python manage.py migrate carriers 0001_initial --fake`",
    ),
    ("table already exists: --fake-initial", Code::ToolFailed, "column \"name\" does not exist", "`--fake-initial`"),
    (
        "NodeNotFoundError",
        Code::ToolFailed,
        "dependencies reference nonexistent parent node ('carriers', '0017_missing')",
        "('carriers', '0017_missing'), a migration that orders.0003_bad depends on, is not where the tool runs",
    ),
    ("NodeNotFoundError: showmigrations", Code::ToolFailed, "nonexistent parent node", ".dockerignore"),
    (
        "Conflicting migrations",
        Code::ToolFailed,
        "CommandError: Conflicting migrations detected",
        "(0002_backfill, 0003_bad in orders); run `python manage.py makemigrations --merge`",
    ),
    ("lock timeout", Code::LockTimeout, "OperationalError: canceling statement due to lock timeout", "`lock-timeout`"),
    ("statement timeout", Code::StatementTimeout, "due to statement timeout", "`statement-timeout`"),
    (
        "RunSQL with error",
        Code::ToolFailed,
        "relation \"nosuch\" does not exist",
        "no migration has created nosuch here",
    ),
    ("RunPython raising", Code::ToolFailed, "ValueError: boom", "tool's output in the log"),
    (
        "permission denied",
        Code::PermissionDenied,
        "permission denied for schema public",
        "missing privileges on public; since PostgreSQL 15",
    ),
    (
        "must be owner",
        Code::PermissionDenied,
        "must be owner of table carriers_carrier",
        "does not own table carriers_carrier",
    ),
    ("missing role", Code::ToolFailed, "role \"nobody_here\" does not exist", "POSTGRES_USER"),
    ("missing database", Code::ToolFailed, "database \"nosuchdb\" does not exist", "the database `nosuchdb`"),
    ("connection refused", Code::ToolFailed, "Connection refused", "`docker compose up -d db`"),
    ("connection refused: showmigrations", Code::ToolFailed, "Connection refused", "DATABASE_URL"),
    ("unknown host", Code::ToolFailed, "nosuchhost.invalid", "connects to `nosuchhost.invalid`"),
    ("sslmode=require", Code::ToolFailed, "server does not support SSL", "`database-sslmode: require`"),
    (
        "missing app",
        Code::ToolFailed,
        "ModuleNotFoundError: No module named 'nosuchapp'",
        "module `nosuchapp` is not available",
    ),
    ("missing settings", Code::ToolFailed, "No module named 'nosuch'", "DJANGO_SETTINGS_MODULE"),
];

/// The messages of drivers that require TLS and are refused.
#[test]
fn a_driver_that_requires_tls_gets_the_same_advice_whatever_its_message() {
    for message in [
        "connection to server at \"127.0.0.1\", port 5432 failed: server does not support SSL, but SSL was required",
        "Error: The server does not support SSL connections",
        "org.postgresql.util.PSQLException: The server does not support SSL.",
        "ConnectionError: PostgreSQL server at \"db:5432\" rejected SSL upgrade",
        "Npgsql.NpgsqlException: SSL connection requested. No SSL enabled connection from this host is configured.",
        "pq: SSL is not enabled on the server",
        "failed to connect: tls error (server refused TLS connection)",
        "pg8000.exceptions.InterfaceError: Server refuses SSL",
        "error communicating with database: server does not support TLS",
    ] {
        let fault =
            explain_failure(&Recipe::by_name("custom").unwrap(), "ended with code 1", &[message.to_owned()], None);
        assert!(fault.fix.contains("`database-sslmode: require`"), "{message}: {}", fault.fix);
    }
}

#[test]
fn django_output_is_understood_from_4_2_to_6_1() {
    let django = tool("django");
    for file in DJANGO {
        assert_explained(&django, file, DJANGO_FAILS);
        let fresh = formatted(&Case::of(file, "showmigrations --plan on an empty").listed(&django));
        assert!(fresh.len() == 19 && fresh.iter().all(|migration| migration.starts_with('-')), "{file}: {fresh:?}");
        assert!(fresh.contains(&"-carriers.0003_idx".to_owned()), "{file}: {fresh:?}");
        let mixed = formatted(&Case::of(file, "InconsistentMigrationHistory: showmigrations").listed(&django));
        assert!(mixed.contains(&"-carriers.0001_initial".to_owned()), "{file}: {mixed:?}");
        assert!(mixed.contains(&"+carriers.0002_carrier_code".to_owned()), "{file}: {mixed:?}");
        let started = Case::of(file, "migrate --noinput").started_names(&django);
        assert_eq!(started.last().map(String::as_str), Some("orders.0002_backfill"), "{file}");
        let rolled_back = Case::of(file, "migrate -v 2 backwards").started_names(&django);
        assert_eq!(rolled_back.last().map(String::as_str), Some("carriers.0002_carrier_code"), "{file}");
    }
}

#[test]
fn django_tenants_output_is_understood_in_3_13_and_4_0() {
    let tenants = tool("django-tenants");
    let fails: &[Expected] = &[
        (
            "migrate_schemas --tenant on an empty",
            Code::ToolFailed,
            "relation \"customers_client\" does not exist",
            "migrate the shared schema first",
        ),
        (
            "standard executor: t3",
            Code::ToolFailed,
            "column \"code\" of relation \"carriers_carrier\" already exists",
            "--schema=SCHEMA carriers 0002_carrier_code --fake`",
        ),
        ("multiprocessing executor: t3 fails", Code::ToolFailed, "already exists", "--fake`"),
        ("unknown executor", Code::ToolFailed, "No executor with codename nosuch", "no executor `nosuch`"),
        ("missing schema", Code::ToolFailed, "Schema \"nosuch\" does not exist", "the tenant's schema nosuch"),
    ];
    for file in ["django-tenants-3.13", "django-tenants-4.0"] {
        assert_explained(&tenants, file, fails);
        let listed = Case::of(file, "showmigrations (public only)").listed(&tenants);
        assert!(listed.len() == 18 && listed.iter().all(|migration| migration.applied), "{file}: {listed:?}");
        let started = Case::of(file, "migrate_schemas --shared").started(&tenants);
        assert!(started.iter().any(|started| started.name == "carriers.0003_idx"), "{file}: {started:?}");
    }
    let started = Case::of("django-tenants-4.0", "migrate_schemas --tenant (standard").started(&tenants);
    let of = |schema: &str| started.iter().filter(|started| started.schema.as_deref() == Some(schema)).count();
    assert_eq!((of("t1"), of("t2"), of("t4"), started.len()), (2, 3, 3, 11));
    let interleaved = Case::of("django-tenants-4.0", "multiprocessing executor: success").started(&tenants);
    assert!(interleaved.iter().any(|started| started.schema.as_deref() == Some("t4")), "{interleaved:?}");
    let unnamed = Case::of("django-tenants-3.13", "migrate_schemas --tenant (standard").started(&tenants);
    assert!(unnamed.len() == 11 && unnamed.iter().all(|started| started.schema.is_none()), "{unnamed:?}");
}

#[test]
fn rails_output_is_understood() {
    let rails = tool("rails");
    assert_explained(
        &rails,
        "rails-6.1",
        &[
            (
                "status on an empty database",
                Code::ToolFailed,
                "Schema migrations table does not exist yet.",
                "no ledger",
            ),
            (
                "a table that is missing",
                Code::ToolFailed,
                "PG::UndefinedTable: ERROR:  relation \"nosuch\"",
                "has created nosuch",
            ),
            (
                "table already exists",
                Code::ToolFailed,
                "relation \"users\" already exists",
                "VALUES ('20240101000003')",
            ),
        ],
    );
    let listed = formatted(&Case::of("rails-6.1", "status with one pending").listed(&rails));
    assert_eq!(listed, ["+20240101000001", "-20240101000002"]);
    let titles: Vec<String> = Case::of("rails-6.1", "status with one pending")
        .listed(&rails)
        .into_iter()
        .map(|migration| migration.title)
        .collect();
    assert_eq!(titles, ["Create users", "Create orders"]);
    let fresh = Case::of("rails-6.1", "status on an empty database");
    assert_eq!(fresh.listing_outcome(&rails), ListingOutcome::NoLedger);
    assert_eq!(Case::of("rails-6.1", "migrate").started_names(&rails), ["20240101000002"]);
    assert_eq!(Case::of("rails-6.1", "back to").started_names(&rails), ["20240101000002"]);
}

#[test]
fn prisma_output_is_understood() {
    let prisma = tool("prisma");
    assert_explained(
        &prisma,
        "prisma",
        &[
            ("failed migrations", Code::ToolFailed, "migrate found failed migrations", "resolve --rolled-back NAME`"),
            (
                "table already exists",
                Code::ToolFailed,
                "ERROR: relation \"orders\" already exists",
                "`npx prisma migrate resolve --applied 20260501090000_orders`",
            ),
        ],
    );
    let listed = |title| formatted(&Case::of("prisma", title).listed(&prisma));
    assert_eq!(listed("status with one pending"), ["-03_remove_casade_delete"]);
    assert_eq!(listed("status with nothing pending"), Vec::<String>::new());
}

#[test]
fn flyway_output_is_understood() {
    let flyway = tool("flyway");
    assert_explained(
        &flyway,
        "flyway",
        &[
            (
                "table already exists",
                Code::ToolFailed,
                "Message    : ERROR: relation \"schema_version\"",
                "`IF NOT EXISTS`",
            ),
            (
                "a table that is missing",
                Code::ToolFailed,
                "relation \"public.realm\" does not exist",
                "has created public.realm",
            ),
            ("a schema that is not empty", Code::ToolFailed, "without metadata table", "`flyway baseline"),
        ],
    );
    let listed = formatted(&Case::of("flyway", "info with one pending,").listed(&flyway));
    assert_eq!(listed, ["+1 Create person table", "+2 Add people", "-People view"]);
    let rolled_back = formatted(&Case::of("flyway", "info with one pending that was undone").listed(&flyway));
    assert_eq!(rolled_back, ["+1 Create person table", "-2 Add people"]);
    let started =
        |title| Case::of("flyway", title).started(&flyway).into_iter().map(|started| (started.schema, started.name));
    let migration = |schema: &str, name: &str| vec![(Some(schema.to_owned()), name.to_owned())];
    assert_eq!(started("migrate").collect::<Vec<_>>(), migration("PUBLIC", "People view"));
    assert_eq!(started("table already").collect::<Vec<_>>(), migration("public", "1.1.3 init common"));
    assert_eq!(started("a table that").collect::<Vec<_>>(), migration("openremote", "20191202.01 Schema"));
}

#[test]
fn laravel_output_is_understood() {
    let laravel = tool("laravel");
    assert_explained(
        &laravel,
        "laravel",
        &[(
            "table already exists",
            Code::ToolFailed,
            "SQLSTATE[42P07]: Duplicate table: 7 ERROR:  relation \"tweets\" already exists",
            "the table `migrations`",
        )],
    );
    let (old, new) = ("2014_10_12_000000_create_users_table", "2023_02_12_063112_create_tweets_table");
    let listed = formatted(&Case::of("laravel", "status, the lines").listed(&laravel));
    assert_eq!(listed, [&format!("+{old}"), "+2014_10_12_100000_create_password_resets_table", &format!("-{new}")]);
    let listed = formatted(&Case::of("laravel", "status as a table").listed(&laravel));
    assert_eq!(listed, [format!("+{old}"), format!("-{new}")]);
    assert_eq!(Case::of("laravel", "migrate as it was").started_names(&laravel)[0], old);
    assert_eq!(Case::of("laravel", "table already").started_names(&laravel), [new]);
}

/// Lines of bash and dash 0.5.12, of Docker and Compose, and of libpq, with the code and a part of the fix.
const ENVIRONMENT_FAILURES: &[(&str, Code, &str)] = &[
    (
        "bash: line 1: ../venv/bin/activate: No such file or directory",
        Code::ToolFailed,
        "virtual environment ../venv/bin/activate",
    ),
    (
        "sh: 1: .: cannot open ../venv/bin/activate: No such file",
        Code::ToolFailed,
        "virtual environment ../venv/bin/activate",
    ),
    ("No such file or directory: venv", Code::ToolFailed, "`python3 -m venv venv`"),
    ("sh: 1: source: not found", Code::ToolMissing, "`. path/to/activate`"),
    (
        "bash: line 1: cd: /home/app/shop: No such file or directory",
        Code::ToolFailed,
        "directory /home/app/shop does not exist",
    ),
    ("sh: 1: cd: can't cd to /home/app/shop", Code::ToolFailed, "directory /home/app/shop does not exist"),
    ("bash: line 1: python: command not found", Code::ToolMissing, "activate the virtual environment"),
    ("sh: 1: python: not found", Code::ToolMissing, "activate the virtual environment"),
    ("bash: line 1: docker: command not found", Code::ToolMissing, "Docker is not installed"),
    ("sh: 1: docker: not found", Code::ToolMissing, "Docker is not installed"),
    ("sh: 1: alembic: not found", Code::ToolMissing, "`alembic` is not in the PATH"),
    (
        "exec: \"alembic\": executable file not found in $PATH: unknown",
        Code::ToolMissing,
        "`alembic` is not in the PATH",
    ),
    ("bash: line 1: ./migrate: Permission denied", Code::ToolFailed, "the program is executable"),
    ("OSError: [Errno 28] No space left on device", Code::ToolFailed, "the disk is full"),
    (
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        Code::ToolFailed,
        "systemctl status docker",
    ),
    (
        "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
        Code::ToolFailed,
        "usermod -aG docker",
    ),
    ("no configuration file provided: not found", Code::ToolFailed, "set `working-directory`"),
    (
        "env file /srv/shop/.env not found: stat /srv/shop/.env: no such file or directory",
        Code::ToolFailed,
        "/srv/shop/.env is not",
    ),
    ("ERROR: Couldn't find env file: /srv/shop/.env", Code::ToolFailed, "/srv/shop/.env is not"),
    ("no such service: web", Code::ToolFailed, "no service `web`"),
    ("service \"web\" is not running", Code::ToolFailed, "`docker compose run --rm`"),
    ("Error response from daemon: container 3fa1 is not running", Code::ToolFailed, "`docker compose run --rm`"),
    (
        "time=\"2025-11-30\" level=warning msg=\"The \\\"POSTGRES_USER\\\" variable is not set. Defaulting to a blank string.\"",
        Code::ToolFailed,
        "POSTGRES_USER",
    ),
    (
        "psycopg2.OperationalError: FATAL:  role \"root\" does not exist",
        Code::ToolFailed,
        "`root` is not configured anywhere",
    ),
    ("FATAL:  password authentication failed for user \"app\"", Code::ToolFailed, "POSTGRES_PASSWORD"),
    (
        "connection to server at \"db\" (172.18.0.2), port 5432 failed: Connection refused",
        Code::ToolFailed,
        "docker compose up -d db",
    ),
    ("connection to server at \"10.0.0.5\", port 5432 failed: timeout expired", Code::ToolFailed, "`.env` exists"),
    (
        "IntegrityError: duplicate key value violates unique constraint \"users_email_key\"",
        Code::ToolFailed,
        "get_or_create",
    ),
    (
        "duplicate key value violates unique constraint \"pg_type_typname_nsp_index\"",
        Code::ToolFailed,
        "only this step migrates",
    ),
    ("ERROR:  relation \"tenants_tenant\" does not exist", Code::ToolFailed, "was committed"),
    ("ERROR:  deadlock detected", Code::ToolFailed, "waited for each other"),
];

#[test]
fn messages_of_shells_docker_and_libpq_are_understood_for_every_tool() {
    for recipe in ["custom", "rails", "flyway"].map(tool) {
        for (line, code, fix) in ENVIRONMENT_FAILURES {
            let fault = explain_failure(&recipe, "", &[(*line).to_owned()], None);
            assert!(fault.code == *code && fault.fix.contains(fix), "{}: {line}: {fault:?}", recipe.name);
        }
    }
}

#[test]
fn the_end_of_a_migration_is_read_from_the_tools_output() {
    let django = tool("django");
    for file in DJANGO {
        let case = Case::of(file, "migrate --noinput");
        let started_names: Vec<String> = case.finished_migrations(&django).into_iter().map(|(name, _)| name).collect();
        assert_eq!(started_names, case.started_names(&django), "{file}");
        let rolled_back = Case::of(file, "migrate -v 2 backwards").finished_migrations(&django);
        assert!(
            rolled_back.len() == 3 && rolled_back.iter().all(|(_, took)| took.is_some()),
            "{file}: {rolled_back:?}"
        );
    }
    let tenants = tool("django-tenants");
    let lines = Case::of("django-tenants-4.0", "migrate_schemas --tenant (standard").finished_migrations(&tenants);
    assert!(lines.len() == 11 && lines.iter().all(|(name, _)| !name.is_empty()), "{lines:?}");
    let unnamed = Case::of("django-tenants-3.13", "migrate_schemas --tenant (standard").finished_migrations(&tenants);
    assert!(unnamed.len() == 11 && unnamed.iter().all(|(name, _)| name.is_empty()), "{unnamed:?}");
    let rails = tool("rails");
    let migration = |took| vec![("20240101000002".to_owned(), Some(took))];
    assert_eq!(Case::of("rails-6.1", "migrate").finished_migrations(&rails), migration(2_600));
    assert_eq!(Case::of("rails-6.1", "back to").finished_migrations(&rails), migration(2_500));
    let laravel = tool("laravel");
    let (name, took) = Case::of("laravel", "migrate as it was").finished_migrations(&laravel).swap_remove(0);
    assert_eq!((name.as_str(), took), ("2014_10_12_000000_create_users_table", Some(32_450)));
    let line = "  2023_02_12_063112_create_tweets_table ............ 1,212.50ms DONE";
    assert_eq!(laravel.ends(line).unwrap().took.unwrap().as_micros(), 1_212_500);
    assert_eq!(laravel.ends("  2023_02_12_063112_create_tweets_table ............ 12.50ms FAIL"), None);
}
