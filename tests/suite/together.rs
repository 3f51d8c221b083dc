//! The program that lists and migrates in one start, with a real Django: as a file, and inline in the command where a
//! file is impossible.

use crate::lab::{
    Lab,
    project::Project,
    server::Server,
    venv::{DJANGO_4_2, DJANGO_5_2},
};
use bastion_migrate::tool::{CommandLine, FileCommand, ListingRequest, OutputMark, PrintedSql, Recipe, Verb};

/// The mark in front of the SQL.
const MARK: &str = "0123456789abcdef";

/// A script that runs its arguments and confirms their prompt.
const CONFIRMING_SCRIPT: &str = r#"
coproc tool { "$@" 2>&1; }
while read -r line <&"${tool[0]}"; do
    echo "$line"
    case $line in *'go on?') echo yes >&"${tool[1]}" ;; esac
done 2>/dev/null
"#;

/// Quotes the arguments for a shell.
fn quoted(line: &CommandLine) -> String {
    line.to_argv().iter().map(|word| format!(" '{}'", word.replace('\'', r"'\''"))).collect()
}

#[test]
fn a_program_works_the_same_as_a_file_and_inline() {
    for python in [DJANGO_4_2, DJANGO_5_2] {
        let request = ListingRequest::for_scripts(OutputMark::new(MARK), Vec::new());
        let list_then_migrate = Recipe::by_name("django").unwrap().list_then_migrate(&request, Verb::Migrate).unwrap();
        for form in ["file", "inline"] {
            let lab = Lab::new();
            let server = Server::start().project(Project::Plain, &lab.database, python);
            let directory = server.path("handed over");
            let file_command = list_then_migrate.file_command(&directory.to_string_lossy()).unwrap();
            let FileCommand { command, text, .. } = file_command;
            let server = server.file("handed over/manage.py", text).file("answers", CONFIRMING_SCRIPT);
            let line = if form == "file" { command } else { list_then_migrate.inline_command() };
            let prelude = "set -euo pipefail\ncd ~/ProjectMeats/backend\nsource ../venv/bin/activate\n";
            let output = server.shell(&format!("{prelude}bash ~/answers{}", quoted(&line))).unwrap();
            let mut printed = PrintedSql::new(OutputMark::new(MARK));
            assert!(output.lines().filter(|line| printed.take_line(line)).count() > 0, "{output}");
            assert_eq!(printed.scripts().unwrap().len(), 5, "{output}");
            let parts = ["[ ]  carriers.0001_initial", "go on?", "Applying carriers.0001_initial"];
            let mut rest = output.lines();
            assert!(parts.iter().all(|part| rest.any(|line| line.contains(part))), "{python} {form}: {output}");
            assert_ne!(lab.database.sql("select count(*) from django_migrations"), "0");
        }
    }
}
