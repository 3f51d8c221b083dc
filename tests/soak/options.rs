//! The options of the command line.

use crate::{
    containers::{self, Machines},
    files::PLAIN,
    ground::{Ground, RoundName},
    layout_forms::{FORMS, Form},
    room::{self, Room},
    round::Servers,
};
use clap::{Arg, ArgAction, Command, builder::PossibleValuesParser, value_parser};
use std::time::{Duration, SystemTime};

/// The options of a soak.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) kills: usize,
    pub(crate) cancels: usize,
    pub(crate) limit: Duration,
    /// The only round to play.
    pub(crate) only: Option<RoundName>,
    /// The numbers of the last kill and of the last cancel of an earlier soak with this seed.
    pub(crate) after: (usize, usize),
    course: Course,
}

/// The ground of a soak, and the choices there.
#[derive(Debug, Clone, Copy)]
enum Course {
    /// The program as a process, with files in the layout of this form, in this room.
    Processes(&'static Form, Room),
    /// The real image, in this room or in each in turn.
    Containers(Option<containers::Room>),
}

impl Options {
    /// Reads the arguments of this process.
    pub(crate) fn parse() -> Self {
        let number = |name: &'static str, default: &'static str| {
            Arg::new(name).long(name).value_parser(value_parser!(u64)).default_value(default)
        };
        let layouts = PossibleValuesParser::new(FORMS.iter().map(|form| form.layout));
        let rooms = PossibleValuesParser::new(room::ROOMS.map(Room::name));
        let rooms_in_containers = PossibleValuesParser::new(containers::ROOMS.map(containers::Room::name));
        let matches = Command::new("soak")
            .arg(Arg::new("seed").long("seed").value_parser(value_parser!(u64)))
            .arg(Arg::new("round").long("round"))
            .arg(Arg::new("layout").long("layout").value_parser(layouts).default_value(PLAIN))
            .arg(Arg::new("room").long("room").value_parser(rooms).default_value(Room::Files.name()))
            .arg(Arg::new("containers").long("containers").action(ArgAction::SetTrue).help("run the real image"))
            .arg(Arg::new("container-room").long("container-room").value_parser(rooms_in_containers))
            .arg(Arg::new("after").long("after").help("as an earlier soak with this seed printed it"))
            .args([number("kills", "1000"), number("cancels", "300"), number("minutes", "60")])
            .get_matches();
        let count = |name: &str| matches.get_one::<u64>(name).copied().unwrap_or_default();
        let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let after = matches.get_one::<String>("after").map_or((0, 0), |after| {
            let (kills, cancels) = after.split_once('/').expect("written as kills/cancels");
            (kills.parse().expect("a number"), cancels.parse().expect("a number"))
        });
        let seed = matches.get_one("seed").copied().unwrap_or_else(clock);
        let round = |name: &String| RoundName::parse(seed, name).expect("a round is named like kill-17");
        Self {
            after,
            seed,
            kills: usize::try_from(count("kills")).expect("a count fits"),
            cancels: usize::try_from(count("cancels")).expect("a count fits"),
            limit: Duration::from_secs(60 * count("minutes")),
            only: matches.get_one::<String>("round").map(round),
            course: if matches.get_flag("containers") {
                let name = matches.get_one::<String>("container-room");
                let is_named = |room: &containers::Room| name.is_some_and(|name| room.name() == *name);
                Course::Containers(containers::ROOMS.into_iter().find(is_named))
            } else {
                let room = matches.get_one::<String>("room").expect("it has a default");
                let room = room::ROOMS.into_iter().find(|known| known.name() == *room).expect("the parser knows it");
                Course::Processes(Form::of(matches.get_one::<String>("layout").expect("it has a default")), room)
            },
        }
    }

    /// Returns the command of a soak with the same choices.
    pub(crate) fn command(&self) -> String {
        let course = match self.course {
            Course::Processes(form, room) => {
                let layout = if form.layout == PLAIN { String::new() } else { format!(" LAYOUT={}", form.layout) };
                let room = if room == Room::Files { String::new() } else { format!(" ROOM={}", room.name()) };
                format!("soak{layout}{room}")
            }
            Course::Containers(None) => "soak-container".to_owned(),
            Course::Containers(Some(room)) => format!("soak-container ROOM={}", room.name()),
        };
        format!("make {course} SEED={}", self.seed)
    }

    /// Returns a name for the files of a round.
    pub(crate) fn directory(&self, name: &RoundName) -> String {
        let course = match self.course {
            Course::Processes(form, Room::Files) => form.layout.to_owned(),
            Course::Processes(form, room) => format!("{}-{}", form.layout, room.name()),
            Course::Containers(room) => format!("container-{}", room.map_or("all", containers::Room::name)),
        };
        format!("{course}-{}-{name}", self.seed)
    }

    /// Starts a ground for a worker.
    pub(crate) fn start_ground(&self) -> Box<dyn Ground> {
        match self.course {
            Course::Processes(form, room) => Box::new(Servers::start(form, room)),
            Course::Containers(room) => Box::new(Machines::start(room)),
        }
    }
}
