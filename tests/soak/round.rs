//! A round: files, a disrupted run and its judgement; perhaps a disrupted repair run; a run that finishes the
//! migrations; a final `verify`, and the list of the runs. The room adds to that.

use crate::{
    action::Action,
    agreement::{AllowedEnds, Trace},
    blow::{self, Disruption, disruptions},
    copies::Copies,
    files::{File, PLAIN, SETUP, files},
    ground::{Ground, Kind, RoundName},
    judge::Finished,
    judgement::{Evidence, Judgement, Reading, UNDISTURBED},
    lab::{
        Lab,
        postgres::{Options, Postgres},
        server::Server,
        sshd::Sshd,
    },
    layout_forms::{Form, TextFile},
    look::{read_runs, read_traces},
    moment::{Moment, TypicalRun, moments},
    record::{DisruptedRun, Phase, Record},
    recorded_run::{MissingEnd, RowState},
    room::Room,
    runner::Log,
    steps::{self, StepCounts},
    tenants::{self, TENANTS},
};
use proptest::{
    option::weighted,
    strategy::{Strategy as _, ValueTree as _},
};
use std::{os::unix::process::ExitStatusExt as _, sync::Arc, time::Duration};

/// Probability that the repair run is disrupted as well.
const SECOND_DISRUPTION: f64 = 0.25;

/// The random choices of a round.
#[derive(Debug, Clone)]
struct Plan {
    files: Vec<File>,
    disruptions: Vec<(Disruption, Moment)>,
}

impl Plan {
    /// Derives a plan from the name; the same name gives the same plan.
    fn of(name: &RoundName) -> Self {
        let disruption = name.turn(match name.kind {
            Kind::Kill => &blow::KILLS[..],
            Kind::Cancel => &blow::CANCELS,
        });
        let all = (files(), moments(), weighted(SECOND_DISRUPTION, (disruptions(), moments())));
        let tree = all.new_tree(&mut name.choices()).expect("nothing is filtered");
        let (files, moment, second) = tree.current();
        Self { files, disruptions: [(disruption, moment)].into_iter().chain(second).collect() }
    }

    /// Returns the paths and the contents of the files, as the layout has them.
    fn texts(&self, form: &Form) -> Vec<TextFile> {
        (1..).zip(&self.files).flat_map(|(number, file)| file.texts(form, number)).collect()
    }
}

/// A worker's own servers, which rounds may damage.
#[derive(Debug)]
pub(crate) struct Servers {
    form: &'static Form,
    room: Room,
    postgres: Arc<Postgres>,
    bastion: Arc<Sshd>,
    /// The server that steps run on; only in their room.
    server: Option<Server>,
    /// The server of a rehearsal's copies; only in their room.
    copies: Option<Copies>,
    /// The duration of a run that applies nothing.
    overhead: Duration,
}

impl Servers {
    /// Starts fresh servers for migrations in the layout of this form, and for this room.
    pub(crate) fn start(form: &'static Form, room: Room) -> Self {
        let (postgres, bastion) = (Postgres::start(&Options::default()), Arc::new(Sshd::plain()));
        let server = (room == Room::Steps).then(Server::start);
        let copies = (room == Room::Rehearsal).then(Copies::start);
        Self { form, room, postgres, bastion, server, copies, overhead: Duration::from_millis(300) }
    }
}

impl Ground for Servers {
    fn play(&mut self, name: &RoundName, record: &mut Record) {
        let (form, plan) = (self.form, Plan::of(name));
        (record.plan, record.files) = (format!("{plan:?}"), plan.texts(form));
        let lab = Lab { database: self.postgres.database(), bastion: Arc::clone(&self.bastion) };
        match self.room {
            Room::Tenants => tenants::set_up(&|sql: &str| lab.database.sql(sql)),
            Room::Files | Room::Steps | Room::Rehearsal => drop(lab.database.sql(SETUP)),
        }
        let evidence = Files { lab: &lab, form, room: self.room, files: &plan.files };
        let judgement = Judgement::begin(&evidence, record);
        let (server, copies) = (self.server.as_ref(), self.copies.as_ref());
        let (overhead, steps) = (self.overhead, StepCounts::default());
        let mut round = Round { lab: &lab, form, plan: &plan, room: self.room, server, steps, overhead, judgement };
        let home = server.map(Server::snapshot);
        for (disruption, moment) in &plan.disruptions {
            match copies {
                Some(copies) => round.disrupt_rehearsal(copies, *disruption, *moment),
                None => round.disrupt(*disruption, *moment),
            }
        }
        if let Some(copies) = copies {
            round.finish_rehearsal(copies);
        }
        round.run_to_the_end();
        let verified = round.action().input("command", "verify").run();
        self.overhead = verified.elapsed;
        round.judgement.judge(verified, UNDISTURBED, MissingEnd::Forbidden);
        round.judgement.check_history(round.action().input("command", "history").run());
        if let (Some(server), Some(home)) = (server, home) {
            record.wrong.extend(steps::rest_on(server, &home));
        }
    }
}

