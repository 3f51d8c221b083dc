//! The record of this run in the database: begun before the work, completed at its end. It never decides the outcome of the
//! run.

use crate::{
    audit::{NewRun, RIGHT_TO_RECORD, end_query, guarded_end_sql, parse_runs_table, parse_unended, runs_table_query},
    fault::{Code, Fault},
    github::runner::Runner,
    ledger::catalog::CatalogTable,
    postgres::{OwnQuery, Rows, Session, query_rows, wait::answer_within},
    run::{
        RunEnd,
        event::{Event, Events},
    },
    settings::Settings,
};
use std::{
    cell::{OnceCell, RefCell},
    rc::Rc,
    time::Duration,
};

/// The users who approved the deployment, once they are known.
pub(crate) type Approvers = Rc<OnceCell<String>>;

/// The record of this run.
#[derive(Debug)]
pub(super) struct AuditTrail {
    run: NewRun,
    approvers: Approvers,
    events: Events,
    /// Time limit for an answer of the server.
    wait: Duration,
    state: RefCell<RecordState>,
}

/// The state of the record.
#[derive(Debug, PartialEq, Eq)]
enum RecordState {
    NotBegun,
    /// There is a row.
    Begun {
        /// Set if it has the digest of the plan.
        has_plan: bool,
        /// Set if it names those who approved the deployment.
        names_approvers: bool,
        /// The end that it has if the last migration is committed.
        written: Option<RunEnd>,
    },
    /// The session was lost before the answer: there may be a row.
    Unanswered,
    /// The row could not be written, and that was reported.
    Unavailable,
}

impl AuditTrail {
    /// Creates the record of a run that may write, if it is not switched off.
    pub(super) fn new(settings: &Settings, runner: &Runner, events: &Events, approvers: &Approvers) -> Option<Self> {
        settings.keeps_audit().then(|| Self {
            run: NewRun::new(settings, runner),
            approvers: Rc::clone(approvers),
            events: events.clone(),
            wait: settings.wait_timeout,
            state: RefCell::new(RecordState::NotBegun),
        })
    }

    /// Begins the record, unless it has begun: the future writes the row, and returns the fault if the
    /// session was lost meanwhile. `digest` is that of the plan, once there is one.
    pub(super) fn begin<'a>(
        &'a self,
        session: &'a Session,
        digest: Option<&str>,
        image: Option<&str>,
    ) -> impl Future<Output = Option<Fault>> + 'a {
        let is_new = *self.state.borrow() == RecordState::NotBegun;
        let query = is_new.then(|| {
            let approvers = self.approvers.get().map(String::as_str);
            self.state.replace(RecordState::Begun {
                has_plan: digest.is_some(),
                names_approvers: approvers.is_some(),
                written: None,
            });
            self.run.begin_query(&[("plan_digest", digest), ("image", image), ("approved_by", approvers)])
        });
        async move {
            let query = query?;
            let fault = match self.send(session, &query).await {
                Ok(rows) => {
                    if let Some(unended) = parse_unended(&rows) {
                        let text = format!("{unended}, has no recorded end: what it has applied is in the ledger");
                        self.events.emit_note(text);
                    }
                    return None;
                }
                Err(fault) => fault,
            };
            if fault.code.ends_session() {
                self.state.replace(RecordState::Unanswered);
                return Some(fault);
            }
            self.state.replace(RecordState::Unavailable);
            self.events.emit(Event::Warning(unrecorded_fault(&fault)));
            None
        }
    }

    /// Begins the record before a step, if there is a table for it: a step may restore a dump, which creates it.
    pub(super) async fn begin_if_possible(&self, session: &Session, digest: Option<&str>, image: Option<&str>) {
        if self.runs_table(session).await.is_some() {
            // A step that comes to a lost session reports it.
            drop(self.begin(session, digest, image).await);
        }
    }

    /// Returns the statement that completes the row in the transaction of the last of these migrations, as that of a run
    /// that has succeeded.
    pub(super) fn success_sql(&self, planned: usize) -> Option<String> {
        match &mut *self.state.borrow_mut() {
            RecordState::Begun { written, .. } => {
                let end = RunEnd::success(planned);
                let sql = guarded_end_sql(&end, &self.run);
                *written = Some(end);
                Some(sql)
            }
            RecordState::NotBegun | RecordState::Unanswered | RecordState::Unavailable => None,
        }
    }

    /// Completes the row, unless it has this end already. `digest` is that of the plan; empty if there was none.
    pub(super) async fn end(&self, session: &Session, end: &RunEnd, digest: &str) {
        let is_unanswered = *self.state.borrow() == RecordState::Unanswered;
        let is_open = if is_unanswered {
            // The table was not judged, and may not be ours.
            self.runs_table(session).await.is_some_and(|table| table.is_trusted())
        } else {
            self.is_open(end, digest)
        };
        if !is_open {
            return;
        }
        let approvers = self.approvers.get().map(String::as_str);
        let query = end_query(end, &self.run, Some(digest).filter(|digest| !digest.is_empty()), approvers);
        // A session that is lost is the fault of the run already.
        if let Err(fault) = self.send(session, &query).await
            && !fault.code.ends_session()
        {
            let fault = unrecorded_fault(&fault).detail("`command: history` lists it as `end not recorded`");
            self.events.emit(Event::Warning(fault));
        }
    }

    /// Returns whether the row lacks something of this end.
    fn is_open(&self, end: &RunEnd, digest: &str) -> bool {
        match &*self.state.borrow() {
            RecordState::Begun { has_plan, names_approvers, written } => {
                let lacks_plan = !has_plan && !digest.is_empty();
                let lacks_approvers = self.approvers.get().is_some() && !names_approvers;
                written.as_ref() != Some(end) || lacks_plan || lacks_approvers
            }
            RecordState::NotBegun | RecordState::Unanswered | RecordState::Unavailable => false,
        }
    }

    /// Reads the table for the record; `None` if there is none.
    async fn runs_table(&self, session: &Session) -> Option<CatalogTable> {
        let rows = self.send(session, &runs_table_query()).await.ok()?;
        parse_runs_table(&rows)
    }

    async fn send(&self, session: &Session, query: &OwnQuery) -> Result<Rows, Fault> {
        answer_within(self.wait, query_rows(&session.client, query)).await
    }
}

fn unrecorded_fault(fault: &Fault) -> Fault {
    let unrecorded =
        Fault::new(Code::AuditUnwritten, format!("this run is not recorded in the database: {}", fault.cause));
    match fault.code {
        Code::PermissionDenied => unrecorded.fix(RIGHT_TO_RECORD),
        _ => unrecorded,
    }
}
