//! Watches over a tool that works in the database by its own connections: who blocks it, whom it blocks, how far an index is,
//! and that it still lives.
//!
//! A connection of its own, each question a transaction of its own: an open snapshot would hold up CREATE INDEX CONCURRENTLY
//! (measured: it waits for old snapshots). A question that meets a lock itself gives up and is asked again.

use super::{Question, Session, Startup, Target, gist::gist, literal, ready::answered, rows};
use crate::{
    fault::{Code, Fault},
    reach::Reach,
    run::event::{Event, Events},
};
use std::{convert::Infallible, time::Duration};
use tokio::time::{Instant, sleep};

/// The interval between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Characters of a query that are read, to have its first words: a comment may stand before them.
const LONGEST: usize = 2_000;

/// After so long without news a sign of life is told.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The connection that watches.
#[derive(Debug)]
pub struct Guard {
    session: Session,
    wait: Duration,
}

/// Whom to watch over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ward {
    /// What its sessions are called, where they could be told.
    pub application_name: String,
    /// Its backends, where they are known.
    pub pids: Vec<i32>,
}

impl Guard {
    /// Connects within `wait`, and from then on waits so long for an answer.
    ///
    /// # Errors
    /// Why there is no further connection.
    pub async fn connect(
        reach: &Reach,
        target: &Target,
        application_name: &str,
        wait: Duration,
        events: &Events,
    ) -> Result<Self, Fault> {
        let ours = "-c lock_timeout=200 -c statement_timeout=2000 -c default_transaction_read_only=on \
                -c client_connection_check_interval=1000 -c standard_conforming_strings=on";
        let startup = Startup::new(application_name.to_owned(), ours, None);
        let session = answered(wait, Session::connect(reach, target, &startup, events)).await?;
        Ok(Self { session, wait })
    }

    /// Looks once a second and tells what is new, for as long as it is polled. `ward` is asked each time.
    pub async fn watch(&self, ward: impl Fn() -> Ward, events: &Events) -> Infallible {
        let mut told = Told { last: Vec::new(), at: Instant::now() };
        loop {
            let question = Question::reading(question(&ward()));
            match answered(self.wait, rows(&self.session.client, &question)).await {
                Ok(answer) => told.tell(&answer, events),
                Err(silent) if silent.code == Code::DatabaseTimeout => {
                    events.tell(Event::Warning(silent.detail("so nobody watches any more who blocks whom")));
                    return std::future::pending().await;
                }
                // A look that fails says nothing; the work itself will say what is wrong.
                Err(_) => {}
            }
            sleep(LOOK).await;
        }
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.session.close().await;
    }
}

/// What was told, so that it is not told each second.
struct Told {
    last: Vec<String>,
    at: Instant,
}

impl Told {
    fn tell(&mut self, answer: &[Vec<Option<String>>], events: &Events) {
        let seen: Vec<Seen> = answer.iter().filter_map(|row| read(row)).collect();
        for one in &seen {
            if one.is_news() && !self.last.contains(&one.key) {
                self.at = Instant::now();
                events.tell(one.event.clone());
            }
        }
        if self.at.elapsed() >= HEARTBEAT
            && let Some(life) = seen.iter().find(|one| !one.is_news())
        {
            self.at = Instant::now();
            events.tell(life.event.clone());
        }
        self.last = seen.into_iter().map(|one| one.key).collect();
    }
}

/// One thing that a look has shown.
struct Seen {
    /// What stays the same while nothing new happens.
    key: String,
    event: Event,
}

impl Seen {
    fn is_news(&self) -> bool {
        !self.key.is_empty()
    }
}

fn read(row: &[Option<String>]) -> Option<Seen> {
    let field = |index: usize| row.get(index).and_then(Option::as_deref).unwrap_or_default();
    let blocked = |text: String| Event::Blocked { text };
    Some(match field(0) {
        "blocked" => {
            let who = session(field(4), field(5), field(6), field(7), field(8));
            let text = format!("pid {} has waited {} for {}, which {who} holds", field(1), seconds(field(3)), field(2));
            Seen { key: format!("blocked {} {} {}", field(1), field(2), field(4)), event: blocked(text) }
        }
        "blocking" => {
            let who = session(field(2), field(3), field(4), "active", field(5));
            Seen {
                key: format!("blocking {} {}", field(1), field(2)),
                event: blocked(format!("pid {} is in the way of {who}", field(1))),
            }
        }
        "index" => {
            let text = format!("{} {}: {} ({}%)", field(1), field(2), field(3), field(4));
            Seen { key: text.clone(), event: Event::Note(text) }
        }
        "work" => {
            let (pid, state, since, query) = (field(1), field(2), seconds(field(3)), gist(field(4)));
            let text = format!("still at work: pid {pid} is {state} for {since} ({query})");
            Seen { key: String::new(), event: Event::Note(text) }
        }
        _ => return None,
    })
}

