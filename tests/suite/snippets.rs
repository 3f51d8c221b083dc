//! Every block in the README and in `docs`, read by the program that a reader gives it to: workflows and configuration by the
//! input parser, commands by the shell, SQL by a server. And every link, with its anchor.

mod markdown;
mod programs;
mod step;
mod yaml;

use crate::lab::{Lab, postgres::Database};
use markdown::{Block, Page, root};
use programs::{check_script, check_sql, check_sshd_config};
use std::{collections::BTreeMap, fs};

/// Reads a block by its language. A language that nothing here can read is a mistake.
fn mistakes(block: &Block, database: &Database) -> Vec<String> {
    let text = &block.text;
    match block.language.as_str() {
        "yaml" => yaml::mistakes(text),
        "sh" => check_script(text).into_iter().collect(),
        "sql" => check_sql(text, database).into_iter().collect(),
        "json" => serde_json::from_str::<serde_json::Value>(text)
            .err()
            .map(|error| format!("no JSON: {error}"))
            .into_iter()
            .collect(),
        "sshd_config" => check_sshd_config(text).into_iter().collect(),
        "rust" => (!is_in_the_suite(text))
            .then(|| "no test of the suite contains these lines".to_owned())
            .into_iter()
            .collect(),
        "mermaid" => {
            let diagrams = ["flowchart ", "sequenceDiagram", "gantt"];
            let is_known = diagrams.iter().any(|diagram| text.starts_with(diagram));
            (!is_known).then(|| "the first line names no diagram".to_owned()).into_iter().collect()
        }
        // Output to recognise, and single lines of files that have no grammar of their own.
        "text" => disguised(text).into_iter().collect(),
        other => vec![format!("nothing here can read the language `{other}`")],
    }
}

/// Returns what a block of plain text really is, if it has a language of its own.
fn disguised(text: &str) -> Option<String> {
    let first = text.lines().find(|line| !line.trim().is_empty())?;
    let commands = ["gh ", "ssh ", "ssh-keygen ", "sudo ", "export ", "psql ", "docker ", "cargo ", "make "];
    if commands.iter().any(|command| first.starts_with(command)) {
        return Some(format!("`{first}` is a command: its language is `sh`"));
    }
    let is_key = |line: &str| {
        line.split_once(':').is_some_and(|(key, value)| {
            key.trim_start_matches("- ").chars().all(|letter| letter.is_ascii_lowercase() || letter == '-')
                && (value.is_empty() || value.starts_with(' '))
        })
    };
    is_key(first).then(|| format!("`{first}` looks like YAML"))
}

/// Returns whether these lines stand in a test as they are, apart from their indentation.
fn is_in_the_suite(text: &str) -> bool {
    let trimmed = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let entries = fs::read_dir(root().join("tests/suite")).expect("there is a suite");
    let sources = entries.filter_map(|entry| fs::read_to_string(entry.expect("it can be read").path()).ok());
    let wanted = trimmed(text.trim());
    sources.map(|source| trimmed(&source)).any(|source| source.contains(&wanted))
}

