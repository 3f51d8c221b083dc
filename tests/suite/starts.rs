//! The number of starts of an app in a run on a server: one for each command, whatever the recipe. Starting a large app
//! takes longer than most migrations.

use crate::{
    action::{Action, Running},
    judge::Finished,
    lab::{
        Lab,
        alembic::Project as AlembicProject,
        poll,
        project::Project,
        server::{BACKEND, Server, from_the_server, tenants},
        venv::{DJANGO_4_2, DJANGO_5_2},
    },
    scenarios::MIGRATIONS,
};
use std::{fs, time::Duration};

/// An app on a server, which counts its starts.
pub(crate) struct App {
    pub(crate) lab: Lab,
    pub(crate) server: Server,
    pub(crate) tool: &'static str,
    pub(crate) directory: &'static str,
    pub(crate) setup: String,
}

impl App {
    fn django(tool: &'static str, project: Project, python: &str) -> Self {
        let lab = Lab::new();
        let server = Server::start().project(project, &lab.database, python);
        let setup = format!("source ../venv/bin/activate\n{}", counting("python"));
        Self { lab, server, tool, directory: BACKEND, setup }
    }

    fn plain(python: &str) -> Self {
        Self::django("django", Project::Plain, python)
    }

    fn alembic() -> Self {
        let lab = Lab::new();
        let project = AlembicProject::new(&lab.database);
        project.migration("a1", "", "create table users (id int)", "drop table users");
        project.migration("b2", "\"a1\"", "create table items (id int)", "drop table items");
        let server = project.install_on(Server::start());
        let url = format!("export DATABASE_URL='{}'", from_the_server(&lab.database));
        let setup = [url, counting("python"), counting("alembic")].join("\n");
        Self { lab, server, tool: "alembic", directory: "shop", setup }
    }

    /// Returns an action for it, without starts so far.
    pub(crate) fn step(&self, command: &str) -> Action<'_> {
        drop(fs::remove_file(self.server.path("starts")));
        Action::on_server(&self.lab, &self.server)
            .secret("database-url", self.lab.database.url())
            .input("tool", self.tool)
            .input("working-directory", self.directory)
            .input("setup", &*self.setup)
            .input("command", command)
            .leaves_on_server("starts")
    }

    /// Adds these lines to the start of the app.
    fn changes_manage(&self, lines: &str) {
        let path = self.server.path(&format!("{BACKEND}/manage.py"));
        let text = fs::read_to_string(&path).expect("it is there");
        let text = text.replacen("if __name__", &format!("{lines}\nif __name__"), 1);
        fs::write(&path, text).expect("there is room");
    }

    /// Returns the first words of each start.
    pub(crate) fn starts(&self) -> Vec<String> {
        let starts = fs::read_to_string(self.server.path("starts")).unwrap_or_default();
        starts.lines().map(ToOwned::to_owned).collect()
    }

    /// Expects this number of starts in a run that has ended as it should.
    pub(crate) fn has_started(&self, count: usize, finished: Finished) {
        assert_eq!(self.starts().len(), count, "{:?}\n{}", self.starts(), finished.log);
        finished.never_logs("run again for the list").never_logs("go on?").done();
    }
}

/// Returns a shell function that notes each start of the program. Behind `head` the shell would be ended by SIGPIPE now and
/// then.
fn counting(program: &str) -> String {
    format!(
        "{program}() {{ local first=\"${{2-}}\"; echo \"{program} ${{first%%$'\\n'*}}\" >>~/starts; command {program} \"$@\"; }}"
    )
}

#[test]
fn django_is_started_once_for_each_command() {
    for python in [DJANGO_4_2, DJANGO_5_2] {
        let app = App::plain(python);
        let plan = app.step("plan").run().has_pending().pending(MIGRATIONS).logs("Planned operations:");
        let digest = plan.outputs["plan-digest"].clone();
        app.has_started(1, plan.logs("$ python manage.py showmigrations --plan; python manage.py migrate --plan"));
        app.has_started(1, app.step("status").run().has_pending().pending(MIGRATIONS));
        let verified = app.step("verify").run().fails("verify-pending", 7).pending(MIGRATIONS);
        app.has_started(1, verified);
        let approved = app.step("migrate").input("expect-plan", &digest).run().succeeds().applied(MIGRATIONS);
        app.has_started(1, approved.logs("$ python manage.py migrate --noinput"));
        app.has_started(1, app.step("migrate").run().nothing_to_do());
        let verified = app.step("verify").run().succeeds().logs("System check identified no issues");
        app.has_started(
            1,
            verified.logs("showmigrations --plan; python manage.py migrate --check; python manage.py check"),
        );
        let back = app.step("rollback").input("target", "customers 0001").run().succeeds();
        let back = back.pending(["customers.0003_first_customer", "customers.0002_region"]);
        app.has_started(1, back.logs("Planned operations:").logs("to roll back customers.0002_region"));
        let again = app.step("migrate").run().succeeds();
        app.has_started(1, again.applied(["customers.0002_region", "customers.0003_first_customer"]));
    }
}

