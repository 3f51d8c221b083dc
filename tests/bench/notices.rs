//! The cost of redaction: a file with very many notices, and the redactor alone on the same text.

use crate::{
    files::tool::Tool,
    program,
    sample::{Sample, Target, in_turns, milliseconds},
    table::{Table, heading},
    world::World,
};
use bastion_migrate::secret::{Redactor, Secret};
use std::{fs, hint::black_box, io::Read as _, time::Instant};

/// Runs of each party.
const RUNS: usize = 5;

const NOTICES: usize = 200_000;

/// Lines that the processor's caches hold.
const RECENT_LINES: usize = 500;

/// The target: the redactor's share of a run's time.
const SHARE: f64 = 0.02;

/// Prints the table.
pub(crate) fn run() {
    heading(
        "Notices",
        "A file that raises 200,000 notices, through the bastion, from the start of the program to its end, with a reader of its log. \
         *The redactor* runs alone on the text that it gets in the run: each line of the log, \
         with a private key, a password, the URL that contains it and a token as secrets.",
    );
    let world = World::new();
    let mut table = Table::new(["notice", "runs", "the run, ms", "the redactor, ms", "of it / 2 %"]);
    for (name, text) in [
        ("short", "row %"),
        (
            "with names and signs",
            "relation \"orders_%\" of customer-accounts/eu-west-1: 50 % done, see \\server\\share & co",
        ),
    ] {
        let files = world.home().join(name.replace(' ', "-"));
        Tool::Ours.lay_out(&files, 1);
        let loops = format!(
            "do $$ begin for i in 1..{NOTICES} loop raise notice '%', replace($x${text}$x$, '%', i::text); end loop; end $$;\n"
        );
        let file = fs::read_dir(&files).expect("it is laid out").flatten().next().expect("there is one").path();
        fs::write(file, loops).expect("there is room");
        let redactor = redactor(&world);
        let [[whole], [alone]] = in_turns(RUNS, [Party::Run, Party::Redactor], |party| match party {
            Party::Run => [time_run(&world, &files)],
            Party::Redactor => [time_redactor(&redactor, text)],
        });
        table.row([name.to_owned(), RUNS.to_string(), whole.to_string(), alone.to_string(), share(&alone, &whole)]);
    }
    table.print();
}

#[derive(Debug, Clone, Copy)]
enum Party {
    Run,
    Redactor,
}

fn share(alone: &Sample, whole: &Sample) -> String {
    Target::AtMost(1.0).judge(alone.over(whole) / SHARE)
}

/// Returns the redactor of a run with a key, a password and a token.
fn redactor(world: &World) -> Redactor {
    let password = "jH7%kq'2 w\"Zx";
    let url = format!("postgres://app:jH7%25kq'2%20w%22Zx@127.0.0.1:{}/app", world.database_port());
    let key = world.lab.bastion.key();
    let secrets = [key.expose(), password, &url, "ghs_0123456789abcdefghijklmnopqrstuvwxyz"];
    Redactor::new(&secrets.map(Secret::new))
}

fn time_run(world: &World, files: &std::path::Path) -> f64 {
    let database = world.lab.database.server().database();
    let mut step = program::step(world, &database, "migrate", files, world.lab.bastion.port);
    let began = Instant::now();
    let mut child = step.spawn().expect("the program is built");
    let mut log = String::new();
    child.stdout.take().expect("it is piped").read_to_string(&mut log).expect("the log is UTF-8");
    assert!(child.wait().expect("the program ends").success(), "{}", log.lines().last().unwrap_or_default());
    let took = milliseconds(began.elapsed());
    assert!(log.lines().filter(|line| line.contains(": notice: ")).count() == NOTICES, "every notice is logged");
    took
}

fn time_redactor(redactor: &Redactor, text: &str) -> f64 {
    // In the run, a line was just put together. Millions of bytes that lay in memory for long would be another matter.
    let lines: Vec<String> = (0..RECENT_LINES)
        .map(|number| format!("  0001_notices: notice: {}", text.replace('%', &number.to_string())))
        .collect();
    let began = Instant::now();
    for line in lines.iter().cycle().take(NOTICES) {
        black_box(redactor.redact(black_box(line)));
    }
    milliseconds(began.elapsed())
}
