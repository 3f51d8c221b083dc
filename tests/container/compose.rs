//! A deployment server whose application runs in containers: `~/pilito` with a compose file, the sources and a manual
//! migration script. If the `docker compose` plugin is missing, a script replaces it (`tests/server/compose/docker`).
#![expect(clippy::disallowed_methods, reason = "adds the user to the group of the engine's socket")]

use crate::{
    engine::{docker, image, label, try_docker},
    lab::{project::Project, server::Server},
    process::run_checked,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// The project's directory in the home directory.
pub(crate) const PILITO: &str = "pilito";

/// The database's URL inside the project's containers.
const DATABASE_URL: &str = "postgresql://postgres:postgres@db:5432/postgres";

/// The server. Its containers and its network are removed with the value.
#[derive(Debug)]
pub(crate) struct Compose {
    server: Server,
    name: String,
}

impl Compose {
    /// Prepares the server and the project; starts no container of it.
    pub(crate) fn start() -> Self {
        for name in ["bastion-migrate-lab:bookworm", "bastion-migrate-app:django-4.2"] {
            image(name);
        }
        let server = Server::start();
        let group =
            "docker_socket=$(stat -Lc %G /var/run/docker.sock) && usermod --append --groups \"$docker_socket\" \"$1\"";
        run_checked(Command::new("sh").args(["-euc", group, "group", server.login().name()]));
        let name = format!("pilito-{}", server.login().name());
        let root = server.path(PILITO);
        // The sweeper finds what to remove by this label when the tests are killed.
        let label = label().replace('=', ": \"") + "\"";
        let file = fs::read_to_string(source("docker-compose.yml")).expect("it is there");
        Project::Plain.unpack(&root.join("src"));
        // The application does not read `.env` files; Compose passes the variables.
        run_checked(
            Command::new("cp")
                .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/container/app/project/manage.py"))
                .arg(root.join("src")),
        );
        let dotenv = Project::Plain.dotenv(DATABASE_URL) + &format!("COMPOSE_PROJECT_NAME={name}\n");
        let server =
            server.file("pilito/docker-compose.yml", file.replace("LABEL", &label)).file("pilito/.env", dotenv).file(
                "pilito/scripts/run_migrations_docker.sh",
                fs::read(source("run_migrations_docker.sh")).expect("it is there"),
            );
        server.login().own(&root);
        fs::set_permissions(root.join("scripts/run_migrations_docker.sh"), fs::Permissions::from_mode(0o755))
            .expect("it is ours");
        if !try_docker(&["compose", "version"]).status.success() {
            fs::copy(source("docker"), server.programs().join("docker")).expect("there is room");
        }
        Self { server, name }
    }

    /// Prepares the server and starts the project's database.
    pub(crate) fn with_database() -> Self {
        let compose = Self::start();
        let up = "cd ~/pilito && docker compose up -d --wait db </dev/null";
        compose.server.shell(up).expect("the database starts");
        compose
    }

    /// Returns the server.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Runs statements as a superuser. Rows are returned as lines, columns separated by `|`.
    pub(crate) fn sql(&self, statements: &str) -> String {
        docker(&[
            "exec",
            &format!("{}-db-1", self.name),
            "psql",
            "-U",
            "postgres",
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            statements,
        ])
    }

    /// Lists the containers of `docker compose run` that still exist, running or not.
    pub(crate) fn runs(&self) -> Vec<String> {
        self.containers(&["--filter", "label=com.docker.compose.oneoff=True"])
    }

    fn containers(&self, filter: &[&str]) -> Vec<String> {
        let project = format!("label=com.docker.compose.project={}", self.name);
        let ids = docker(&[&["ps", "--all", "--quiet", "--filter", &project], filter].concat());
        ids.lines().map(str::to_owned).collect()
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        let ids = self.containers(&[]);
        let remove = ["rm", "--force", "--volumes"].into_iter().chain(ids.iter().map(String::as_str));
        drop(try_docker(&remove.collect::<Vec<_>>()));
        drop(try_docker(&["network", "rm", &format!("{}_default", self.name)]));
    }
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/compose").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{app::MIGRATIONS, process::poll};
    use std::{thread, time::Duration};

    const LEDGER: &str = "select app || '.' || name from django_migrations order by id";

    /// Expects the script's own messages, in order.
    #[test]
    fn the_first_users_script_migrates_on_the_server() {
        let compose = Compose::start();
        let before = compose.server.snapshot();
        let script = "~/pilito/scripts/run_migrations_docker.sh </dev/null";
        let output = compose.server.shell(script).unwrap();
        let lines =
            ["[ ]  carriers.0001_initial", "Running database migrations...", "✅ Migrations completed successfully"];
        let mut rest = output.lines();
        assert!(lines.iter().all(|expected| rest.any(|line| line == *expected)), "{output}");
        assert_eq!(compose.sql(LEDGER), MIGRATIONS.join("\n"));
        let again = compose.server.shell(script).unwrap();
        assert!(
            again.contains("Pending migrations:\nnone\n") && again.contains("  No migrations to apply.\n"),
            "{again}"
        );
        assert_eq!(compose.server.left_behind(&before), [""; 0]);
        assert_eq!(compose.runs(), [""; 0]);
    }

    #[test]
    fn compose_reports_failures_in_its_own_messages() {
        let compose = Compose::start();
        let failures = [
            ("cd / && docker compose ps", "exit status: 14", "no configuration file provided: not found"),
            ("cd ~/pilito && docker compose run --rm api true", "exit status: 1", "no such service: api"),
            ("cd ~/pilito && docker compose exec web true", "exit status: 1", "service \"web\" is not running"),
        ];
        for (script, status, message) in failures {
            let output = compose.server.shell(script).unwrap_err();
            assert!(output.starts_with(status) && output.contains(message), "{output}");
        }
    }

    /// So a script on standard input must not run anything after it.
    #[test]
    fn docker_compose_run_consumes_the_rest_of_a_script_on_standard_input() {
        let compose = Compose::start();
        let output = compose.server.shell("cd ~/pilito\ndocker compose run --rm -T web cat\necho after\n").unwrap();
        assert!(output.contains("echo after\n"), "{output}");
    }

    #[test]
    fn a_signal_to_docker_compose_run_ends_its_container() {
        let compose = Compose::with_database();
        let oneoff = ["--filter", "label=com.docker.compose.oneoff=True", "--filter", "status=running"];
        let started = || compose.containers(&oneoff).first().cloned();
        thread::scope(|scope| {
            let run = scope
                .spawn(|| compose.server.shell("cd ~/pilito && exec docker compose run --rm web sleep 600 </dev/null"));
            poll(Duration::from_secs(20), started).expect("it starts");
            let is_client = |line: &String| line.contains("docker") && line.contains("sleep 600");
            let pids = || compose.server.login().processes().into_iter().find(|(_, line)| is_client(line));
            let (pid, _) = poll(Duration::from_secs(5), pids).expect("it runs");
            run_checked(Command::new("kill").args(["-TERM", &pid.to_string()]));
            assert!(run.join().unwrap().unwrap_err().starts_with("exit status: 143"));
        });
        // The engine removes it after the client has ended.
        poll(Duration::from_secs(5), || compose.runs().is_empty().then_some(())).expect("it is removed");
    }
}