fn session(pid: &str, name: &str, role: &str, state: &str, query: &str) -> String {
    if pid == "0" {
        return "a prepared transaction".to_owned();
    }
    let called = if name.is_empty() { String::new() } else { format!(" `{name}`") };
    // Of another role's session the server tells no more than these to whom may not see all.
    let doing = match (state, query) {
        ("", _) | (_, "") => String::new(),
        (state, query) => format!(", {state}: {}", gist(query)),
    };
    format!("pid {pid}{called} (role `{role}`{doing})")
}

fn seconds(text: &str) -> String {
    format!("{} s", text.split('.').next().unwrap_or_default())
}

/// Who waits for whom, in both directions; indexes being built; what each session does.
fn question(ward: &Ward) -> String {
    let pids: Vec<String> = ward.pids.iter().map(ToString::to_string).collect();
    let name = literal(&ward.application_name);
    let ours = format!(
        "SELECT s.pid FROM pg_catalog.pg_stat_activity s WHERE s.pid = ANY ('{{{}}}'::int[]) \
         OR (s.datname = pg_catalog.current_database() AND s.application_name = {name})",
        pids.join(",")
    );
    let query = |alias: &str| format!("pg_catalog.left({alias}.query, {LONGEST})");
    format!(
        "SELECT 'blocked', w.pid, coalesce((SELECT pg_catalog.string_agg(DISTINCT l.mode || ' on ' \
            || coalesce(l.relation::pg_catalog.regclass::text, l.locktype), ', ') \
            FROM pg_catalog.pg_locks l WHERE l.pid = w.pid AND NOT l.granted), 'a lock'), \
            EXTRACT(epoch FROM pg_catalog.clock_timestamp() - w.query_start), \
            b.pid, a.application_name, a.usename, a.state, {blocker} \
         FROM pg_catalog.pg_stat_activity w CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) b(pid) \
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid WHERE w.pid IN ({ours}); \
         SELECT 'blocking', b.pid, w.pid, w.application_name, w.usename, {waiter} FROM pg_catalog.pg_stat_activity w \
         CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) b(pid) \
         WHERE w.wait_event_type = 'Lock' AND b.pid IN ({ours}) AND w.pid NOT IN ({ours}); \
         SELECT 'index', p.command, coalesce(p.index_relid, p.relid)::pg_catalog.regclass::text, p.phase, \
            CASE WHEN p.blocks_total > 0 THEN 100 * p.blocks_done / p.blocks_total \
                 WHEN p.tuples_total > 0 THEN 100 * p.tuples_done / p.tuples_total ELSE 0 END / 10 * 10 \
         FROM pg_catalog.pg_stat_progress_create_index p WHERE p.pid IN ({ours}); \
         SELECT 'work', s.pid, s.state, EXTRACT(epoch FROM pg_catalog.clock_timestamp() - s.state_change), {work} \
         FROM pg_catalog.pg_stat_activity s WHERE s.pid IN ({ours})",
        blocker = query("a"),
        waiter = query("w"),
        work = query("s"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fields: &[&str]) -> Vec<Option<String>> {
        fields.iter().map(|field| Some((*field).to_owned())).collect()
    }

    #[test]
    fn names_who_is_in_the_way_and_tells_it_once() {
        let (events, mut receiver) = Events::channel();
        let mut told = Told { last: Vec::new(), at: Instant::now() };
        let look = |waited: &str| {
            vec![row(&[
                "blocked",
                "7",
                "AccessExclusiveLock on big",
                waited,
                "9",
                "psql",
                "app",
                "idle in transaction",
                "UPDATE big SET name = 'Ada'",
            ])]
        };
        told.tell(&look("1.4"), &events);
        told.tell(&look("2.4"), &events);
        let text = "pid 7 has waited 1 s for AccessExclusiveLock on big, which pid 9 `psql` (role `app`, idle in transaction: UPDATE big) holds";
        assert_eq!(receiver.try_recv().ok(), Some(Event::Blocked { text: text.to_owned() }));
        assert!(receiver.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn gives_a_sign_of_life_when_nothing_else_is_new() {
        let (events, mut receiver) = Events::channel();
        let mut told = Told { last: Vec::new(), at: Instant::now() };
        let look = [row(&["work", "7", "active", "16.1", "ALTER TABLE big ADD note text DEFAULT 'Ada'"])];
        told.tell(&look, &events);
        assert!(receiver.try_recv().is_err());
        tokio::time::advance(HEARTBEAT).await;
        told.tell(&look, &events);
        let text = "still at work: pid 7 is active for 16 s (ALTER TABLE big)";
        assert_eq!(receiver.try_recv().ok(), Some(Event::Note(text.to_owned())));
    }
}
