//! Detection of an image's entrypoint that swallows a command. Most entrypoints prepare something and then run the
//! command that they are given; a program takes the command for its own arguments, and its error message misleads.

use crate::{
    fault::{Code, Fault},
    tool::CommandLine,
};

/// Interpreters: the first word after one is taken for a file.
const INTERPRETERS: [&str; 11] =
    ["python", "node", "ruby", "php", "perl", "java", "dotnet", "deno", "bun", "sh", "bash"];

/// Programs that read their arguments themselves.
const STANDALONE_PROGRAMS: [&str; 14] = [
    "rails",
    "alembic",
    "flyway",
    "prisma",
    "npm",
    "yarn",
    "pnpm",
    "gunicorn",
    "uvicorn",
    "celery",
    "puma",
    "liquibase",
    "dbmate",
    "goose",
];

/// Programs that are files for an interpreter.
const SCRIPT_FILES: [&str; 2] = ["manage.py", "artisan"];

/// Options after which an interpreter has its program and takes the rest for its arguments.
const PROGRAM_FOLLOWS: [&str; 4] = ["-m", "-c", "-jar", "-e"];

/// Explains the fault, if the command was taken for arguments of the entrypoint.
pub(crate) fn explain_swallowed_command(fault: Fault, entrypoint: &[String], line: &CommandLine) -> Fault {
    if !swallows_command(entrypoint, line) {
        return fault;
    }
    let cause = format!(
        "the image's entrypoint is a program, `{}`, which takes `{}` for its arguments: {}",
        entrypoint.join(" "),
        line.display_text().lines().next().unwrap_or_default(),
        fault.cause
    );
    let fix = "set `image-entrypoint: none` to run the tool's commands without it; or use a script as entrypoint \
        that ends with `exec \"$@\"`";
    Fault { cause, ..fault.code(Code::ToolMissing) }.fix(fix)
}

/// Returns whether the entrypoint is a program that does not run the command. A command that is not the name of a
/// program may be meant as its arguments.
fn swallows_command(entrypoint: &[String], line: &CommandLine) -> bool {
    let Some((first, rest)) = entrypoint.split_first() else { return false };
    let is_a_program = match rest.first() {
        _ if matches_any(first, &STANDALONE_PROGRAMS) || matches_any(first, &SCRIPT_FILES) => true,
        _ if !matches_any(first, &INTERPRETERS) => false,
        None => true,
        Some(word) => {
            matches_any(word, &STANDALONE_PROGRAMS)
                || matches_any(word, &SCRIPT_FILES)
                || PROGRAM_FOLLOWS.contains(&word.as_str())
        }
    };
    let is_called = match line {
        CommandLine::Shell(_) => true,
        CommandLine::Program(words) | CommandLine::Substitute { words, .. } => {
            words.first().is_some_and(|word| is_program_name(word))
        }
    };
    is_a_program && is_called
}

fn is_program_name(word: &str) -> bool {
    let runners = ["npx", "uv", "poetry", "bundle", "pipenv"];
    matches_any(word, &INTERPRETERS) || matches_any(word, &STANDALONE_PROGRAMS) || matches_any(word, &runners)
}

/// Returns whether the word is one of these names, ignoring its directory and its version.
fn matches_any(path: &str, names: &[&str]) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let unversioned = name.trim_end_matches(|character: char| character.is_ascii_digit() || character == '.');
    names.contains(&name) || names.contains(&unversioned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn an_entrypoint_that_is_a_program_is_recognised() {
        for (entrypoint, command) in [
            ("python manage.py", "python manage.py showmigrations --plan"),
            ("/usr/bin/python3.12 ./manage.py", "python manage.py migrate"),
            ("python", "python manage.py migrate"),
            ("node", "npx prisma migrate deploy"),
            ("flyway", "flyway info"),
            ("java -jar app.jar", "flyway migrate"),
            ("bin/rails", "bin/rails db:migrate"),
        ] {
            assert!(
                swallows_command(&words(entrypoint), &CommandLine::Program(words(command))),
                "{entrypoint}: {command}"
            );
        }
        assert!(swallows_command(&words("sh -c gunicorn"), &CommandLine::Shell("make migrate".to_owned())));
    }

    #[test]
    fn an_entrypoint_that_may_run_the_command_is_accepted() {
        for (entrypoint, command) in [
            ("", "python manage.py migrate"),
            ("/docker-entrypoint.sh", "python manage.py migrate"),
            ("tini --", "python manage.py migrate"),
            ("bundle exec", "bin/rails db:migrate"),
            ("python /entrypoint.py", "python manage.py migrate"),
            ("sh /entrypoint.sh", "python manage.py migrate"),
            ("python manage.py", "migrate --noinput"),
            ("python", "manage.py migrate"),
            ("flyway", "info"),
        ] {
            assert!(
                !swallows_command(&words(entrypoint), &CommandLine::Program(words(command))),
                "{entrypoint}: {command}"
            );
        }
    }

    #[test]
    fn the_fault_names_the_entrypoint_and_keeps_the_original_cause() {
        let fault = Fault::new(Code::ToolFailed, "Unknown command: 'python'")
            .fix("no app in INSTALLED_APPS")
            .detail("it ended with code 1");
        let line = CommandLine::Program(words("python manage.py migrate"));
        let explained = explain_swallowed_command(fault.clone(), &words("python manage.py"), &line);
        assert_eq!(explained.code, Code::ToolMissing);
        assert!(
            explained.cause.contains("`python manage.py`, which takes") && explained.cause.ends_with("'python'"),
            "{explained:?}"
        );
        assert!(
            explained.fix.contains("`image-entrypoint: none`") && explained.detail == fault.detail,
            "{explained:?}"
        );
        assert_eq!(explain_swallowed_command(fault.clone(), &words("tini --"), &line), fault);
    }
}
