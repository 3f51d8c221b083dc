//! Assertions about a finished step. Problems are collected, so that a failing test shows all of them at once.

use crate::runner::Annotation;
use std::{
    collections::BTreeMap, fmt, ops::Deref, os::unix::process::ExitStatusExt as _, path::Path, process::ExitStatus,
    thread, time::Duration,
};

/// Results and traces of a finished step.
#[derive(Debug)]
pub(crate) struct StepResult {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
    /// Time since the first signal, or since the start if there was none.
    pub(crate) elapsed: Duration,
    pub(crate) outputs: BTreeMap<String, String>,
    pub(crate) summary: String,
    pub(crate) annotations: Vec<Annotation>,
    /// Problems that hold whatever the test expects.
    pub(crate) wrong: Vec<String>,
}

/// Expectations of the test.
#[derive(Debug, Default)]
struct Expected {
    exit: i32,
    outcome: &'static str,
    fault: &'static str,
    applied: Vec<String>,
    pending: Vec<String>,
    errors: Vec<(Option<(String, String)>, String)>,
    warnings: Vec<String>,
    notices: Vec<String>,
}

/// A step that has ended. It must be judged: state the expected outcome and everything else to expect, and call
/// [`Self::done`].
#[must_use = "a finished step must be judged: end with `.done()`"]
#[derive(Debug)]
pub(crate) struct Finished {
    result: StepResult,
    expected: Expected,
    judged: bool,
}

impl From<StepResult> for Finished {
    fn from(result: StepResult) -> Self {
        Self { result, expected: Expected::default(), judged: false }
    }
}

impl Deref for Finished {
    type Target = StepResult;

    fn deref(&self) -> &StepResult {
        &self.result
    }
}

/// Adds a problem if the values differ.
pub(crate) fn expect<T: PartialEq + fmt::Debug + ?Sized>(wrong: &mut Vec<String>, what: &str, got: &T, expected: &T) {
    if got != expected {
        wrong.push(format!("{what}: expected {expected:?}, got {got:?}"));
    }
}

impl Finished {
    /// Expects outcome `success`.
    pub(crate) fn succeeds(self) -> Self {
        self.ends("success", 0)
    }

    /// Expects outcome `nothing-to-do`.
    pub(crate) fn nothing_to_do(self) -> Self {
        self.ends("nothing-to-do", 0)
    }

    /// Expects outcome `pending` (of `plan` and `status`).
    pub(crate) fn has_pending(self) -> Self {
        self.ends("pending", 0)
    }

    /// Expects a failure with this fault code and exit code, and one error annotation that names the code, unless
    /// [`Self::annotation`] states more.
    pub(crate) fn fails(mut self, code: &'static str, exit: i32) -> Self {
        self.expected.fault = code;
        self.ends(if exit == 130 { "cancelled" } else { "failed" }, exit)
    }

    /// Expects outcome `in-doubt` with this fault code: it is unknown whether a commit took place.
    pub(crate) fn in_doubt(mut self, code: &'static str) -> Self {
        self.expected.fault = code;
        self.ends("in-doubt", 8)
    }

    /// Expects a post stage that succeeded; it writes no outputs.
    pub(crate) fn cleans_up(self) -> Self {
        self.ends("", 0)
    }

    fn ends(mut self, outcome: &'static str, exit: i32) -> Self {
        (self.expected.outcome, self.expected.exit) = (outcome, exit);
        self
    }