#[test]
fn every_block_in_the_documents_can_be_read_by_what_it_is_for() {
    let lab = Lab::new();
    let (mut counts, mut wrong): (BTreeMap<String, usize>, Vec<String>) = (BTreeMap::new(), Vec::new());
    for page in Page::read_all() {
        for block in page.blocks() {
            wrong.extend(mistakes(&block, &lab.database).iter().map(|mistake| format!("{}: {mistake}", block.place)));
            *counts.entry(block.language).or_default() += 1;
        }
        wrong.extend(page.indented_blocks().iter().map(|line| format!("{line}: an indented block has no language")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(["yaml", "sh", "sql", "json"].iter().all(|language| counts.contains_key(*language)), "{counts:?}");
}

#[test]
fn every_link_in_the_documents_leads_to_a_heading_or_a_file() {
    let mut links = 0;
    let mut wrong = Vec::new();
    for page in Page::read_all() {
        for link in page.links().into_iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            links += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let folder = page.path.parent().expect("a page is in a folder");
            let target = if path.is_empty() { page.path.clone() } else { folder.join(path) };
            let exists = root().join(&target).exists();
            let has_anchor =
                || anchor.is_empty() || Page::read(target.clone()).anchors().iter().any(|found| found == anchor);
            if !exists || !has_anchor() {
                wrong.push(format!("{}: {link}", page.path.display()));
            }
        }
    }
    assert!(links > 100 && wrong.is_empty(), "{wrong:#?} of {links}");
}

/// Pages for people who work on the program.
const OURS: [&str; 4] = ["architecture.md", "conventions.md", "promises.md", "releasing.md"];

/// The reader of a long page sees at its top what is in it.
#[test]
fn every_page_for_users_has_a_list_of_its_sections() {
    let mut missing = Vec::new();
    for page in Page::read_all().into_iter().filter(|page| !OURS.iter().any(|ours| page.path.ends_with(ours))) {
        let sections: Vec<String> = page.sections().iter().map(|section| format!("(#{section})")).collect();
        let wanted = sections.iter().filter(|section| sections.len() > 3 && !page.text.contains(*section));
        missing.extend(wanted.map(|section| format!("{}: {section}", page.path.display())));
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Blocks with a mistake that a reader would meet, each with the words that name it.
#[test]
fn a_block_with_a_mistake_is_found() {
    let lab = Lab::new();
    let step = |lines: &str| {
        let lines = lines.replace('\n', "\n    ");
        format!("- uses: bastion-migrate/bastion-migrate@v0\n  with:\n    {lines}\n")
    };
    let ssh = "ssh-host: ${{ secrets.SSH_HOST }}\nssh-private-key: ${{ secrets.SSH_PRIVATE_KEY }}\n\
        ssh-known-hosts: ${{ vars.SSH_KNOWN_HOSTS }}\n";
    let whole = format!("{ssh}database-url: ${{{{ secrets.DATABASE_URL }}}}");
    let called = "jobs:\n  m:\n    uses: bastion-migrate/bastion-migrate/.github/workflows/migrate.yml@v0\n    with:\n      enviroment: x\n";
    let cases = [
        ("yaml", step(&format!("{whole}\nwait: 5s")), "there is no input `wait`"),
        ("yaml", step(&format!("{whole}\ntimeout: soon")), "timeout"),
        ("yaml", step(&format!("{whole}\nexecutor: sever")), "executor"),
        ("yaml", step(&format!("{whole}\ntool: django")), "tool"),
        ("yaml", step(ssh), "`database-url` has no value"),
        ("yaml", step(&format!("{ssh}executor: server\ntool: django\npass-env: SECRET_KEY")), "SECRET_KEY"),
        ("yaml", step(&format!("{ssh}executor: server\ntool: django\nbefore: '[{{ rum: x }}]'")), "rum"),
        ("yaml", step(&whole.replace("vars.", "secrets.")), "store it as a variable"),
        ("yaml", step(&whole.replace("secrets.DATABASE_URL", "vars.DATABASE_URL")), "store it as a secret"),
        ("yaml", "- run: echo ${{ github.actor }}\n".to_owned(), "contains an expression"),
        ("yaml", "- run: if true\n".to_owned(), "the shell can't parse it"),
        ("yaml", "- uses: [\n".to_owned(), "not YAML"),
        ("yaml", called.to_owned(), "no `enviroment`"),
        (
            "yaml",
            format!("jobs:\n  m:\n    steps:\n    {}", step(&whole).replace('\n', "\n    ")),
            "reads secrets of no environment",
        ),
        ("yaml", "permissions:\n  content: read\n".to_owned(), "no permission `content: read`"),
        ("yaml", "lock-wayt: 5m\n".to_owned(), "there is no input `lock-wayt`"),
        ("yaml", "defaults:\n  lock-wayt: 5m\n".to_owned(), "lock-wayt"),
        ("yaml", "environments:\n  dev: {}\n  prod:\n    timeout: soon\n".to_owned(), "soon"),
        ("yaml", "name: t\nabout: T\nverbs:\n  migrait: [x]\n".to_owned(), "migrait"),
        ("sh", "for file in *; do\n".to_owned(), "the shell can't parse it"),
        ("sql", "create tabel users ();\n".to_owned(), "PostgreSQL rejects it"),
        ("sshd_config", "PermitOpn db:5432\n".to_owned(), "sshd can't read it"),
        ("json", "{\"a\": 1,}\n".to_owned(), "no JSON"),
        ("rust", "assert!(false, \"nobody wrote this\");\n".to_owned(), "no test of the suite"),
        ("mermaid", "grph TD\n".to_owned(), "names no diagram"),
        ("text", "gh secret set X\n".to_owned(), "its language is `sh`"),
        ("text", "env: |\n  A=b\n".to_owned(), "looks like YAML"),
        ("", "x\n".to_owned(), "nothing here can read"),
        ("toml", "a = 1\n".to_owned(), "nothing here can read"),
    ];
    for (language, text, expected) in cases {
        let block = Block { place: String::new(), language: language.to_owned(), text };
        let found = mistakes(&block, &lab.database);
        assert!(
            found.iter().any(|mistake| mistake.contains(expected)),
            "{found:?} instead of {expected}: {}",
            block.text
        );
    }
    let good = Block { place: String::new(), language: "yaml".to_owned(), text: step(&whole) };
    assert_eq!(mistakes(&good, &lab.database), [""; 0]);
}

/// Returns the rows of the tables of inputs: name, type, default, example. Behind a name may be its variable.
fn input_rows(page: &str) -> Vec<Vec<String>> {
    let section = page.split("\n## ").find(|section| section.starts_with("Inputs")).expect("the page lists the inputs");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let text = |cell: &str| cell.split("<br>").next().unwrap_or_default().trim().trim_matches('`').to_owned();
    rows.map(|row| row.split('|').skip(1).map(text).collect()).collect()
}

/// Returns what is wrong with the example of an input, in the step in which it has the fewest mistakes.
fn example_mistakes(name: &str, example: &str) -> Vec<String> {
    yaml::mistakes(&format!("{name}: {}\n", serde_json::Value::from(example)))
}

#[test]
fn every_input_has_an_example_that_works_and_is_not_its_default() {
    let rows = input_rows(&Page::read("docs/inputs.md").text);
    assert!(rows.len() > 50, "{}", rows.len());
    for row in &rows {
        let (name, default, example) = (&row[0], &row[2], &row[3]);
        assert!(!example.is_empty() && example != default, "{name}");
        assert_eq!(example_mistakes(name, example), [""; 0], "{name}: {example}");
    }
    for (name, example) in
        [("ssh-port", "ssh"), ("timeout", "soon"), ("pull", "often"), ("health", "[]"), ("memory", "much")]
    {
        assert_ne!(example_mistakes(name, example), [""; 0], "{name}: {example}");
    }
}

/// A figure that was measured again is changed in both places.
#[test]
fn the_figures_of_the_readme_are_those_that_were_measured() {
    let (readme, performance) = (Page::read("README.md").text, Page::read("docs/performance.md").text);
    let section = readme.split("\n## ").find(|section| section.starts_with("Speed")).expect("there is such a section");
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let words: Vec<&str> = rows.flat_map(|row| row.split(" | ").skip(1)).flat_map(str::split_whitespace).collect();
    let is_number = |word: &&&str| word.starts_with(|first: char| first.is_ascii_digit());
    let numbers: Vec<&&str> = words.iter().filter(is_number).collect();
    let measured: Vec<&str> =
        performance.split(|letter: char| letter.is_whitespace() || "()|–".contains(letter)).collect();
    let invented: Vec<&&&str> = numbers.iter().filter(|number| !measured.contains(**number)).collect();
    assert!(numbers.len() > 8 && invented.is_empty(), "{invented:?} of {numbers:?}");
}

/// The pictures are rendered from golden files by `docs/images/render.sh`. A golden file's heading is the text for those who do
/// not see its picture.
#[test]
fn every_picture_is_small_and_shows_a_summary_as_it_is_today() {
    let folder = root().join("src/report/snapshots");
    let golden: Vec<String> = fs::read_dir(folder)
        .expect("there are golden files")
        .map(|entry| fs::read_to_string(entry.expect("it can be read").path()).expect("it is UTF-8"))
        .collect();
    let mut pictures = 0;
    for page in Page::read_all() {
        for alt in page.text.split("alt=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            pictures += 1;
            assert!(
                golden.iter().any(|text| text.contains(alt)),
                "{}: no summary has the heading `{alt}`",
                page.path.display()
            );
        }
    }
    let files = fs::read_dir(root().join("docs/images")).expect("there are pictures").flatten();
    let files: Vec<_> = files.filter(|file| file.path().extension().is_some_and(|found| found == "png")).collect();
    for file in &files {
        assert!(file.metadata().expect("it exists").len() < 200_000, "{}", file.path().display());
    }
    assert_eq!((pictures, files.len()), (2, 4), "each has a light and a dark form");
}
