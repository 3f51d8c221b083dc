//! A deployment server whose application runs in containers: `~/pilito` with a compose file, the sources and a script that
//! migrates by hand. Where the plugin of `docker compose` is missing, a script stands in for it (`tests/server/compose/docker`).
#![expect(clippy::disallowed_methods, reason = "makes the user a member of the group that may ask the engine")]

use crate::{
    engine::{ask, docker, image, label},
    lab::{project::Project, server::Server},
    process::finish,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Where the project lies in the home.
pub(crate) const PILITO: &str = "pilito";

/// The database, as the containers of the project name it.
const DATABASE_URL: &str = "postgresql://postgres:postgres@db:5432/postgres";

/// The server; its containers and its network go with the value.
#[derive(Debug)]
pub(crate) struct Compose {
    server: Server,
    name: String,
}

impl Compose {
    /// Nothing of the project runs yet.
    pub(crate) fn start() -> Self {
        for name in ["bastion-migrate-lab:bookworm", "bastion-migrate-app:django-4.2"] {
            image(name);
        }
        let server = Server::start();
        let group =
            "docker_socket=$(stat -Lc %G /var/run/docker.sock) && usermod --append --groups \"$docker_socket\" \"$1\"";
        finish(Command::new("sh").args(["-euc", group, "group", server.login().name()]));
        let name = format!("pilito-{}", server.login().name());
        let root = server.path(PILITO);
        // Labels are how the sweeper knows what to remove when the tests are killed.
        let label = label().replace('=', ": \"") + "\"";
        let file = fs::read_to_string(source("docker-compose.yml")).expect("it is there");
        Project::Plain.unpack(&root.join("src"));
        // The image has no reader of such files; Compose hands them over.
        finish(
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
        if !ask(&["compose", "version"]).status.success() {
            fs::copy(source("docker"), server.programs().join("docker")).expect("there is room");
        }
        Self { server, name }
    }

    /// The same with a database that answers.
    pub(crate) fn with_database() -> Self {
        let compose = Self::start();
        let up = "cd ~/pilito && docker compose up -d --wait db </dev/null";
        compose.server.shell(up).expect("the database starts");
        compose
    }

    /// The machine.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// What a superuser of the database is told: rows as lines, columns parted by `|`.
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

    /// Containers of `docker compose run` that are still there, running or not.
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
        drop(ask(&remove.collect::<Vec<_>>()));
        drop(ask(&["network", "rm", &format!("{}_default", self.name)]));
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

    /// What the first users' script says, in its order.
    #[test]
    fn a_server_migrates_by_the_first_users_own_script() {
        let compose = Compose::start();
        let before = compose.server.picture();
        let script = "~/pilito/scripts/run_migrations_docker.sh </dev/null";
        let said = compose.server.shell(script).unwrap();
        let lines =
            ["[ ]  carriers.0001_initial", "Running database migrations...", "✅ Migrations completed successfully"];
        let mut rest = said.lines();
        assert!(lines.iter().all(|line| rest.any(|said| said == *line)), "{said}");
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
    fn the_troubles_of_compose_are_told_in_its_words() {
        let compose = Compose::start();
        let said = |script: &str| compose.server.shell(script).unwrap_err();
        let troubles = [
            ("cd / && docker compose ps", "exit status: 14", "no configuration file provided: not found"),
            ("cd ~/pilito && docker compose run --rm api true", "exit status: 1", "no such service: api"),
            ("cd ~/pilito && docker compose exec web true", "exit status: 1", "service \"web\" is not running"),
        ];
        for (script, status, words) in troubles {
            let said = said(script);
            assert!(said.starts_with(status) && said.contains(words), "{said}");
        }
    }

    /// So nothing that is to be run after it may be on the same standard input.
    #[test]
    fn a_run_of_compose_takes_the_rest_of_a_script() {
        let compose = Compose::start();
        let said = compose.server.shell("cd ~/pilito\ndocker compose run --rm -T web cat\necho after\n").unwrap();
        assert!(said.contains("echo after\n"), "{said}");
    }

    #[test]
    fn a_signal_to_a_run_of_compose_ends_its_container() {
        let compose = Compose::with_database();
        let oneoff = ["--filter", "label=com.docker.compose.oneoff=True", "--filter", "status=running"];
        let started = || compose.containers(&oneoff).first().cloned();
        thread::scope(|scope| {
            let run = scope
                .spawn(|| compose.server.shell("cd ~/pilito && exec docker compose run --rm web sleep 600 </dev/null"));
            poll(Duration::from_secs(20), started).expect("it starts");
            let words = |words: &String| words.contains("docker") && words.contains("sleep 600");
            let pids = || compose.server.login().processes().into_iter().find(|(_, line)| words(line));
            let (pid, _) = poll(Duration::from_secs(5), pids).expect("it runs");
            finish(Command::new("kill").args(["-TERM", &pid.to_string()]));
            assert!(run.join().unwrap().unwrap_err().starts_with("exit status: 143"));
        });
        // The engine removes it when the client has gone.
        poll(Duration::from_secs(5), || compose.runs().is_empty().then_some(())).expect("it is removed");
    }
}