    /// Expects these migrations to be applied, in this order; a file is named without its directory and extension,
    /// another tool's migration as the tool names it.
    pub(crate) fn applied<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.expected.applied = names.into_iter().map(str::to_owned).collect();
        self
    }

    /// Expects these migrations to be pending afterwards, in this order.
    pub(crate) fn pending<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.expected.pending = names.into_iter().map(str::to_owned).collect();
        self
    }

    /// Expects an error annotation on this line of this file.
    pub(crate) fn annotation(mut self, file: &str, line: usize, contains: &str) -> Self {
        self.expected.errors.push((Some((file.to_owned(), line.to_string())), contains.to_owned()));
        self
    }

    /// Expects an error annotation on this file as a whole.
    pub(crate) fn error_in(mut self, file: &str, contains: &str) -> Self {
        self.expected.errors.push((Some((file.to_owned(), String::new())), contains.to_owned()));
        self
    }

    /// Expects an error annotation without a file.
    pub(crate) fn error(mut self, contains: &str) -> Self {
        self.expected.errors.push((None, contains.to_owned()));
        self
    }

    /// Expects a warning annotation.
    pub(crate) fn warning(mut self, contains: &str) -> Self {
        self.expected.warnings.push(contains.to_owned());
        self
    }

    /// Expects a notice annotation.
    pub(crate) fn notice(mut self, contains: &str) -> Self {
        self.expected.notices.push(contains.to_owned());
        self
    }

    /// Expects an output to have this value.
    pub(crate) fn output(mut self, name: &str, value: &str) -> Self {
        let got = self.outputs.get(name).cloned().unwrap_or_default();
        expect(&mut self.result.wrong, name, got.as_str(), value);
        self
    }

    /// Expects the log to contain this text.
    pub(crate) fn logs(mut self, text: &str) -> Self {
        let found = self.rendered_log().contains(text);
        expect(&mut self.result.wrong, &format!("the log contains `{text}`"), &found, &true);
        self
    }

    /// Expects the log not to contain this text.
    pub(crate) fn never_logs(mut self, text: &str) -> Self {
        let found = self.rendered_log().contains(text);
        expect(&mut self.result.wrong, &format!("the log contains `{text}`"), &found, &false);
        self
    }

    /// Returns the log with its annotations as the runner renders them.
    pub(crate) fn rendered_log(&self) -> String {
        render_annotations(&self.result.log)
    }

    /// Expects the summary to contain this text.
    pub(crate) fn summary(mut self, text: &str) -> Self {
        expect(
            &mut self.result.wrong,
            &format!("the summary contains `{text}`"),
            &self.result.summary.contains(text),
            &true,
        );
        self
    }

    /// Expects no outputs, because they could not be written; call it after the other expectations about outputs.
    pub(crate) fn without_outputs(mut self) -> Self {
        let raw: Vec<_> = self.outputs.keys().cloned().collect();
        expect(&mut self.result.wrong, "outputs", &raw, &Vec::new());
        (self.expected.outcome, self.expected.fault) = ("", "");
        self.expected.applied.clear();
        self.expected.pending.clear();
        self
    }

    /// Expects the step to take no longer than this, counted from the first signal if there was one.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        if self.elapsed > limit {
            let took = self.elapsed;
            self.result.wrong.push(format!("it took {took:?}, more than {limit:?}"));
        }
        self
    }

    /// Takes the problems that hold whatever the outcome, for a caller that cannot predict the outcome.
    pub(crate) fn take_problems(&mut self) -> Vec<String> {
        self.judged = true;
        std::mem::take(&mut self.result.wrong)
    }

    /// Returns the migration names in the output `applied` or `pending`.
    pub(crate) fn listed(&self, output: &str) -> Vec<String> {
        migrations(self.outputs.get(output).map(String::as_str).unwrap_or_default())
    }

    /// Fails the test unless everything that was stated is there, and nothing else.
    pub(crate) fn done(mut self) {
        let mut wrong = self.take_problems();
        let expected = std::mem::take(&mut self.expected);
        let signal = self.status.signal().map(|signal| format!("signal {signal}"));
        let exit = self.status.code().map_or_else(|| signal.unwrap_or_default(), |code| code.to_string());
        expect(&mut wrong, "exit", exit.as_str(), expected.exit.to_string().as_str());
        let output = |name: &str| self.outputs.get(name).map(String::as_str).unwrap_or_default();
        expect(&mut wrong, "outcome", output("outcome"), expected.outcome);
        expect(&mut wrong, "fault-code", output("fault-code"), expected.fault);
        // A count is empty if it is unknown: without a plan, and for an empty list when the outcome is in doubt.
        let planned = |text: String| if output("plan-digest").is_empty() { String::new() } else { text };
        for (name, names) in [("applied", &expected.applied), ("pending", &expected.pending)] {
            let listed = self.listed(name);
            let remark = format!("`{name}` has the first {} of {} migrations", listed.len(), names.len());
            // A list that is too long for an output is cut, and the log says so.
            let shown = if self.result.log.contains(&remark) { listed.len() } else { names.len() };
            expect(&mut wrong, name, listed.as_slice(), names.get(..shown).unwrap_or_default());
            let count = format!("{name}-count");
            let number = if names.is_empty() && expected.outcome == "in-doubt" {
                String::new()
            } else {
                names.len().to_string()
            };
            expect(&mut wrong, &count, output(&count), planned(number).as_str());
        }
        self.judge_annotations(&mut wrong, &expected);
        assert!(wrong.is_empty(), "{}\n\n{}", wrong.join("\n"), self.evidence());
    }

    fn judge_annotations(&self, wrong: &mut Vec<String>, expected: &Expected) {
        let location = |annotation: &Annotation| {
            let property = |name| annotation.properties.get(name).cloned();
            Some((property("file")?, property("line").unwrap_or_default()))
        };
        let mut errors = expected.errors.clone();
        // The first run without a pin ends with a next step for its reader.
        let stops_for_pin = |annotation: &Annotation| {
            annotation.level == "notice" && annotation.message.starts_with("host-key-unpinned ")
        };
        let awaits_pin = expected.fault == "host-key-unpinned" && self.annotations.iter().any(stops_for_pin);
        let mut notices = expected.notices.clone();
        if awaits_pin && notices.is_empty() {
            notices.push(expected.fault.to_owned());
        } else if !awaits_pin && errors.is_empty() && !expected.fault.is_empty() {
            let only = self.annotations.iter().find(|annotation| annotation.level == "error");
            errors.push((only.and_then(location), expected.fault.to_owned()));
        }
        let anywhere = |texts: &[String]| texts.iter().map(|text| (None, text.clone())).collect::<Vec<_>>();
        let warnings = anywhere(&expected.warnings);
        let notices = anywhere(&notices);
        for (level, stated) in [("error", errors), ("warning", warnings), ("notice", notices)] {
            let mut unstated: Vec<_> = self.annotations.iter().filter(|annotation| annotation.level == level).collect();
            for (at, text) in stated {
                let title = |annotation: &Annotation| annotation.properties.get("title").cloned().unwrap_or_default();
                let fits = |annotation: &&Annotation| {
                    (level != "error" || location(annotation) == at)
                        && (annotation.message.contains(&text) || title(annotation).contains(&text))
                };
                match unstated.iter().position(fits) {
                    Some(index) => drop(unstated.remove(index)),
                    None => wrong.push(format!("no {level} annotation at {at:?} with `{text}`")),
                }
            }
            // The lint has an opinion on most SQL; its own suite states which.
            unstated.retain(|annotation| level != "warning" || !annotation.message.starts_with("lint in plan"));
            wrong.extend(unstated.iter().map(|annotation| format!("an unexpected annotation: {annotation:?}")));
        }
    }

    fn evidence(&self) -> String {
        let StepResult { log, outputs, summary, annotations, .. } = &self.result;
        format!("log:\n{log}\noutputs: {outputs:#?}\nannotations: {annotations:#?}\nsummary:\n{summary}")
    }
}

