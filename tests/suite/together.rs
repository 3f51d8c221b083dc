//! What lists and migrates in one start, by a real Django: as a file, and where there can be none as a word of the command.

use crate::lab::{
    Lab,
    project::Project,
    server::Server,
    venv::{DJANGO_4_2, DJANGO_5_2},
};
use bastion_migrate::tool::{CommandLine, FileCommand, Recipe};

/// Says yes when it is asked.
const ANSWERS: &str = r#"
coproc tool { "$@" 2>&1; }
while read -r line <&"${tool[0]}"; do
    echo "$line"
    case $line in *'go on?') echo yes >&"${tool[1]}" ;; esac
done 2>/dev/null
"#;

/// As a shell reads it as these words again.
fn quoted(line: &CommandLine) -> String {
    line.to_argv().iter().map(|word| format!(" '{}'", word.replace('\'', r"'\''"))).collect()
}

#[test]
fn a_program_does_the_same_as_a_file_and_as_a_word_of_the_command() {
    for python in [DJANGO_4_2, DJANGO_5_2] {
        let together = Recipe::by_name("django").unwrap().list_then_migrate().unwrap();
        for way in ["file", "word"] {
            let lab = Lab::new();
            let server = Server::start().project(Project::Plain, &lab.database, python);
            let directory = server.path("handed over");
            let by_file = together.file_command(&directory.to_string_lossy()).unwrap();
            let FileCommand { command, text, .. } = by_file;
            let server = server.file("handed over/manage.py", text).file("answers", ANSWERS);
            let line = if way == "file" { command } else { together.inline_command() };
            let begin = "set -euo pipefail\ncd ~/ProjectMeats/backend\nsource ../venv/bin/activate\n";
            let said = server.shell(&format!("{begin}bash ~/answers{}", quoted(&line))).unwrap();
            let parts = ["[ ]  carriers.0001_initial", "go on?", "Applying carriers.0001_initial"];
            let mut rest = said.lines();
            assert!(parts.iter().all(|part| rest.any(|said| said.contains(part))), "{python} {way}: {said}");
            assert_ne!(lab.database.sql("select count(*) from django_migrations"), "0");
        }
    }
}
