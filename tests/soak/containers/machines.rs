//! The machines of a worker: the job's network with its bastion, the database server behind it, and a deployment server.

use super::{
    disruption::Disruption,
    rest::EngineEvents,
    room::{ROOMS, Room},
    round::{Plan, Round},
};
use crate::{
    app::DJANGO_5_2,
    engine::{Container, docker, image},
    files::PLAIN,
    ground::{Ground, Kind, RoundName},
    layout_forms::Form,
    moment::TypicalRun,
    network::{Database, DeploymentServer, MACHINE, Network},
    record::Record,
    step::Step,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The application's directory in its image and on the server.
const APP: &str = "/app";

/// A worker's own machines, which rounds may damage.
#[derive(Debug)]
pub(crate) struct Machines {
    /// The only room to play in.
    room: Option<Room>,
    // Dropped before their network.
    server: DeploymentServer,
    pub(super) network: Arc<Network>,
    pub(super) events: EngineEvents,
    /// Undisturbed runs with nothing to apply.
    usual: BTreeMap<Room, TypicalRun>,
}

impl Machines {
    /// Starts fresh machines for rounds in this room, or in each in turn.
    pub(crate) fn start(room: Option<Room>) -> Self {
        let network = Arc::new(Network::start());
        let server = DeploymentServer::start(&network);
        Self { room, server, network, events: EngineEvents::begin(), usual: BTreeMap::new() }
    }

    /// Returns an undisturbed run with nothing to apply: the last one, or before it one of a machine with nothing else to do.
    pub(super) fn usual(&self, room: Room) -> TypicalRun {
        let first = match room {
            Room::Sql | Room::Backup | Room::Tunnel => TypicalRun { duration: Duration::from_millis(1_500), lines: 30 },
            Room::Image | Room::Server => TypicalRun { duration: Duration::from_millis(4_000), lines: 45 },
        };
        self.usual.get(&room).copied().unwrap_or(first)
    }

    /// Returns the deployment server.
    pub(super) fn server(&self) -> &Container {
        self.server.machine()
    }

    /// Returns the machine that a step logs in to.
    pub(super) fn entrance(&self, room: Room) -> &Container {
        match room {
            Room::Server => self.server(),
            Room::Sql | Room::Backup | Room::Image | Room::Tunnel => self.network.bastion(),
        }
    }

    /// Lists the tunnels in the job's network.
    pub(super) fn tunnels(&self) -> Vec<String> {
        let network = format!("network={}", self.network.public());
        let kind = "label=dev.bastion-migrate.kind=tunnel";
        let ids = docker(&["ps", "--quiet", "--no-trunc", "--filter", kind, "--filter", &network]);
        ids.lines().map(str::to_owned).collect()
    }

    /// Returns a step of this plan, not started yet.
    pub(super) fn step<'d>(&self, database: &'d Database, plan: &Plan) -> Step<'d> {
        let step = Step::new(database);
        match plan.room {
            Room::Sql => plan.add_files(step),
            Room::Backup => {
                plan.add_files(step).input("backup", format!("{{ what: data, image: '{}' }}", image(MACHINE)))
            }
            Room::Image => {
                let step = Step::of_app(database, DJANGO_5_2).trouble("slow");
                step.pass_variable(&format!("APP_SECONDS={}", plan.seconds()))
            }
            Room::Server => step
                .input("executor", "server")
                .input("tool", "django")
                .input("working-directory", APP)
                .input("setup", ". ~/app.env")
                .input("ssh-host", self.server.host())
                .input("ssh-known-hosts", self.server.known_hosts())
                .secret("ssh-private-key", self.server.key()),
            Room::Tunnel => step.input("command", "tunnel"),
        }
    }

    /// Writes the settings of the application on the server.
    fn configure_app(&self, database: &Database, plan: &Plan) {
        let settings = format!(
            "export PATH=/opt/app/bin:$PATH DATABASE_URL='{}' SECRET_KEY='not a secret of ours' \
             APP_TROUBLE=slow APP_SECONDS={}\n",
            database.url(),
            plan.seconds()
        );
        self.server().feed(&["sh", "-c", "cat > /home/deploy/app.env"], &settings);
    }

    /// Lists the files in the home on the server and the processes of its user.
    pub(super) fn rest_on_server(&self) -> Vec<String> {
        let files = self.server().exec(&["sh", "-c", "find /home/deploy -mindepth 1 | sort"]);
        let known = ["app.env", ".bashrc", ".profile", ".bash_logout", ".ssh", ".ssh/authorized_keys"];
        let is_new = |path: &&str| !known.iter().any(|known| path.strip_prefix("/home/deploy/") == Some(*known));
        let files = files.lines().filter(is_new).map(|path| format!("on the server, {path} is left")).collect();
        let processes = self.server().try_exec(&["pgrep", "-u", "deploy", "-a"]).unwrap_or_default();
        let processes = processes.lines().map(|line| format!("on the server, the process {line} is left")).collect();
        [files, processes].map(|lines: Vec<String>| lines).concat()
    }
}

impl Ground for Machines {
    fn play(&mut self, name: &RoundName, record: &mut Record) {
        let room = self.room.unwrap_or_else(|| name.turn(&ROOMS));
        let disruption = match name.kind {
            // The rooms take turns, too: without a shift a room would meet the same disruption again and again.
            Kind::Kill if self.room.is_none() => {
                RoundName { number: name.number + name.number / ROOMS.len(), ..*name }.turn(room.kills())
            }
            Kind::Kill => name.turn(room.kills()),
            Kind::Cancel => Disruption::Cancelled,
        };
        let plan = Plan::of(name, room, disruption);
        (record.plan, record.files) = (format!("{plan:?}"), plan.texts());
        let database = self.network.database();
        if room == Room::Server {
            self.configure_app(&database, &plan);
        }
        drop(self.events.take());
        let usual = Round::play(self, &database, &plan, record);
        self.usual.insert(room, usual);
    }
}

/// Returns the form of the files in the rooms with files.
pub(super) fn form() -> &'static Form {
    Form::of(PLAIN)
}
