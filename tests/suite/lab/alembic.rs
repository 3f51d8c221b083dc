//! Alembic from `PyPI`, installed once into the target directory, and a project for it.
#![expect(clippy::disallowed_methods, reason = "runs pip and alembic")]

use super::{
    postgres::Database,
    process::{directory, run_checked},
    server::Server,
    venv::shared_directory,
};
use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Output},
    sync::LazyLock,
};
use tempfile::TempDir;

/// Packages to install; the directory is named after them.
const PACKAGES: [&str; 2] = ["alembic==1.20.1", "psycopg[binary]==3.3.9"];

static PYTHON: LazyLock<PathBuf> = LazyLock::new(install);

fn install() -> PathBuf {
    let target = shared_directory();
    let packages = target.join(PACKAGES.join("-").replace(['[', ']'], "_"));
    if !packages.exists() {
        let fresh = tempfile::tempdir_in(&target).expect("the target directory is writable");
        let python = Command::new("python3").arg("--version").output();
        assert!(python.is_ok(), "`python3` is not installed: run `apt-get install python3-pip`");
        let fresh = fresh.keep();
        run_checked(
            Command::new("python3").args(["-m", "pip", "install", "--quiet", "--target"]).arg(&fresh).args(PACKAGES),
        );
        // Another test process may have been faster.
        if fs::rename(&fresh, &packages).is_err() {
            fs::remove_dir_all(&fresh).expect("the target directory is writable");
        }
    }
    // The servers' users are other users.
    fs::set_permissions(&packages, fs::Permissions::from_mode(0o755)).expect("the target directory is writable");
    packages
}

/// A project with its own migrations, and the database in its `DATABASE_URL`.
#[derive(Debug)]
pub(crate) struct Project {
    directory: TempDir,
    url: String,
}

const ENVIRONMENT: &str = r#"import logging, os
from alembic import context
from sqlalchemy import create_engine

logging.basicConfig(level=logging.INFO, format="%(levelname)-5.5s [%(name)s] %(message)s")
url = os.environ["DATABASE_URL"].replace("postgres://", "postgresql+psycopg://", 1)
with create_engine(url).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"#;

impl Project {
    /// A project without migrations.
    pub(crate) fn new(database: &Database) -> Self {
        let project = Self { directory: directory(), url: database.url() };
        fs::create_dir_all(project.directory.path().join("migrations/versions")).expect("there is room");
        project.write("alembic.ini", "[alembic]\nscript_location = migrations\n");
        project.write("migrations/env.py", ENVIRONMENT);
        project
    }

    /// Copies the project to `shop` on a server, where `alembic` and its `python` are in the PATH; `DATABASE_URL` has to be
    /// passed.
    pub(crate) fn install_on(&self, server: Server) -> Server {
        for (name, command) in [("alembic", "python3 -m alembic"), ("python", "python3")] {
            let program = server.programs().join(name);
            let line = format!(
                "#!/bin/sh\nPYTHONPATH='{}' PYTHONDONTWRITEBYTECODE=1 exec {command} \"$@\"\n",
                PYTHON.display()
            );
            fs::write(&program, line).expect("there is room");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is there");
        }
        let root = self.directory.path();
        let versions = fs::read_dir(root.join("migrations/versions")).expect("it is there");
        let versions = versions.map(|entry| entry.expect("it is there").path());
        let files = versions.chain(["alembic.ini", "migrations/env.py"].map(|file| root.join(file)));
        files.fold(server, |server, file| {
            let path = file.strip_prefix(root).expect("it is below").to_string_lossy().into_owned();
            server.file(&format!("shop/{path}"), fs::read(&file).expect("it is there"))
        })
    }

    /// Adds a migration on top of these (`"a1"`, `"b2", "c3"`, nothing) with this SQL for upgrade and downgrade.
    pub(crate) fn migration(&self, revision: &str, below: &str, up: &str, down: &str) -> &Self {
        let below = if below.is_empty() { "None".to_owned() } else { format!("({below},)") };
        let text = format!(
            "\"\"\"about {revision}\"\"\"\nfrom alembic import op\nrevision = \"{revision}\"\ndown_revision = {below}\n\
             def upgrade():\n    op.execute(\"\"\"{up}\"\"\")\ndef downgrade():\n    op.execute(\"\"\"{down}\"\"\")\n"
        );
        self.write(&format!("migrations/versions/{revision}.py"), &text);
        self
    }

    /// Replaces the docstring of a migration.
    pub(crate) fn set_docstring(&self, revision: &str, docstring: &str) -> &Self {
        let path = format!("migrations/versions/{revision}.py");
        let text = fs::read_to_string(self.directory.path().join(&path)).expect("it is there");
        let (_, rest) = text.split_once('\n').expect("it has lines");
        self.write(&path, &format!("\"\"\"{docstring}\"\"\"\n{rest}"));
        self
    }

    /// Removes a migration.
    pub(crate) fn remove_migration(&self, revision: &str) {
        fs::remove_file(self.directory.path().join(format!("migrations/versions/{revision}.py"))).expect("it is there");
    }

    /// Runs a command line, with these options for every session.
    pub(crate) fn sh(&self, line: &str, options: &str) -> Output {
        let path = format!("{}:{}", PYTHON.join("bin").display(), env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-euc", line]).current_dir(self.directory.path());
        shell.env("PATH", path).env("PYTHONPATH", &*PYTHON).env("PYTHONDONTWRITEBYTECODE", "1");
        shell.env("DATABASE_URL", &self.url).env("PGOPTIONS", options).output().expect("there is a shell")
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.directory.path().join(path), text).expect("there is room");
    }
}