/// The database that the files are applied to.
struct Files<'r> {
    lab: &'r Lab,
    form: &'r Form,
    room: Room,
    files: &'r [File],
}

impl Evidence for Files<'_> {
    fn read(&self) -> Reading {
        let session = self.lab.database.session();
        let sql = |query: &str| session.sql(query);
        let (places, (traces, wrong)) = match self.room {
            Room::Tenants => (TENANTS.len(), tenants::read(&sql, self.files)),
            Room::Files | Room::Steps | Room::Rehearsal => (1, read_traces(&sql, self.form, self.files)),
        };
        Reading { traces, places, rows: read_runs(&sql), wrong }
    }

    fn flush(&self) {
        self.lab.database.flush();
    }
}

/// A round in progress.
struct Round<'r> {
    lab: &'r Lab,
    form: &'r Form,
    plan: &'r Plan,
    room: Room,
    server: Option<&'r Server>,
    /// The steps of the runs so far.
    steps: StepCounts,
    overhead: Duration,
    judgement: Judgement<'r>,
}

impl<'r> Round<'r> {
    fn disrupt(&mut self, disruption: Disruption, moment: Moment) {
        // The command of a killed run may go on, until the next run ends it.
        let mut running = self.action().without_judging_the_server().start();
        moment.wait(&mut running, self.typical());
        let damage = disruption.inject(self.lab, self.entrance(), &mut running);
        let phase = self.judgement.phase(damage.as_ref().map(|_| running.log()));
        let (allowed_ends, missing_end) = match damage {
            Some(_) => (disruption.allowed_ends(), disruption.missing_end()),
            None => (UNDISTURBED, MissingEnd::Forbidden),
        };
        if let Some(damage) = damage {
            damage.repair(self.lab);
        }
        let (ended, row) = self.judge(running.finish(), allowed_ends, missing_end);
        let disruption = disruption.to_string();
        self.judgement.record.results.push(DisruptedRun { disruption, moment, phase, ended, row });
    }

    fn run_to_the_end(&mut self) {
        let finished = self.action().without_judging_the_server().run();
        self.judge(finished, UNDISTURBED, MissingEnd::Forbidden);
    }

    /// Judges a run of `migrate`, and its steps.
    fn judge(&mut self, finished: Finished, allowed_ends: AllowedEnds, missing_end: MissingEnd) -> (String, RowState) {
        if self.room != Room::Steps {
            return self.judgement.judge(finished, allowed_ends, missing_end);
        }
        // The counts before the run are those of the last one: nothing else runs a step.
        let (before, recorded) = (self.steps, self.count_recorded());
        let (ended, row) = self.judgement.judge(finished, allowed_ends, missing_end);
        self.steps = steps::read(&|query: &str| self.lab.database.sql(query));
        let has_migrated = self.count_recorded() > recorded;
        self.judgement.record.wrong.extend(before.check_run(self.steps, &ended, has_migrated));
        (ended, row)
    }

    fn count_recorded(&self) -> usize {
        self.judgement.last.traces.iter().filter(|trace| trace.recorded).count()
    }