#[test]
fn a_plan_that_is_not_the_approved_one_ends_the_app_without_another_start() {
    let app = App::plain(DJANGO_5_2);
    let other = format!("sha256:{}", "0".repeat(64));
    let refused = app.step("migrate").input("expect-plan", other).run().fails("plan-changed", 5).pending(MIGRATIONS);
    app.has_started(1, refused);
    assert_eq!(app.lab.database.contents(), "");
}

#[test]
fn tenants_are_migrated_in_the_start_that_lists() {
    for python in [DJANGO_4_2, DJANGO_5_2] {
        let app = App::django("django-tenants", Project::Tenants, python);
        let first = app.step("migrate").run();
        let applied = first.listed("applied");
        let first = first.succeeds().applied(applied.iter().map(String::as_str));
        let first = first.logs("$ python manage.py migrate_schemas --shared --noinput");
        app.has_started(1, first.logs("$ python manage.py migrate_schemas --tenant --noinput"));
        tenants(&app.lab.database, 2);
        let pending = app.step("plan").run();
        let names = pending.listed("pending");
        app.has_started(1, pending.has_pending().pending(names.iter().map(String::as_str)));
        let second = app.step("migrate").run().succeeds().applied(names.iter().map(String::as_str));
        app.has_started(1, second.summary("| tenant schemas | done |"));
        app.has_started(1, app.step("status").run().nothing_to_do());
        app.has_started(1, app.step("verify").run().succeeds());
        let back = app.step("rollback").input("target", "rates 0001").run();
        let undone = back.listed("pending");
        assert_eq!(undone, ["rates.0002_per_day"; 3]);
        app.has_started(1, back.succeeds().pending(undone.iter().map(String::as_str)));
    }
}

#[test]
fn alembic_is_started_once_for_each_command() {
    let app = App::alembic();
    app.has_started(1, app.step("plan").run().has_pending().pending(["a1", "b2"]));
    app.has_started(1, app.step("status").run().has_pending().pending(["a1", "b2"]));
    let applied = app.step("migrate").run().succeeds().applied(["a1", "b2"]).logs("$ alembic upgrade head");
    app.has_started(1, applied.logs("Running upgrade a1 -> b2"));
    app.has_started(1, app.step("migrate").run().nothing_to_do());
    app.has_started(1, app.step("verify").run().succeeds().logs("$ alembic history; alembic current"));
    let back = app.step("rollback").input("target", "a1").run().succeeds().pending(["b2"]);
    app.has_started(1, back.logs("Running downgrade b2 -> a1"));
}

/// Between list and migration another command runs, for as long as it takes.
#[test]
fn a_step_or_a_backup_in_between_takes_a_start_for_the_list_first() {
    let app = App::plain(DJANGO_5_2);
    let step = app.step("migrate").input("before", "[{ name: Snapshot, run: echo taken, when: pending }]");
    app.has_started(2, step.run().succeeds().applied(MIGRATIONS).summary("| Snapshot | done |"));
}

#[test]
fn a_command_that_fails_in_the_common_start_is_run_again_for_its_failure() {
    let app = App::plain(DJANGO_5_2);
    app.step("migrate").run().succeeds().applied(MIGRATIONS).done();
    let path = app.server.path(&format!("{BACKEND}/customers/migrations/0003_other.py"));
    let text = "from django.db import migrations\nclass Migration(migrations.Migration):\n\
                \x20   dependencies = [('customers', '0002_region')]\n\x20   operations = []\n";
    fs::write(path, text).unwrap();
    let plan = app.step("plan").run().fails("tool-failed", 6).pending(["customers.0003_other"]);
    let plan = plan.error("Conflicting migrations detected");
    app.has_started(2, plan);
}

/// The same as with an image: nobody starts it twice for nothing.
#[test]
fn an_app_behind_a_shell_or_without_a_prompt_is_prompted_or_started_for_each() {
    for (shell, count) in [("\"$@\" </dev/null", 3), ("exec \"$@\" >&2", 1)] {
        let app = App::plain(DJANGO_5_2);
        let counted = format!("bash -c '{shell}' sh");
        // A function is unknown to another shell.
        let wrapper =
            "#!/bin/bash\necho \"python ${2%%$'\\n'*}\" >>~/starts\nexec ~/ProjectMeats/venv/bin/python \"$@\"\n";
        fs::create_dir_all(app.server.path("bin")).unwrap();
        let path = app.server.path("bin/python");
        fs::write(&path, wrapper).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let step = app.step("migrate").input("command-prefix", counted).input("setup", "PATH=~/bin:$PATH");
        let finished = step.run().succeeds().applied(MIGRATIONS);
        assert_eq!(app.starts().len(), count, "{shell}: {:?}\n{}", app.starts(), finished.log);
        finished.done();
    }
}

