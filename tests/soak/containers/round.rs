//! A round with the real image: a disrupted run with its post stage, perhaps a second one, the run that brings the
//! migrations to their end, and the proofs.

use super::{
    app::{AppDatabase, OtherDatabase},
    disruption::{Disruption, Ending},
    machines::{Machines, form},
    rest::{self, StepNames},
    room::Room,
};
use crate::{
    agreement::{AllowedEnds, Trace},
    files::{File, SETUP, files},
    ground::RoundName,
    judgement::{Evidence, Judgement, Reading, UNDISTURBED},
    lab::poll,
    later_step,
    layout_forms::TextFile,
    look::{read_runs, read_traces},
    moment::{Moment, RunningStep, TypicalRun, moments},
    network::Database,
    record::{DisruptedRun, Record},
    recorded_run::MissingEnd,
    runner::Log,
    running::{EndedStage, Running},
    step::Step,
};
use proptest::{
    option::weighted,
    sample::select,
    strategy::{Strategy as _, ValueTree as _},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Probability that the repair run is disrupted as well.
const SECOND_DISRUPTION: f64 = 0.25;

/// The end of a run that meets a migration which was applied and not recorded.
const UNRECORDED: AllowedEnds = AllowedEnds { endings: &[("failed", 6)], time_limit: None };

/// The allowed ends of a run that gets the first signal before it handles signals: the runner may have to kill it.
const EARLY: AllowedEnds = AllowedEnds {
    endings: &[("success", 0), ("nothing-to-do", 0), ("cancelled", 130), ("killed", 9)],
    time_limit: None,
};

/// The random choices of a round.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) room: Room,
    /// Only in a room with files.
    files: Vec<File>,
    /// The duration of the application's last migration, in milliseconds.
    slow_ms: u64,
    disruptions: Vec<(Disruption, Moment)>,
}

impl Plan {
    /// Derives a plan from the name; the same name gives the same plan.
    pub(super) fn of(name: &RoundName, room: Room, disruption: Disruption) -> Self {
        let disruptions = select([room.kills(), &[Disruption::Cancelled]].concat());
        let all = (files(), 0..3_000_u64, moments(), weighted(SECOND_DISRUPTION, (disruptions, moments())));
        let (files, slow_ms, moment, second) =
            all.new_tree(&mut name.choices()).expect("nothing is filtered").current();
        let files = if room.has_files() { files } else { Vec::new() };
        Self { room, files, slow_ms, disruptions: [(disruption, moment)].into_iter().chain(second).collect() }
    }

    /// Returns the paths and the contents of the files.
    pub(super) fn texts(&self) -> Vec<TextFile> {
        (1..).zip(&self.files).flat_map(|(number, file)| file.texts(form(), number)).collect()
    }

    /// Adds the files to the step.
    pub(super) fn add_files<'d>(&self, step: Step<'d>) -> Step<'d> {
        self.texts().into_iter().fold(step, |step, (path, text)| step.file(&format!("migrations/{path}"), text))
    }

    /// Returns the duration of the application's last migration.
    pub(super) fn seconds(&self) -> String {
        format!("{}.{:03}", self.slow_ms / 1000, self.slow_ms % 1000)
    }
}

impl RunningStep for Running<'_> {
    fn log(&self) -> String {
        self.log()
    }

    fn has_ended(&mut self) -> bool {
        self.ended()
    }
}

/// The database that files are applied to.
struct FileDatabase<'d> {
    database: &'d Database,
    files: &'d [File],
}

impl Evidence for FileDatabase<'_> {
    fn read(&self) -> Reading {
        let session = self.database.session();
        let sql = |query: &str| session.sql(query);
        let (traces, wrong) = read_traces(&sql, form(), self.files);
        Reading { traces, places: 1, rows: read_runs(&sql), wrong }
    }

    fn flush(&self) {
        self.database.flush();
    }
}

/// A round in progress.
pub(super) struct Round<'r> {
    machines: &'r Machines,
    database: &'r Database,
    plan: &'r Plan,
    usual: TypicalRun,
    judgement: Judgement<'r>,
}

impl<'r> Round<'r> {
    /// Plays the round; returns a run with nothing to apply.
    pub(super) fn play(
        machines: &'r Machines,
        database: &'r Database,
        plan: &'r Plan,
        record: &'r mut Record,
    ) -> TypicalRun {
        let evidence: Box<dyn Evidence> = match plan.room {
            Room::Sql | Room::Backup => {
                database.sql(SETUP);
                Box::new(FileDatabase { database, files: &plan.files })
            }
            Room::Image | Room::Server => Box::new(AppDatabase(database)),
            Room::Tunnel => Box::new(OtherDatabase(database)),
        };
        let mut round = Round {
            machines,
            database,
            plan,
            usual: machines.usual(plan.room),
            judgement: Judgement::begin(evidence.as_ref(), record),
        };
        for (disruption, moment) in &plan.disruptions {
            round.disrupt(*disruption, *moment);
        }
        round.finish();
        round.usual
    }

