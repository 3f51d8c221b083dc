//! A migration without a transaction: one statement after the other, its place kept in a table, so that the next run goes on
//! where this one stopped.
//!
//! A statement that may run in a transaction runs in one together with its place, so the two can't disagree. One that can't
//! (CREATE INDEX CONCURRENTLY, VACUUM, …) is announced before and crossed off after: what was announced and not crossed off
//! is settled by looking at the database, and where that can't tell, a person is asked.

use super::{
    concurrent_index, copy,
    migration::Migration,
    pipeline::Apply,
    transaction::{Commit, FORGET, OUR_ENCODING, limit_sql, open_alone_sql},
};
use crate::{
    fault::{Code, Fault, Place},
    layout::NewRow,
    ledger::{Content, Ledger, Progress, ProgressRow},
    postgres::{
        fault::statement,
        literal, origin_mark,
        own_query::{ON_OUR_PATH, Question},
        rows, waits_for_others,
    },
    run::event::Event,
    sql::{Lost, Piece, QualifiedName, Statement, StatementKind, Work},
};
use sha2::{Digest as _, Sha256};
use std::{cell::RefCell, time::Duration};
use tokio::time::Instant;

pub(super) async fn apply(apply: &Apply<'_>, migration: &Migration, list: &[Statement]) -> Result<(), Fault> {
    let table = apply.ledger.progress_table();
    let progress = Progress { table: &table, exists: apply.ledger.progress_exists, version: &migration.id.version };
    let walk = Walk { apply, migration, list, progress, hashed: RefCell::default() };
    let result = walk.all().await;
    if result.is_err() {
        // What the file set must not reach the next try.
        drop(apply.client.batch_execute(FORGET).await);
    }
    result
}

/// Our own rows are ours to write, whatever role the file has taken, and as patiently as we began; for the rest of the
/// transaction.
const AS_OURSELVES: &str = "SET LOCAL session_authorization TO DEFAULT; SET LOCAL role TO DEFAULT; \
    SET LOCAL lock_timeout TO DEFAULT";

/// What waits for the end of other transactions does so for as long as the run may last: given up, it leaves half of its work
/// behind, and nobody queues behind it meanwhile.
const PATIENT: &str = "SET lock_timeout TO 0";

/// Our own text is ours to read, whatever encoding the file has set; for the rest of the transaction, as the file's next
/// statement is read in its own again.
const OUR_ENCODING_FOR_NOW: &str = "SET LOCAL client_encoding TO 'UTF8'";

/// Refuses files that now ask for a transaction although an earlier run has already done a part of them without.
#[must_use]
pub fn half_done(pending: &[Migration], content: &Content, ledger: &Ledger) -> Vec<Fault> {
    let begun = |migration: &&Migration| {
        let row = content.progress.iter().find(|row| row.version == migration.id.version);
        row.is_some_and(|row| row.started > 0) && !matches!(migration.work, Work::Statements { .. })
    };
    let fault = |migration: &Migration| {
        let (file, version) = (&migration.id.file, literal(&migration.id.version));
        let cause =
            format!("an earlier run did a part of `{file}` without a transaction, and now the file asks for one");
        let table = ledger.progress_table().sql();
        Fault::new(Code::FileChanged, cause)
            .fix("put `-- no-transaction` back on the first line, and the run goes on where the earlier one stopped")
            .detail(format!("or undo that part by hand, and then: DELETE FROM {table} WHERE version = {version};"))
            .in_file(migration.source().file())
    };
    pending
        .iter()
        .filter(begun)
        .map(fault)
        .chain(pending.iter().flat_map(|migration| lost(migration, ledger)))
        .collect()
}

