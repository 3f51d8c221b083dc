//! Recipes against what the tools really say: `tests/cases/tools` has it, with versions and sources.

use bastion_migrate::{
    fault::{Code, Fault},
    tool::{Done, ListedMigration, ListingOutcome, MigrationStarted, Recipe, explain_failure},
};
use std::{fs, path::Path};

/// One call of a tool.
#[derive(Debug, Default)]
struct Case {
    title: String,
    exit: i64,
    out: Vec<String>,
    err: Vec<String>,
}

impl Case {
    /// Every case in the file: `=== title [exit]`, then `| ` before what was said on standard output and `! ` on standard error.
    fn all(file: &str) -> Vec<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cases/tools/{file}.txt"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut cases: Vec<Self> = Vec::new();
        for line in text.lines() {
            let said =
                |mark| line.strip_prefix(mark).map(|said: &str| said.strip_prefix(' ').unwrap_or(said).to_owned());
            if let Some(heading) = line.strip_prefix("=== ") {
                let (title, exit) = heading.trim_end_matches(']').rsplit_once(" [").expect("a case has an exit code");
                cases.push(Self { title: title.to_owned(), exit: exit.parse().unwrap(), ..Self::default() });
            } else if let Some(case) = cases.last_mut() {
                case.out.extend(said('|'));
                case.err.extend(said('!'));
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

    fn begun(&self, recipe: &Recipe) -> Vec<MigrationStarted> {
        self.out.iter().filter_map(|line| recipe.started_migration(line)).collect()
    }

    /// The migrations that the tool said it has done, and microseconds where it said how long.
    fn done(&self, recipe: &Recipe) -> Vec<(String, Option<u128>)> {
        let done = self.out.iter().filter_map(|line| recipe.ends(line));
        done.map(|Done { name, took, .. }| (name, took.map(|took| took.as_micros()))).collect()
    }

    fn names(&self, recipe: &Recipe) -> Vec<String> {
        self.begun(recipe).into_iter().map(|begun| begun.name).collect()
    }

    /// As the executor does it: why it failed stands on standard error, if it says anything there.
    fn fault(&self, recipe: &Recipe) -> Fault {
        let said = if self.err.is_empty() { &self.out } else { &self.err };
        let begun = self.begun(recipe).pop();
        explain_failure(recipe, "ended with code 1", said, begun.as_ref().map(|begun| begun.name.as_str()))
    }

    fn answer(&self, recipe: &Recipe) -> ListingOutcome {
        let listing = recipe.listing.as_ref().expect("the tool lists");
        listing.read_outcome(self.exit, self.out.iter().chain(&self.err).map(String::as_str))
    }

    fn listed(&self, recipe: &Recipe) -> Vec<ListedMigration> {
        match self.answer(recipe) {
            ListingOutcome::Listed(listed) => listed,
            other => panic!("{}: {other:?}", self.title),
        }
    }
}

fn tool(name: &str) -> Recipe {
    Recipe::by_name(name).unwrap_or_else(|| panic!("there is no recipe {name}"))
}

/// `+` for what is applied and `-` for what is not.
fn shown(listed: &[ListedMigration]) -> Vec<String> {
    listed.iter().map(|one| format!("{}{}", if one.applied { '+' } else { '-' }, one.name)).collect()
}

/// The beginning of a failed case's title, its code, what the cause and what the fix says.
type Expected = (&'static str, Code, &'static str, &'static str);

/// Every failed case of the file is expected, and every expected one is there.
fn explained(recipe: &Recipe, file: &str, expected: &[Expected]) {
    let failed = Case::all(file).into_iter().filter(|case| case.exit != 0 && !case.title.contains("pending"));
    let titles: Vec<String> = failed.map(|case| case.title).collect();
    for title in &titles {
        assert!(expected.iter().any(|(begins, ..)| title.starts_with(begins)), "{file}: nobody expects `{title}`");
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
    ("RunPython raising", Code::ToolFailed, "ValueError: boom", "tool's output above"),
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

/// Of each driver what it says where it demands TLS and is told that there is none.
#[test]
fn an_app_that_demands_tls_is_told_what_to_set_whatever_its_driver() {
    for words in [
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
            explain_failure(&Recipe::by_name("custom").unwrap(), "ended with code 1", &[words.to_owned()], None);
        assert!(fault.fix.contains("`database-sslmode: require`"), "{words}: {}", fault.fix);
    }
}

#[test]
fn what_django_says_is_understood_from_4_2_to_6_1() {
    let django = tool("django");
    for file in DJANGO {
        explained(&django, file, DJANGO_FAILS);
        let fresh = shown(&Case::of(file, "showmigrations --plan on an empty").listed(&django));
        assert!(fresh.len() == 19 && fresh.iter().all(|one| one.starts_with('-')), "{file}: {fresh:?}");
        assert!(fresh.contains(&"-carriers.0003_idx".to_owned()), "{file}: {fresh:?}");
        let mixed = shown(&Case::of(file, "InconsistentMigrationHistory: showmigrations").listed(&django));
        assert!(mixed.contains(&"-carriers.0001_initial".to_owned()), "{file}: {mixed:?}");
        assert!(mixed.contains(&"+carriers.0002_carrier_code".to_owned()), "{file}: {mixed:?}");
        let begun = Case::of(file, "migrate --noinput").names(&django);
        assert_eq!(begun.last().map(String::as_str), Some("orders.0002_backfill"), "{file}");
        let undone = Case::of(file, "migrate -v 2 backwards").names(&django);
        assert_eq!(undone.last().map(String::as_str), Some("carriers.0002_carrier_code"), "{file}");
    }
}

#[test]
fn what_django_tenants_says_is_understood_in_3_13_and_4_0() {
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
        explained(&tenants, file, fails);
        let listed = Case::of(file, "showmigrations (public only)").listed(&tenants);
        assert!(listed.len() == 18 && listed.iter().all(|one| one.applied), "{file}: {listed:?}");
        let begun = Case::of(file, "migrate_schemas --shared").begun(&tenants);
        assert!(begun.iter().any(|begun| begun.name == "carriers.0003_idx"), "{file}: {begun:?}");
    }
    let begun = Case::of("django-tenants-4.0", "migrate_schemas --tenant (standard").begun(&tenants);
    let of = |schema: &str| begun.iter().filter(|begun| begun.schema.as_deref() == Some(schema)).count();
    assert_eq!((of("t1"), of("t2"), of("t4"), begun.len()), (2, 3, 3, 11));
    let interleaved = Case::of("django-tenants-4.0", "multiprocessing executor: success").begun(&tenants);
    assert!(interleaved.iter().any(|begun| begun.schema.as_deref() == Some("t4")), "{interleaved:?}");
    let unnamed = Case::of("django-tenants-3.13", "migrate_schemas --tenant (standard").begun(&tenants);
    assert!(unnamed.len() == 11 && unnamed.iter().all(|begun| begun.schema.is_none()), "{unnamed:?}");
}

#[test]
fn what_rails_says_is_understood() {
    let rails = tool("rails");
    explained(
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
    let listed = shown(&Case::of("rails-6.1", "status with one pending").listed(&rails));
    assert_eq!(listed, ["+20240101000001", "-20240101000002"]);
    let titles: Vec<String> =
        Case::of("rails-6.1", "status with one pending").listed(&rails).into_iter().map(|one| one.title).collect();
    assert_eq!(titles, ["Create users", "Create orders"]);
    let fresh = Case::of("rails-6.1", "status on an empty database");
    assert_eq!(fresh.answer(&rails), ListingOutcome::NoLedger);
    assert_eq!(Case::of("rails-6.1", "migrate").names(&rails), ["20240101000002"]);
    assert_eq!(Case::of("rails-6.1", "back to").names(&rails), ["20240101000002"]);
}

#[test]
fn what_prisma_says_is_understood() {
    let prisma = tool("prisma");
    explained(
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
    let listed = |title| shown(&Case::of("prisma", title).listed(&prisma));
    assert_eq!(listed("status with one pending"), ["-03_remove_casade_delete"]);
    assert_eq!(listed("status with nothing pending"), Vec::<String>::new());
}

#[test]
fn what_flyway_says_is_understood() {
    let flyway = tool("flyway");
    explained(
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
    let listed = shown(&Case::of("flyway", "info with one pending,").listed(&flyway));
    assert_eq!(listed, ["+1 Create person table", "+2 Add people", "-People view"]);
    let undone = shown(&Case::of("flyway", "info with one pending that was undone").listed(&flyway));
    assert_eq!(undone, ["+1 Create person table", "-2 Add people"]);
    let begun = |title| Case::of("flyway", title).begun(&flyway).into_iter().map(|begun| (begun.schema, begun.name));
    let one = |schema: &str, name: &str| vec![(Some(schema.to_owned()), name.to_owned())];
    assert_eq!(begun("migrate").collect::<Vec<_>>(), one("PUBLIC", "People view"));
    assert_eq!(begun("table already").collect::<Vec<_>>(), one("public", "1.1.3 init common"));
    assert_eq!(begun("a table that").collect::<Vec<_>>(), one("openremote", "20191202.01 Schema"));
}

#[test]
fn what_laravel_says_is_understood() {
    let laravel = tool("laravel");
    explained(
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
    let listed = shown(&Case::of("laravel", "status, the lines").listed(&laravel));
    assert_eq!(listed, [&format!("+{old}"), "+2014_10_12_100000_create_password_resets_table", &format!("-{new}")]);
    let listed = shown(&Case::of("laravel", "status as a table").listed(&laravel));
    assert_eq!(listed, [format!("+{old}"), format!("-{new}")]);
    assert_eq!(Case::of("laravel", "migrate as it was").names(&laravel)[0], old);
    assert_eq!(Case::of("laravel", "table already").names(&laravel), [new]);
}

/// What is said around a tool: lines of bash and dash 0.5.12, of Docker and its Compose, of libpq; and what the fix says.
const AROUND: &[(&str, Code, &str)] = &[
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
fn what_is_said_around_a_tool_is_known_whatever_the_tool() {
    for recipe in ["custom", "rails", "flyway"].map(tool) {
        for (line, code, fix) in AROUND {
            let fault = explain_failure(&recipe, "", &[(*line).to_owned()], None);
            assert!(fault.code == *code && fault.fix.contains(fix), "{}: {line}: {fault:?}", recipe.name);
        }
    }
}

#[test]
fn the_end_of_a_migration_is_read_from_what_the_tool_says_of_it() {
    let django = tool("django");
    for file in DJANGO {
        let case = Case::of(file, "migrate --noinput");
        let names: Vec<String> = case.done(&django).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, case.names(&django), "{file}");
        let undone = Case::of(file, "migrate -v 2 backwards").done(&django);
        assert!(undone.len() == 3 && undone.iter().all(|(_, took)| took.is_some()), "{file}: {undone:?}");
    }
    let tenants = tool("django-tenants");
    let said = Case::of("django-tenants-4.0", "migrate_schemas --tenant (standard").done(&tenants);
    assert!(said.len() == 11 && said.iter().all(|(name, _)| !name.is_empty()), "{said:?}");
    let unnamed = Case::of("django-tenants-3.13", "migrate_schemas --tenant (standard").done(&tenants);
    assert!(unnamed.len() == 11 && unnamed.iter().all(|(name, _)| name.is_empty()), "{unnamed:?}");
    let rails = tool("rails");
    let one = |took| vec![("20240101000002".to_owned(), Some(took))];
    assert_eq!(Case::of("rails-6.1", "migrate").done(&rails), one(2_600));
    assert_eq!(Case::of("rails-6.1", "back to").done(&rails), one(2_500));
    let laravel = tool("laravel");
    let (name, took) = Case::of("laravel", "migrate as it was").done(&laravel).swap_remove(0);
    assert_eq!((name.as_str(), took), ("2014_10_12_000000_create_users_table", Some(32_450)));
    let line = "  2023_02_12_063112_create_tweets_table ............ 1,212.50ms DONE";
    assert_eq!(laravel.ends(line).unwrap().took.unwrap().as_micros(), 1_212_500);
    assert_eq!(laravel.ends("  2023_02_12_063112_create_tweets_table ............ 12.50ms FAIL"), None);
}