#[test]
fn an_app_that_reads_standard_input_finds_it_empty() {
    let app = App::plain(DJANGO_5_2);
    app.changes_manage("print('read', repr(sys.stdin.read()))");
    app.has_started(1, app.step("migrate").run().succeeds().applied(MIGRATIONS).logs("read ''"));
}

#[test]
fn an_app_that_can_not_be_started_for_both_is_started_for_each() {
    let app = App::plain(DJANGO_5_2);
    app.changes_manage("if 'runpy' in sys.modules: sys.exit('nobody starts me but Python')");
    let finished = app.step("migrate").run().succeeds().applied(MIGRATIONS);
    assert_eq!(app.starts().len(), 3, "{:?}", app.starts());
    finished.logs("nobody starts me but Python").logs("it is run again for the list alone").done();
}

#[test]
fn a_start_by_a_module_lists_and_migrates_as_well() {
    let app = App::plain(DJANGO_5_2);
    let server = &app.server;
    fs::create_dir_all(server.path(&format!("{BACKEND}/shopctl"))).unwrap();
    let main = fs::read_to_string(server.path(&format!("{BACKEND}/manage.py"))).unwrap();
    fs::write(server.path(&format!("{BACKEND}/shopctl/__main__.py")), main.replace(".parent", ".parent.parent"))
        .unwrap();
    fs::write(server.path(&format!("{BACKEND}/shopctl/__init__.py")), "").unwrap();
    let step = |command: &str| app.step(command).input("manage", "python -m shopctl");
    app.has_started(1, step("plan").run().has_pending().pending(MIGRATIONS));
    app.has_started(
        1,
        step("migrate").run().succeeds().applied(MIGRATIONS).logs("$ python -m shopctl migrate --noinput"),
    );
    app.has_started(1, step("verify").run().succeeds());
}

/// A project whose app locks its ledger when it asks for the confirmation, so that the run can't compare the ledger.
fn app_that_waits_in_doubt() -> App {
    let app = App::plain(DJANGO_5_2);
    app.step("migrate").run().succeeds().applied(MIGRATIONS).done();
    let back = app.step("rollback").input("target", "customers 0002").run().succeeds();
    back.pending(["customers.0003_first_customer"]).done();
    let gate = "class Gate:\n    def __init__(self, stream):\n        self.stream = stream\n\
        \x20   def write(self, text):\n        if 'go on?' in text and 'WITHOUT_GATE' not in os.environ:\n            import psycopg\n\
        \x20           from django.conf import settings\n\
        \x20           self.held = psycopg.connect(**connection.get_connection_params())\n\
        \x20           self.held.execute('set transaction read write')\n\
        \x20           self.held.execute('lock table django_migrations')\n\
        \x20       return self.stream.write(text)\n\
        \x20   def __getattr__(self, name):\n        return getattr(self.stream, name)\n\
        from django.db import connection\nsys.stdout = Gate(sys.stdout)\n";
    app.changes_manage(gate);
    app
}

fn wait_for_prompt(app: &App) {
    let locked = "select count(*) from pg_locks where relation = 'django_migrations'::regclass and granted \
                  and mode = 'AccessExclusiveLock'";
    app.lab.database.wait_for(locked, "1");
}

fn assert_ended_without_migrating(app: &App) {
    let running = || app.server.login().processes().into_values().any(|line| line.contains("manage.py"));
    poll(Duration::from_secs(5), || (!running()).then_some(())).expect("the app ends with the connection");
    assert_eq!(app.lab.database.sql("select count(*) from django_migrations where name = '0003_first_customer'"), "0");
}

#[test]
fn an_app_whose_connection_is_lost_before_the_confirmation_ends_without_migrating() {
    let app = app_that_waits_in_doubt();
    let mut running = app.step("migrate").input("wait-timeout", "5s").start();
    wait_for_prompt(&app);
    running.wait_for_line("digest", Duration::from_secs(20));
    app.server.sshd().kill_sessions();
    assert_ended_without_migrating(&app);
    running.wait();
    let next = app.step("migrate").input("env", "WITHOUT_GATE=yes").run();
    next.succeeds().applied(["customers.0003_first_customer"]).logs("it never started").done();
    // The files of the first run are gone with the next one.
    running.finish().fails("bastion-lost", 3).pending(["customers.0003_first_customer"]).done();
}

#[test]
fn an_app_whose_run_is_killed_before_the_confirmation_ends_without_migrating() {
    let app = app_that_waits_in_doubt();
    let running: Running<'_> = app.step("migrate").start();
    wait_for_prompt(&app);
    running.kill();
    assert_ended_without_migrating(&app);
}