/// Refuses what the file makes for its session and needs again behind what is committed by itself: a run that resumes could not have
/// it as it was.
fn lost(migration: &Migration, ledger: &Ledger) -> Vec<Fault> {
    let Work::Statements { lost, .. } = &migration.work else { return Vec::new() };
    let (source, table) = (migration.source(), ledger.progress_table().sql());
    let fault = |lost: &Lost| {
        let cause = format!(
            "`{}`, made on line {} of `{}`, ends with its session, and line {} needs it behind what is committed by itself: a \
             run that is cut off between the two could not go on",
            lost.name,
            source.line(lost.made.start),
            source.file,
            source.line(lost.used.start)
        );
        Fault::new(Code::StatementRefused, cause)
            .fix(
                "move what makes and uses it into a file of its own without `-- no-transaction`; or make an ordinary table \
                 instead, and drop it at the end of the file",
            )
            .detail(format!(
                "if an earlier run has done a part of this file: undo that by hand, and then DELETE FROM {table} WHERE \
                 version = {};",
                literal(&migration.id.version)
            ))
            .in_file(source.at_byte(lost.made.start))
    };
    lost.iter().map(fault).collect()
}

struct Walk<'a> {
    apply: &'a Apply<'a>,
    migration: &'a Migration,
    list: &'a [Statement],
    progress: Progress<'a>,
    /// So many statements, and their digest.
    hashed: RefCell<(usize, Sha256)>,
}

