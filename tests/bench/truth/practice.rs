//! The ways in which a project writes and runs its migrations: SQL files, Django and Alembic with their real tools on a server.

use super::forms::Form;
use crate::{
    lab::{
        alembic::Project as AlembicProject,
        postgres::Database,
        project::Project,
        server::{BACKEND, Server},
    },
    program,
    world::World,
};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

/// A practice.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Practice {
    Files,
    /// With the environment of this name.
    Django(&'static str),
    DjangoTenants,
    Alembic,
}

/// The beginning of a shell line in the project on the server.
const IN_PROJECT: &str = "set -eu\ncd ~/ProjectMeats/backend\n. ../venv/bin/activate";

/// A project of this practice, with its migrations so far.
#[derive(Debug)]
pub(crate) struct Migrations<'w> {
    world: &'w World,
    database: &'w Database,
    practice: Practice,
    server: Option<Server>,
    /// The migrations that were applied, which the next one depends on.
    applied: Vec<String>,
}

impl Practice {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Files => "SQL files".to_owned(),
            Self::Django(environment) => environment.replace("django-", "Django "),
            Self::DjangoTenants => "django-tenants".to_owned(),
            Self::Alembic => "Alembic".to_owned(),
        }
    }
}

impl<'w> Migrations<'w> {
    /// Lays out the project; it is configured for this database.
    pub(crate) fn new(world: &'w World, database: &'w Database, practice: Practice) -> Self {
        let django = |project, python| with_app(Server::start().project(project, database, python), project);
        let server = match practice {
            Practice::Files => None,
            Practice::Django(python) => Some(django(Project::Plain, python)),
            Practice::DjangoTenants => Some(django(Project::Tenants, crate::lab::venv::DJANGO_5_2)),
            Practice::Alembic => Some(AlembicProject::new(database).install_on(Server::start())),
        };
        if let (Practice::Django(_) | Practice::DjangoTenants, Some(server)) = (practice, &server) {
            let verb = if matches!(practice, Practice::DjangoTenants) { "migrate_schemas" } else { "migrate" };
            let url = database.url();
            let line = format!("{IN_PROJECT}\nDATABASE_URL='{url}' python manage.py {verb} --noinput\n");
            server.shell(&line).expect("its own apps migrate");
        }
        Self { world, database, practice, server, applied: Vec::new() }
    }

    /// Writes the migration of a form, and returns its path.
    pub(crate) fn add(&self, number: usize, form: &Form) -> PathBuf {
        let (name, last) = (format!("{:04}_change", number + 1), self.applied.last());
        let sql = form.migration.trim_end();
        let (path, text) = match (self.practice, &self.server) {
            (Practice::Alembic, Some(server)) => {
                let below = last.map_or_else(|| "None".to_owned(), |last| format!("{last:?}"));
                let text = format!(
                    "from alembic import op\nrevision = {name:?}\ndown_revision = {below}\n\
                     def upgrade():\n    op.execute(\"\"\"{sql}\"\"\")\ndef downgrade():\n    pass\n"
                );
                (server.path(&format!("shop/migrations/versions/{name}.py")), text)
            }
            (Practice::Django(_) | Practice::DjangoTenants, Some(server)) => {
                let below = last.map_or_else(String::new, |last| format!("('big', {last:?})"));
                let text = format!(
                    "from django.db import migrations\nclass Migration(migrations.Migration):\n    dependencies = [{below}]\n    \
                     operations = [{}]\n",
                    form.as_django_operation()
                );
                (server.path(&format!("{BACKEND}/big/migrations/{name}.py")), text)
            }
            _ => (self.directory().join(format!("{name}.sql")), form.migration.to_owned()),
        };
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("there is room");
        fs::write(&path, text).expect("there is room");
        if let Some(server) = &self.server {
            server.login().own(&path);
        }
        path
    }

    /// Notes that the migration was applied, or removes it.
    pub(crate) fn settle(&mut self, path: &PathBuf, is_applied: bool) {
        if is_applied {
            let name = path.file_stem().expect("it is a file").to_string_lossy().into_owned();
            self.applied.push(name);
        } else {
            fs::remove_file(path).expect("it is ours");
        }
    }

    /// Returns a step of this command.
    pub(crate) fn step(&self, command: &str) -> Command {
        let port = self.world.lab.bastion.port;
        let mut step = program::step(self.world, self.database, command, &self.directory(), port);
        step.env("INPUT_LINT", "off").env("INPUT_STATEMENT-TIMEOUT", "30m").stdout(Stdio::null());
        let Some(server) = &self.server else { return step };
        step.env_remove("INPUT_STATEMENT-TIMEOUT");
        program::on_server(&mut step, server);
        let (tool, directory, setup) = match self.practice {
            Practice::DjangoTenants => ("django-tenants", BACKEND, "source ../venv/bin/activate"),
            Practice::Alembic => ("alembic", "shop", ""),
            Practice::Files | Practice::Django(_) => ("django", BACKEND, "source ../venv/bin/activate"),
        };
        for (input, value) in [("TOOL", tool), ("WORKING-DIRECTORY", directory), ("SETUP", setup)] {
            step.env(format!("INPUT_{input}"), value);
        }
        step
    }

    fn directory(&self) -> PathBuf {
        self.world.home().join("truth")
    }
}

/// Adds an empty app for the migrations. With tenants it is one of the schema that they share.
fn with_app(server: Server, project: Project) -> Server {
    let (file, lists) = match project {
        Project::Plain => ("production", "INSTALLED_APPS = [*INSTALLED_APPS, 'big']"),
        Project::Tenants => {
            ("tenants", "SHARED_APPS = [*SHARED_APPS, 'big']\nINSTALLED_APPS = [*INSTALLED_APPS, 'big']")
        }
    };
    let settings = format!("{BACKEND}/backend/settings/{file}.py");
    let text = fs::read_to_string(server.path(&settings)).expect("it is there");
    let server = server.file(&settings, format!("{text}\n{lists}\n"));
    let server = server.file(&format!("{BACKEND}/big/__init__.py"), "");
    server.file(&format!("{BACKEND}/big/migrations/__init__.py"), "")
}