impl Drop for Finished {
    fn drop(&mut self) {
        assert!(self.judged || thread::panicking(), "a step was never judged: end with `.done()`");
    }
}

fn render_annotations(log: &str) -> String {
    let lines = log.split_inclusive('\n').map(|line| {
        let is_annotation = ["::error ", "::warning ", "::notice "].iter().any(|command| line.starts_with(command));
        let message = line.get(2..).filter(|_| is_annotation).and_then(|rest| rest.split_once("::"));
        match message {
            Some((_, message)) => message.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%"),
            None => line.to_owned(),
        }
    });
    lines.collect()
}

/// Returns the names in the output `applied` or `pending`: empty, or a JSON list of objects with a `file`, or with a
/// `name` if they are another tool's. A file of a tenant is behind the tenant's schema.
fn migrations(list: &str) -> Vec<String> {
    if list.is_empty() {
        return Vec::new();
    }
    let parsed: Result<Vec<serde_json::Value>, _> = serde_json::from_str(list);
    let name = |entry: &serde_json::Value| {
        let Some(file) = entry["file"].as_str() else {
            return entry["name"].as_str().unwrap_or("an entry without a file and a name").to_owned();
        };
        let path = Path::new(file);
        // Where each migration is a directory, its files have fixed names.
        let named = match path.file_name().and_then(|name| name.to_str()) {
            Some("up.sql" | "migration.sql") => path.parent().and_then(Path::file_name),
            _ => path.file_stem(),
        };
        let named = named.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        entry["schema"].as_str().map_or_else(|| named.clone(), |schema| format!("{schema}: {named}"))
    };
    parsed
        .map_or_else(|error| vec![format!("not a JSON list ({error}): {list}")], |list| list.iter().map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::Log;
    use std::panic;

    fn finished(exit: i32, log: &str, outputs: &[(&str, &str)]) -> Finished {
        let usual = [("outcome", "success"), ("applied", "[]"), ("pending", "[]"), ("applied-count", "0")];
        let all = usual.iter().chain(&[("pending-count", "0"), ("plan-digest", "sha256:1")]).chain(outputs);
        Finished::from(StepResult {
            status: ExitStatus::from_raw(exit << 8),
            log: log.to_owned(),
            elapsed: Duration::ZERO,
            outputs: all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>(),
            summary: String::new(),
            annotations: Log::read(log).annotations,
            wrong: Vec::new(),
        })
    }

    fn fails_the_test(judged: impl FnOnce()) -> bool {
        panic::catch_unwind(panic::AssertUnwindSafe(judged)).is_err()
    }

    #[test]
    fn everything_that_is_stated_is_required() {
        let one = [("applied", r#"[{"file":"db/0001_a.sql"}]"#), ("applied-count", "1")];
        finished(0, "", &one).succeeds().applied(["0001_a"]).output("applied-count", "1").done();
        assert!(fails_the_test(|| finished(0, "", &[]).succeeds().applied(["0001_a"]).done()));
        assert!(fails_the_test(|| finished(0, "", &[]).succeeds().warning("x").done()));
        assert!(fails_the_test(|| finished(1, "", &[]).succeeds().done()));
    }

    #[test]
    fn another_tools_migration_is_named_as_the_tool_names_it() {
        let one = [("applied", r#"[{"name":"carriers.0001_initial"}]"#), ("applied-count", "1")];
        finished(0, "", &one).succeeds().applied(["carriers.0001_initial"]).done();
        assert_eq!(migrations("[{}]"), ["an entry without a file and a name"]);
    }

    #[test]
    fn a_post_stage_writes_no_outputs() {
        let nothing = ["outcome", "applied", "pending", "applied-count", "pending-count", "plan-digest"];
        let nothing = nothing.map(|name| (name, ""));
        finished(0, "", &nothing).cleans_up().done();
        assert!(fails_the_test(|| finished(0, "", &[]).cleans_up().done()));
    }

    #[test]
    fn nothing_that_is_not_stated_is_allowed() {
        let one = [("pending", r#"[{"file":"db/0001_a.sql"}]"#), ("pending-count", "1")];
        finished(0, "", &[]).succeeds().done();
        assert!(fails_the_test(|| finished(0, "", &one).succeeds().done()));
        assert!(fails_the_test(|| finished(0, "::warning::careful", &[]).succeeds().done()));
        assert!(fails_the_test(|| finished(0, "", &[("fault-code", "bug")]).succeeds().done()));
    }

    #[test]
    fn a_failure_has_an_annotation_that_names_its_code() {
        let failed = [("outcome", "failed"), ("fault-code", "statement-failed")];
        let log = "::error file=a.sql,line=3,title=migrate [statement-failed]::no such table";
        finished(6, log, &failed).fails("statement-failed", 6).done();
        finished(6, log, &failed).fails("statement-failed", 6).annotation("a.sql", 3, "no such table").done();
        assert!(fails_the_test(|| finished(6, "", &failed).fails("statement-failed", 6).done()));
        assert!(fails_the_test(|| finished(6, log, &failed)
            .fails("statement-failed", 6)
            .annotation("a.sql", 4, "no")
            .done()));
    }

    #[test]
    fn without_a_plan_lists_and_counts_are_empty() {
        let none =
            [("plan-digest", ""), ("applied", ""), ("pending", ""), ("applied-count", ""), ("pending-count", "")];
        finished(0, "", &none).succeeds().done();
        assert!(fails_the_test(|| finished(0, "", &none[..3]).succeeds().done()));
        assert!(fails_the_test(|| finished(0, "", &none[1..]).succeeds().done()));
    }

    #[test]
    fn levels_of_annotations_are_distinguished() {
        let log = "::notice::for your information\n::warning::careful\n::error title=[commit-in-doubt]::who knows";
        let outputs =
            [("outcome", "in-doubt"), ("fault-code", "commit-in-doubt"), ("applied-count", ""), ("pending-count", "")];
        let judged = || finished(8, log, &outputs).in_doubt("commit-in-doubt").error("who knows");
        judged().warning("careful").notice("information").done();
        assert!(fails_the_test(|| judged().warning("information").notice("careful").done()));
        assert!(fails_the_test(|| judged().warning("careful").done()));
    }

    #[test]
    fn a_step_that_is_not_judged_fails_the_test() {
        assert!(fails_the_test(|| drop(finished(0, "", &[]).succeeds())));
    }
}