    /// Disrupts a rehearsal, which changes nothing in the database.
    fn disrupt_rehearsal(&mut self, copies: &Copies, disruption: Disruption, moment: Moment) {
        let mut running = self.rehearse(copies).start();
        let typical = self.typical();
        // The files are applied and undone several times there.
        moment.wait(&mut running, TypicalRun { duration: typical.duration * 4, lines: typical.lines * 2 });
        let damage = disruption.inject(self.lab, self.entrance(), &mut running);
        let phase = damage.as_ref().map_or(Phase::AfterEnd, |_| Phase::Applying);
        let is_hit = damage.is_some();
        if let Some(damage) = damage {
            damage.repair(self.lab);
        }
        let mut finished = running.finish();
        let outcome = finished.outputs.get("outcome").cloned().unwrap_or_default();
        let end = match finished.status.signal() {
            Some(signal) => ("killed".to_owned(), signal),
            None => (outcome, finished.status.code().unwrap_or(-1)),
        };
        let allowed = disruption.allowed_ends().endings.iter().filter(|_| is_hit);
        let mut allowed = allowed.chain(&[("pending", 0)]).filter(|end| !["success", "nothing-to-do"].contains(&end.0));
        if !allowed.any(|allowed| (allowed.0, allowed.1) == (end.0.as_str(), end.1)) {
            self.judgement.record.wrong.push(format!("a rehearsal may not end as {end:?}"));
        }
        self.judgement.record.wrong.extend(finished.take_problems());
        self.judgement.record.logs += &Log::read(&finished.log).without_masks;
        self.check_unchanged();
        let code = finished.outputs.get("fault-code").cloned().unwrap_or_default();
        let (disruption, ended) = (format!("rehearsal: {disruption}"), format!("{} {code}", end.0));
        let row = RowState::Absent;
        self.judgement.record.results.push(DisruptedRun { disruption, moment, phase, ended, row });
    }

    /// Rehearses without a disruption, after which nothing is left of any rehearsal.
    fn finish_rehearsal(&mut self, copies: &Copies) {
        let mut finished = self.rehearse(copies).run();
        self.judgement.record.wrong.extend(finished.take_problems());
        self.judgement.record.logs += &Log::read(&finished.log).without_masks;
        if finished.outputs.get("outcome").map(String::as_str) != Some("pending") {
            self.judgement.record.wrong.push(format!("the rehearsal ended with {}", finished.status));
        }
        self.check_unchanged();
        self.judgement.record.wrong.extend(copies.rest());
    }

    /// Checks that no migration has left a trace.
    fn check_unchanged(&mut self) {
        self.judgement.read_database();
        let is_touched = |trace: &&Trace| {
            trace.recorded || trace.progress.is_some() || trace.effects.iter().flatten().any(|times| *times > 0)
        };
        let touched: Vec<_> = self.judgement.last.traces.iter().filter(is_touched).map(|trace| &trace.name).collect();
        if !touched.is_empty() || !self.judgement.last.rows.is_empty() {
            let wrong = format!("a rehearsal has changed the database: {touched:?}, {:?}", self.judgement.last.rows);
            self.judgement.record.wrong.push(wrong);
        }
    }

    fn rehearse(&self, copies: &Copies) -> Action<'r> {
        self.action().input("command", "rehearse").secret("rehearse", &*copies.url)
    }

    /// Returns the server that the run logs in to.
    fn entrance(&self) -> &'r Sshd {
        self.server.map_or(&*self.lab.bastion, Server::sshd)
    }

    fn action(&self) -> Action<'r> {
        let step = match self.server {
            None => Action::new(self.lab),
            Some(server) => {
                let step = Action::on_server(self.lab, server).input("executor", "sql");
                steps::add(step.secret("database-url", self.lab.database.url()))
            }
        };
        let step = if self.room == Room::Tenants { tenants::add(step) } else { step };
        // Plain files are found by themselves.
        let step = if self.form.layout == PLAIN { step } else { self.form.step(step) };
        let texts = self.plan.texts(self.form).into_iter();
        texts.fold(step, |step, (path, text)| step.file(&format!("migrations/{path}"), text))
    }

    fn typical(&self) -> TypicalRun {
        let files = self.plan.files.iter().cycle().zip(&self.judgement.last.traces);
        let pending: Vec<&File> = files.filter(|(_, trace)| !trace.recorded).map(|(file, _)| file).collect();
        TypicalRun {
            duration: self.overhead + pending.iter().map(|file| file.duration()).sum::<Duration>(),
            // The run's own lines, and for each file its lines as pending, started and applied, and its notices.
            lines: 27 + pending.iter().map(|file| file.lines()).sum::<usize>(),
        }
    }
}