    fn step(&self) -> Step<'r> {
        self.machines.step(self.database, self.plan)
    }

    fn disrupt(&mut self, disruption: Disruption, moment: Moment) {
        let (room, step) = (self.plan.room, self.step());
        let secrets = step.secrets.clone();
        let mut running = step.start();
        moment.wait(&mut running, self.typical());
        let siblings = [running.siblings(), self.machines.tunnels()].concat();
        self.judgement.record.wrong.extend(rest::find_secrets(&siblings, &secrets));
        let is_hit = disruption.inject(self.machines, self.database, room, &running);
        let phase = self.judgement.phase(is_hit.then(|| running.log()));
        let has_logged = !running.log().is_empty();
        let running = match room {
            Room::Tunnel => running.leaving_containers(),
            Room::Backup => running.leaving_files(),
            Room::Sql | Room::Image | Room::Server => running,
        };
        let ended = match disruption.ending() {
            Ending::Killed if is_hit => running.finish_killed(),
            Ending::Stopped if is_hit => running.cancel(),
            Ending::Killed | Ending::Stopped | Ending::Reported => running.finish(),
        };
        let (mut allowed_ends, missing_end) = if is_hit {
            (disruption.allowed_ends(room), disruption.missing_end())
        } else {
            (UNDISTURBED, MissingEnd::Forbidden)
        };
        // A signal that comes before the program handles signals is not delivered to process 1; the next one may be late.
        if disruption.ending() == Ending::Stopped && is_hit && !has_logged {
            allowed_ends = EARLY;
        }
        let EndedStage { finished, state, marker, layout, .. } = ended;
        let recorded = self.count_recorded();
        let (ended, row) = self.judgement.judge(finished, allowed_ends, missing_end);
        if room == Room::Backup {
            let has_migrated = self.count_recorded() > recorded;
            self.judgement.record.wrong.extend(check_backups(&layout.workspace(), has_migrated));
        }
        let post = self.step().post().with_state(state.clone()).after(layout).start();
        let post = if room == Room::Server { post.finish_beside_a_command() } else { post.finish() };
        self.judge_post_stage(post);
        let run = state.iter().find(|(name, _)| name == "run").map(|(_, run)| run.clone());
        self.check_rest(&StepNames { run, marker, network: self.machines.network.public().to_owned() }, &secrets);
        let disruption = format!("{}: {disruption}", room.name());
        self.judgement.record.results.push(DisruptedRun { disruption, moment, phase, ended, row });
    }

    /// Checks that the post stage has succeeded.
    fn judge_post_stage(&mut self, post: EndedStage) {
        let mut finished = post.finished;
        let wrong = finished.take_problems().into_iter().map(|wrong| format!("in the post stage: {wrong}"));
        self.judgement.record.wrong.extend(wrong);
        self.judgement.record.logs += "post stage:\n";
        self.judgement.record.logs += &Log::read(&finished.log).without_masks;
        if !finished.status.success() {
            self.judgement.record.wrong.push(format!("the post stage ended with {}", finished.status));
        }
    }

    /// Checks what is left with the engine after a step, whose secrets must not be in the engine's records.
    fn check_rest(&mut self, names: &StepNames, secrets: &[String]) {
        let wrong = [rest::find_containers(names), rest::check_events(&self.machines.events.take(), names, secrets)];
        self.judgement.record.wrong.extend(wrong.concat());
    }

    /// Brings the migrations to their end, and proves it.
    fn finish(&mut self) {
        if self.plan.room == Room::Tunnel {
            return self.use_tunnel();
        }
        if self.has_unrecorded() {
            self.record_by_hand();
        }
        self.run_to_the_end(self.step(), UNDISTURBED);
        if self.has_unrecorded() {
            self.record_by_hand();
        }
        // A command that only reads refuses the input `backup`.
        let verified = self.step().input("backup", "").input("command", "verify").run();
        self.usual = TypicalRun { duration: verified.elapsed, lines: verified.log.lines().count() };
        self.judgement.judge(verified, UNDISTURBED, MissingEnd::Forbidden);
        let listed = self.step().input("backup", "").input("command", "history").run();
        self.judgement.check_history(listed);
        if self.plan.room == Room::Server {
            poll(Duration::from_secs(5), || self.machines.rest_on_server().is_empty().then_some(()));
            self.judgement.record.wrong.extend(self.machines.rest_on_server());
        }
    }

    fn run_to_the_end(&mut self, step: Step<'r>, allowed_ends: AllowedEnds) -> String {
        let finished = step.start().leaving_files().finish().finished;
        let log = finished.log.clone();
        self.judgement.judge(finished, allowed_ends, MissingEnd::Forbidden);
        log
    }

    fn count_recorded(&self) -> usize {
        self.judgement.last.traces.iter().filter(|trace| trace.recorded).count()
    }

    /// Returns whether a migration was applied and not recorded.
    fn has_unrecorded(&self) -> bool {
        let is_unrecorded = |trace: &Trace| !trace.recorded && trace.effects.iter().flatten().any(|times| *times > 0);
        self.judgement.last.traces.iter().any(is_unrecorded)
    }

    /// Runs into a migration that was applied and not recorded, and records it as the report advises.
    fn record_by_hand(&mut self) {
        let first = |traces: &[Trace]| traces.iter().find(|trace| !trace.recorded).map(|trace| trace.name.clone());
        let name = first(&self.judgement.last.traces).expect("one is unrecorded");
        let target = name.replace('.', " ");
        let log = self.run_to_the_end(self.step(), UNRECORDED);
        if !log.contains("--fake") {
            self.judgement.record.wrong.push(format!("no advice for {name}, which is applied and not recorded"));
        }
        let inputs = [("command", "resolve"), ("target", &target), ("resolve", "applied"), ("allow", "a soak")];
        let step = inputs.into_iter().fold(self.step(), |step, (name, value)| step.input(name, value));
        let mut finished = step.run();
        self.judgement.record.wrong.extend(finished.take_problems());
        self.judgement.record.logs += &Log::read(&finished.log).without_masks;
        self.judgement.read_database();
        if first(&self.judgement.last.traces) == Some(name) {
            self.judgement.record.wrong.push(format!("`command: resolve` did not record {target}"));
        }
    }

    /// Opens a tunnel, which a later step uses, and closes it.
    fn use_tunnel(&mut self) {
        let step = self.step();
        let secrets = step.secrets.clone();
        let running = step.start();
        let EndedStage { mut finished, state, layout, marker, .. } = running.finish_for_later();
        self.usual = TypicalRun { duration: finished.elapsed, lines: finished.log.lines().count() };
        self.judgement.record.wrong.extend(finished.take_problems());
        self.judgement.record.logs += &Log::read(&finished.log).without_masks;
        let port = finished.outputs.get("tunnel-port").cloned().unwrap_or_default();
        let output = later_step::psql(self.database, &port, "", "select 6 * 7");
        if String::from_utf8_lossy(&output.stdout).trim() != "42" {
            self.judgement.record.wrong.push(format!("a later step does not reach the database: {output:?}"));
        }
        let post = self.step().post().with_state(state.clone()).after(layout).start().finish();
        self.judge_post_stage(post);
        let run = state.iter().find(|(name, _)| name == "run").map(|(_, run)| run.clone());
        self.check_rest(&StepNames { run, marker, network: self.machines.network.public().to_owned() }, &secrets);
    }

    fn typical(&self) -> TypicalRun {
        let files = self.plan.files.iter().zip(&self.judgement.last.traces);
        let pending: Vec<&File> = files.filter(|(_, trace)| !trace.recorded).map(|(file, _)| file).collect();
        let slow_ms = if matches!(self.plan.room, Room::Image | Room::Server) { self.plan.slow_ms } else { 0 };
        TypicalRun {
            duration: self.usual.duration
                + pending.iter().map(|file| file.duration()).sum::<Duration>()
                + Duration::from_millis(slow_ms),
            lines: self.usual.lines + pending.iter().map(|file| file.lines()).sum::<usize>(),
        }
    }
}

/// Checks that each file which is called a backup is a whole one, and that a run that has migrated has one.
#[expect(clippy::disallowed_methods, reason = "reads backups with the program that people use")]
fn check_backups(workspace: &Path, has_migrated: bool) -> Vec<String> {
    let entries = fs::read_dir(workspace.join("backups")).into_iter().flatten().flatten();
    let is_complete = |path: &PathBuf| path.extension().is_none_or(|extension| extension != "incomplete");
    let complete: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_complete).collect();
    let mut wrong = Vec::new();
    if has_migrated && complete.is_empty() {
        wrong.push("a migration was applied without a backup".to_owned());
    }
    for path in complete {
        let output = Command::new("pg_restore").arg("--file=/dev/null").arg(&path).output();
        let output = output.expect("pg_restore is installed");
        if !output.status.success() {
            wrong.push(format!("{} is no whole backup: {output:?}", path.display()));
        }
    }
    wrong
}