impl Walk<'_> {
    async fn all(&self) -> Result<(), Fault> {
        let began = Instant::now();
        self.apply.events.tell(Event::Started(self.migration.id.clone()));
        let done = match self.place().await? {
            Some(row) => self.resume(&row).await?,
            None => 0,
        };
        for number in 1..=self.list.len() {
            let Some(next) = self.list.get(number - 1) else { break };
            if number > done {
                self.one(number, next).await?;
                let index = self.migration.id.index;
                self.apply.events.tell(Event::Statement { index, number, of: self.list.len() });
            } else {
                self.again(next, done).await?;
            }
        }
        let took = began.elapsed();
        let row = NewRow { took: Some(took), ..self.apply.row(self.migration) };
        // One message is one transaction.
        let record = self.apply.ledger.insert_sql(&row);
        let mark = origin_mark::ends(self.migration.id.index);
        let record = format!("{mark} {FORGET}; {ON_OUR_PATH}; {}; {record}", self.progress.remove_sql());
        if !record.is_ascii() {
            self.execute(OUR_ENCODING).await?;
        }
        self.execute(&record).await?;
        self.apply.tally.committed(Commit::Flushed);
        self.apply.events.tell(Event::Applied { index: self.migration.id.index, took });
        Ok(())
    }

    /// Where an earlier try stopped. Asked anew at each try, not taken from the plan: a try moves it on.
    async fn place(&self) -> Result<Option<ProgressRow>, Fault> {
        let open = open_alone_sql(self.apply.fresh, self.apply.limit(self.apply.attempt.get()));
        let mark = origin_mark::begins(self.migration.id.index);
        let question = Question::writing(open).and(&self.progress.find_sql()).after(mark);
        let answer = rows(self.apply.client, &question).await;
        let answer = answer.map_err(|fault| fault.in_file(self.migration.source().file()))?;
        Ok(Content::parse(&answer).progress.into_iter().next())
    }

    /// How many statements an earlier run has done, once the one in doubt is settled.
    async fn resume(&self, row: &ProgressRow) -> Result<usize, Fault> {
        if self.checksum(row.started) != row.checksum {
            return Err(Fault::new(
                Code::FileChanged,
                format!(
                    "an earlier run did {} statements of {}, and these are not the same any more",
                    row.started, self.migration.id.file
                ),
            )
            .fix("restore the statements that were already run; the ones after them may be changed")
            .in_file(self.migration.source().file()));
        }
        self.apply.events.note(format!(
            "{}: {} of {} statements were done by an earlier try",
            self.migration.id.file,
            row.done,
            self.list.len()
        ));
        if row.started == row.done {
            return Ok(row.done);
        }
        let Some(doubtful) = self.list.get(row.done) else { return Ok(row.done) };
        let took_effect = match &doubtful.kind {
            StatementKind::CreateIndex { index, .. } => concurrent_index::is_valid(self.apply.client, index).await?,
            StatementKind::DropIndex { index, .. } => !concurrent_index::exists(self.apply.client, index).await?,
            StatementKind::Transactional | StatementKind::Repeatable | StatementKind::Session => false,
            StatementKind::Opaque => return Err(self.in_doubt(row)),
        };
        Ok(if took_effect { row.started } else { row.done })
    }

    async fn one(&self, number: usize, next: &Statement) -> Result<(), Fault> {
        let checksum = self.checksum(number);
        let done = self.progress.put_sql(number, number, &checksum);
        let result = match &next.kind {
            StatementKind::Session => self.run(next).await,
            StatementKind::Transactional => self.together(number, next, &done).await,
            StatementKind::CreateIndex { index, .. } => self.announced(number, &checksum, next, Some(index)).await,
            StatementKind::DropIndex { .. } | StatementKind::Repeatable | StatementKind::Opaque => {
                self.announced(number, &checksum, next, None).await
            }
        };
        match result {
            Err(fault) if fault.sqlstate.is_some() && !fault.code.ends_session() => {
                Err(self.had_no_effect(number, next, fault).await)
            }
            other => other,
        }
    }

    /// Runs again what an earlier run's session had of a statement that is done, and what follows needs.
    async fn again(&self, before: &Statement, done: usize) -> Result<(), Fault> {
        for again in before.again.iter().filter(|again| again.until.is_none_or(|until| until > done)) {
            copy::send(self.apply, self.migration, &[Piece::Sql(again.span)]).await?;
        }
        Ok(())
    }

    /// A statement and its place in one transaction.
    async fn together(&self, number: usize, next: &Statement, done: &str) -> Result<(), Fault> {
        let limit = limit_sql(self.is_patient(number, next).then_some(Duration::ZERO));
        self.execute(&format!("{}; {limit}", next.modes.begin_sql())).await?;
        let result = async {
            self.run(next).await?;
            if !done.is_ascii() {
                self.execute(OUR_ENCODING_FOR_NOW).await?;
            }
            // An error that COMMIT would bring comes while there still is a block.
            self.execute(&format!("SET CONSTRAINTS ALL IMMEDIATE; {AS_OURSELVES}; {ON_OUR_PATH}; {done}; COMMIT"))
                .await
                .map_err(|fault| fault.in_file(self.at(next)))
        };
        match result.await {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.apply.after_rollback(fault).await),
        }
    }

    /// A statement that can't be in one transaction with its place: announced, run, crossed off.
    async fn announced(
        &self,
        number: usize,
        checksum: &str,
        next: &Statement,
        makes: Option<&QualifiedName>,
    ) -> Result<(), Fault> {
        let is_patient = self.is_patient(number, next);
        let (patient, again) = if is_patient { (PATIENT, self.limited()) } else { ("", String::new()) };
        self.keep(&self.progress.put_sql(number, number - 1, checksum), patient).await?;
        if let Some(index) = makes {
            let dropped = concurrent_index::drop_if_invalid(self.apply.client, index).await;
            if dropped.map_err(|fault| fault.in_file(self.at(next)))? {
                self.apply.events.note(format!("dropped the INVALID index {index} that an earlier try left behind"));
            }
        }
        self.run(next).await?;
        self.keep(&self.progress.put_sql(number, number, checksum), &again).await
    }

    /// Whether a statement waits for others without a limit: by what it is, unless the file has its own word about that.
    fn is_patient(&self, number: usize, next: &Statement) -> bool {
        let before = self.list.iter().take(number.saturating_sub(1)).filter(|one| one.kind == StatementKind::Session);
        let mut texts = before.map(|one| one.span.of(&self.migration.body).to_ascii_lowercase());
        waits_for_others(next.span.of(&self.migration.body)).is_some()
            && !texts.any(|text| text.contains("lock_timeout"))
    }

    /// Takes that back.
    fn limited(&self) -> String {
        match self.apply.limit(self.apply.attempt.get()) {
            Some(limit) => format!("SET lock_timeout TO {}", limit.as_millis()),
            None => "RESET lock_timeout".to_owned(),
        }
    }

    /// A statement of the file.
    async fn run(&self, next: &Statement) -> Result<(), Fault> {
        copy::send(self.apply, self.migration, &next.pieces).await
    }

    /// A statement of ours.
    async fn execute(&self, sql: &str) -> Result<(), Fault> {
        let done = self.apply.client.batch_execute(sql).await;
        done.map_err(|error| statement(&error).in_file(self.migration.source().file()))
    }

    /// A place, and a setting that holds from then on; one message is one transaction.
    async fn keep(&self, place: &str, setting: &str) -> Result<(), Fault> {
        let place = format!("{AS_OURSELVES}; {ON_OUR_PATH}; {place}; {setting}");
        if place.is_ascii() {
            return self.execute(&place).await;
        }
        self.execute(&format!("BEGIN; {OUR_ENCODING_FOR_NOW}")).await?;
        self.execute(&format!("{place}; COMMIT")).await
    }

    fn at(&self, statement: &Statement) -> Place {
        self.migration.source().at_byte(statement.span.start)
    }

    /// SHA-256 of the first `number` statements.
    fn checksum(&self, number: usize) -> String {
        // Each is asked for after the one before it: what is hashed already is not hashed again.
        let (done, digest) = self.hashed.take();
        let (done, mut digest) = if done <= number { (done, digest) } else { (0, Sha256::new()) };
        for statement in self.list.iter().take(number).skip(done) {
            digest.update(statement.span.of(&self.migration.body));
            digest.update([0]);
        }
        self.hashed.replace((number, digest.clone()));
        hex::encode(digest.finalize())
    }

    fn in_doubt(&self, row: &ProgressRow) -> Fault {
        let table = self.progress.table.sql();
        let version = literal(&row.version);
        let place =
            self.list.get(row.done).map_or_else(|| self.migration.source().file(), |doubtful| self.at(doubtful));
        Fault::new(
            Code::StatementInDoubt,
            format!(
                "an earlier run was cut off in statement {} of {}, and nothing tells whether it took effect",
                row.started, self.migration.id.file
            ),
        )
        .detail(format!("if it did: UPDATE {table} SET done = started WHERE version = {version};"))
        .detail(format!(
            "if it did not: UPDATE {table} SET started = done, checksum = '{}' WHERE version = {version};",
            self.checksum(row.done)
        ))
        .in_file(place)
    }

    /// An error that the server itself reported means that the statement had no effect: nothing is in doubt then, save an
    /// index, which the next try looks after.
    async fn had_no_effect(&self, number: usize, next: &Statement, fault: Fault) -> Fault {
        let before = number - 1;
        let place = self.progress.put_sql(before, before, &self.checksum(before));
        let kept = self.keep(&place, "").await;
        let of = self.list.len();
        let what = match next.kind {
            StatementKind::Transactional | StatementKind::Session => {
                format!("statement {number} of {of} was rolled back")
            }
            StatementKind::Opaque => format!("what statement {number} of {of} committed itself stays"),
            _ => format!("statement {number} of {of} was not done"),
        };
        let fault = fault.detail(format!("{what}; the {before} before it stay done, the next run goes on with it"));
        // The usual fix speaks of a file that was rolled back.
        let fault = if fault.fix == Code::StatementFailed.fix() {
            fault.fix("correct the statement and run again: the run goes on with this statement")
        } else {
            fault
        };
        match kept {
            Ok(()) => fault,
            Err(lost) => fault.detail(format!("its place could not be kept: {}", lost.cause)),
        }
    }
}
