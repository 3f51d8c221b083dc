//! A step's log as the runner interprets it. Source: `ActionCommandManager.cs`, `OutputManager.cs`.

use super::{
    annotation::Annotation,
    command::{Command, CommandNames},
    mask::Masker,
    paths::Paths,
};
use std::collections::BTreeMap;

/// Number of annotations of a level per step; further ones are only in the log.
const ANNOTATIONS_LIMIT: usize = 10;

/// An interpreted log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    pub(crate) annotations: Vec<Annotation>,
    /// Values that the step masks.
    pub(crate) masks: Vec<String>,
    /// The lines as they were written, without the commands that add masks.
    pub(crate) without_masks: String,
    /// The log as the job's page shows it.
    pub(crate) shown: String,
    /// Errors for which the runner fails the step whatever the exit code is.
    pub(crate) errors: Vec<String>,
    /// Uses of commands that the runner accepts but a good step avoids.
    pub(crate) bad_manners: Vec<String>,
    /// Outputs set by command.
    pub(crate) outputs: BTreeMap<String, String>,
    /// State set by command.
    pub(crate) state: BTreeMap<String, String>,
}

impl Log {
    /// Reads the log of a step that does not run in a container.
    pub(crate) fn read(text: &str) -> Self {
        Self::of(text, &Paths::default(), &mut Masker::default(), Debug::Off)
    }

    /// Reads a log. CR ends a line as LF does (.NET's `ReadLine`). The masker keeps the masks.
    pub(crate) fn of(text: &str, paths: &Paths, masker: &mut Masker, debug: Debug) -> Self {
        let (echo, known) = (Echo(debug == Debug::On), CommandNames::default());
        let mut reading = Reading { log: Self::default(), paths, masker, debug, echo, known, group: false };
        lines(text).for_each(|line| reading.line(line));
        reading.end()
    }
}

/// State of `ACTIONS_STEP_DEBUG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Debug {
    On,
    Off,
}

/// Splits text into lines as .NET does; text after the last line break is a line only if it is not empty.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (line, ending) = rest.split_at(rest.find(['\r', '\n']).unwrap_or(rest.len()));
        let is_line = !rest.is_empty();
        rest = ["\r\n", "\r", "\n"].iter().find_map(|end| ending.strip_prefix(end)).unwrap_or_default();
        is_line.then_some(line)
    })
}

#[derive(Debug)]
struct Echo(bool);

struct Reading<'a> {
    log: Log,
    paths: &'a Paths,
    masker: &'a mut Masker,
    debug: Debug,
    echo: Echo,
    known: CommandNames,
    group: bool,
}

impl Reading<'_> {
    fn line(&mut self, line: &str) {
        let command = self.known.command(line);
        if command.as_ref().is_none_or(|command| command.name != "add-mask") || self.known.token.is_some() {
            self.log.without_masks.push_str(line);
            self.log.without_masks.push('\n');
        }
        match (command, self.known.token.clone()) {
            (Some(command), Some(token)) if command.name.eq_ignore_ascii_case(&token) => {
                self.known.token = None;
                self.show(line);
            }
            (None, _) | (Some(_), Some(_)) => self.show(line),
            (Some(command), None) => self.execute(command, line),
        }
    }

    fn execute(&mut self, command: Command, line: &str) {
        let silent = ["add-mask", "error", "warning", "notice", "debug"].contains(&command.name.as_str());
        if self.echo.0 && !silent {
            self.show(line);
        }
        match command.name.as_str() {
            "add-mask" => self.mask(&command.data),
            "stop-commands" => self.stop(command.data, line),
            "error" | "warning" | "notice" => self.annotate(command),
            "group" => self.open_group(&command.data),
            "endgroup" => self.close_group(),
            "debug" if self.debug == Debug::On => {
                lines(&command.data).for_each(|line| self.show(&format!("##[debug]{line}")));
            }
            "debug" => {}
            "echo" => match command.data.trim().to_lowercase().as_str() {
                "on" => self.echo = Echo(true),
                "off" => self.echo = Echo(false),
                _ => self.log.errors.push(line.to_owned()),
            },
            "set-output" | "save-state" => self.set(command, line),
            "add-matcher" | "remove-matcher" => self.log.bad_manners.push(line.to_owned()),
            _ => self.log.errors.push(format!("the command `{}` is disabled", command.name)),
        }
    }

    fn show(&mut self, line: &str) {
        let masked = self.masker.mask(line);
        self.log.shown.push_str(&masked);
        self.log.shown.push('\n');
    }

    fn mask(&mut self, data: &str) {
        if data.trim().is_empty() {
            self.log.bad_manners.push("an empty mask".to_owned());
            return;
        }
        let lines = data.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty() && *line != data);
        for value in [data].into_iter().chain(lines) {
            self.masker.add(value);
            self.log.masks.push(value.to_owned());
        }
    }

    fn stop(&mut self, token: String, line: &str) {
        if !self.known.may_stop_with(&token) {
            self.log.errors.push(line.to_owned());
            return;
        }
        if token.len() > 6 {
            self.masker.add(&token);
        }
        self.show(line);
        self.known.token = Some(token);
    }

    /// Adds an annotation. A message of white space only is no annotation, but counts as one.
    fn annotate(&mut self, command: Command) {
        let (level, data) = (command.name.clone(), command.data.clone());
        lines(&data).for_each(|line| self.show(&format!("##[{level}]{line}")));
        let same = self.log.annotations.iter().filter(|annotation| annotation.level == level).count();
        if same < ANNOTATIONS_LIMIT {
            self.log.annotations.push(Annotation::of(command, self.paths, self.masker));
        } else {
            self.log.bad_manners.push(format!("more than {ANNOTATIONS_LIMIT} annotations of the level {level}"));
        }
        if data.trim().is_empty() {
            self.log.bad_manners.push(format!("an empty {level}"));
        }
    }

    /// Opens a group. Groups don't nest: a second one takes the lines that belong to the first.
    fn open_group(&mut self, title: &str) {
        if self.group {
            self.log.bad_manners.push(format!("the group `{title}` is opened in another one"));
        }
        self.group = true;
        self.show(&format!("##[group]{title}"));
    }

    fn close_group(&mut self) {
        if !self.group {
            self.log.bad_manners.push("a group is closed that is not open".to_owned());
        }
        self.group = false;
        self.show("##[endgroup]");
    }

    /// Sets an output or a state value; both commands still work, with a deprecation warning.
    fn set(&mut self, command: Command, line: &str) {
        self.log.bad_manners.push(line.to_owned());
        let values = if command.name == "set-output" { &mut self.log.outputs } else { &mut self.log.state };
        match command.properties.get("name").filter(|name| !name.is_empty()) {
            Some(name) => drop(values.insert(name.clone(), command.data)),
            None => self.log.errors.push(line.to_owned()),
        }
    }

    fn end(mut self) -> Log {
        if let Some(token) = self.known.token {
            self.log.bad_manners.push(format!("commands were stopped with `{token}` and never resumed"));
        }
        if self.group {
            self.log.bad_manners.push("a group was never closed".to_owned());
        }
        self.log
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn reads_annotations() {
        let log =
            Log::read("  ::error file=a.sql,line=2,title=x%3A%3Ab::m%0An %2525\n>>> ::error::no\n>>> ##[warning]yes");
        assert_eq!(log.annotations.len(), 2);
        assert_eq!(log.annotations[0].message, "m\nn %25");
        assert_eq!(log.annotations[0].properties["title"], "x::b");
        assert_eq!(log.annotations[0].properties["line"], "2");
        assert_eq!((log.annotations[1].level.as_str(), log.annotations[1].message.as_str()), ("warning", "yes"));
        assert_eq!(log.shown, "##[error]m\n##[error]n %25\n>>> ::error::no\n##[warning]yes\n");
    }

    #[test]
    fn the_file_of_an_annotation_is_found_on_the_host() {
        let paths = Paths::of(Path::new("/w"), "r", super::super::paths::Temp::Mounted);
        let log = Log::of("::error file=/github/workspace/a.sql::m", &paths, &mut Masker::default(), Debug::Off);
        assert_eq!(log.annotations[0].properties["file"], "a.sql");
    }

    #[test]
    fn cr_lf_and_both_end_a_line() {
        assert_eq!(lines("a\rb\nc\r\nd\n\re").collect::<Vec<_>>(), ["a", "b", "c", "d", "", "e"]);
        assert_eq!(lines("a\n").count(), 1);
        assert_eq!(Log::read("50 %\r::error::hidden").annotations.len(), 1);
    }

    #[test]
    fn stopped_commands_are_text() {
        let log =
            Log::read("::stop-commands::tok123\n::error::no\n##[error]no\n::add-mask::x\n::TOK123::\n::error::yes x");
        assert_eq!(log.annotations.len(), 1);
        assert_eq!(log.annotations[0].message, "yes x");
        assert_eq!((log.masks, log.errors, log.bad_manners), (vec![], vec![], vec![]));
        assert_eq!(Log::read("::stop-commands::tok123\n::error::no\n##[tok123]\n::error::yes").annotations.len(), 1);
        assert_eq!(Log::read("::stop-commands::tok123\n").bad_manners.len(), 1);
    }

    #[test]
    fn an_invalid_token_fails_the_step() {
        for data in ["", "error", "pause-logging"] {
            assert_eq!(Log::read(&format!("::stop-commands::{data}")).errors.len(), 1, "{data}");
        }
    }

    #[test]
    fn a_token_of_more_than_six_letters_is_masked() {
        assert_eq!(
            Log::read("::stop-commands::seven77\nx seven77\n::seven77::").shown,
            "::stop-commands::***\nx ***\n::***::\n"
        );
        assert_eq!(Log::read("::stop-commands::short6\n::short6::").shown, "::stop-commands::short6\n::short6::\n");
    }

    #[test]
    fn a_mask_of_several_lines_hides_each() {
        let log = Log::read("two\n::add-mask::one%0Atwo\nafter two");
        assert_eq!(log.masks, ["one\ntwo", "one", "two"]);
        assert_eq!(log.without_masks, "two\nafter two\n");
        assert_eq!(log.shown, "two\nafter ***\n", "earlier lines are not masked");
        assert_eq!(Log::read("::add-mask:: ").bad_manners, ["an empty mask"]);
    }

    #[test]
    fn outdated_commands_work_and_dangerous_ones_fail_the_step() {
        let log = Log::read("::set-output name=a::1\n::save-state name=b::2");
        assert_eq!((log.outputs["a"].as_str(), log.state["b"].as_str()), ("1", "2"));
        assert_eq!((log.errors.len(), log.bad_manners.len()), (0, 2));
        for line in ["::set-env name=a::b", "::add-path::/x", "::echo::maybe", "::set-output::x"] {
            assert_eq!(Log::read(line).errors.len(), 1, "{line}");
        }
    }

    #[test]
    fn the_eleventh_annotation_of_a_level_is_in_the_log_alone() {
        let log = Log::read(&"::error::e\n::notice::n\n".repeat(11));
        assert_eq!(log.annotations.len(), 20);
        assert_eq!(log.shown.lines().count(), 22);
    }

    #[test]
    fn debug_lines_and_echoes_are_shown_only_if_enabled() {
        let text = "::debug::a%0Ab\n::group::g\n::endgroup::";
        assert_eq!(Log::read(text).shown, "##[group]g\n##[endgroup]\n");
        let debugged = Log::of(text, &Paths::default(), &mut Masker::default(), Debug::On);
        assert_eq!(debugged.shown, "##[debug]a\n##[debug]b\n::group::g\n##[group]g\n::endgroup::\n##[endgroup]\n");
        assert_eq!(Log::read("::echo::ON\n::group::g\n::echo::off\n::endgroup::").shown.lines().count(), 4);
    }

    #[test]
    fn groups_do_not_nest() {
        assert_eq!(Log::read("::group::a\n::group::b\n::endgroup::\n::endgroup::").bad_manners.len(), 2);
        assert_eq!(Log::read("::group::a").bad_manners, ["a group was never closed"]);
    }
}
