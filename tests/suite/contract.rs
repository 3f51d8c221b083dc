//! Agreement of facts that are written down twice: the package and its image, the documents and the tree, the
//! workflows and `action.yml`, the modules and the architecture. Needs no server.

use serde_yaml::Value;
use std::{
    cell::Cell,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Maximum of production lines per file: a longer one contains two concepts.
const LONGEST: usize = 300;

/// Visible names allowed at the top of the repository; hidden files are not checked.
const TOP: [&str; 15] = [
    "Cargo.toml",
    "Cargo.lock",
    "action.yml",
    "Dockerfile",
    "src",
    "examples",
    "tests",
    "docs",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "Makefile",
    "deny.toml",
    "target",
    "dist",
];

/// Modules that each top-level module may use besides itself; a path narrows it to one file.
const MODULES: [(&str, &[&str]); 42] = [
    ("fault", &[]),
    ("panic", &[]),
    ("random", &[]),
    ("secret", &[]),
    ("https", &["secret"]),
    ("github", &["https", "fault", "secret", "random"]),
    ("run", &["fault", "secret"]),
    ("docker", &["run", "secret", "fault"]),
    ("program", &["docker", "run", "secret", "fault", "random"]),
    ("token_login", &["program", "https", "run", "fault", "secret"]),
    ("way", &["program", "run", "secret", "fault"]),
    ("ssh", &["way", "run", "secret", "fault"]),
    ("transport", &["ssh", "way", "run", "fault"]),
    ("server", &["ssh", "run", "secret", "fault"]),
    // `github::runner`: the run's own name, by which a waiting run identifies the lock holder.
    ("postgres", &["transport", "token_login", "run", "secret", "fault", "github::runner", "random"]),
    ("proxy", &["postgres", "transport", "run", "secret", "fault"]),
    ("tool", &["fault"]),
    ("sql", &["postgres", "fault"]),
    ("layout", &["postgres"]),
    ("ledger", &["layout", "postgres", "fault"]),
    ("settings", &["layout", "proxy", "postgres", "docker", "tool", "ssh", "way", "https", "run", "secret", "fault"]),
    ("audit", &["ledger", "layout", "settings", "postgres", "run", "github::runner", "random"]),
    ("migrate", &["sql", "ledger", "layout", "settings", "postgres", "run", "fault"]),
    ("plan", &["migrate", "ledger", "layout", "settings", "run", "fault"]),
    ("schema", &["sql", "postgres", "fault"]),
    ("review", &["sql", "postgres", "settings", "run", "fault"]),
    ("backup", &["sql", "postgres", "settings", "run", "fault"]),
    (
        "rehearsal",
        &[
            "review",
            "schema",
            "sql",
            "layout",
            "proxy",
            "postgres",
            "transport",
            "way",
            "docker",
            "settings",
            "tool",
            "run",
            "secret",
            "fault",
            "random",
        ],
    ),
    (
        "input",
        &[
            "settings",
            "layout",
            "proxy",
            "postgres",
            "docker",
            "tool",
            "ssh",
            "way",
            "program",
            "token_login",
            "secret",
            "fault",
            "github",
        ],
    ),
    ("report", &["settings", "run", "fault", "secret", "github", "https"]),
    (
        "site",
        &[
            "docker",
            "server",
            "proxy",
            "postgres",
            "transport",
            "ssh",
            "tool",
            "settings",
            "run",
            "secret",
            "fault",
            "github",
            "random",
        ],
    ),
    (
        "tunnel",
        &["site", "docker", "proxy", "postgres", "transport", "settings", "run", "secret", "fault", "github", "random"],
    ),
    (
        "executor",
        &[
            "site",
            "backup",
            "rehearsal",
            "plan",
            "migrate",
            "audit",
            "ledger",
            "layout",
            "review",
            "schema",
            "sql",
            "tool",
            "postgres",
            "transport",
            "settings",
            "run",
            "secret",
            "random",
            "fault",
            "github",
        ],
    ),
    ("post_stage", &["tunnel", "report", "run", "github"]),
    ("tunnel_process", &["tunnel", "docker", "input", "report", "run", "fault"]),
    ("stage", &["run", "fault"]),
    ("history_job", &["stage", "executor", "transport", "settings", "run", "fault", "github::runner"]),
    (
        "rehearsal_job",
        &[
            "stage",
            "executor",
            "rehearsal",
            "site",
            "docker",
            "review",
            "schema",
            "postgres",
            "settings",
            "run",
            "secret",
            "fault",
            "github::runner",
        ],
    ),
    (
        "doctor",
        &[
            "audit",
            "executor",
            "site",
            "migrate",
            "ledger",
            "layout",
            "docker",
            "server",
            "tool",
            "postgres",
            "transport",
            "ssh",
            "way",
            "settings",
            "run",
            "fault",
            "github",
        ],
    ),
    (
        "job",
        &[
            "stage",
            "history_job",
            "rehearsal_job",
            "doctor",
            "executor",
            "tunnel",
            "site",
            "input",
            "settings",
            "run",
            "secret",
            "fault",
            "github",
        ],
    ),
    ("app", &["job", "input", "report", "settings", "run", "fault", "github", "panic"]),
    // Built only for `make fuzz` and the tests.
    ("fuzzing", &["sql", "proxy", "postgres", "ssh", "tool", "github", "secret"]),
];

/// Paths in the documents that belong to the reader's repository.
const READERS_PATHS: [&str; 2] = [".github/bastion-migrate.yml", ".github/workflows/migrate.yml"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns every file below the directory with this extension, as a path from the top.
fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![root().join(directory)], Vec::new());
    while let Some(directory) = open.pop() {
        let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        for path in entries.map(|entry| entry.expect("a directory can be read").path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(root()).expect("it is below the top").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn yaml(path: impl AsRef<Path>) -> Value {
    let path = path.as_ref();
    serde_yaml::from_str(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the value of `key = "…"` in Cargo.toml's first section.
fn package(key: &str) -> String {
    let manifest = read("Cargo.toml");
    let line = manifest.lines().find(|line| line.starts_with(&format!("{key} = ")));
    line.and_then(|line| line.split('"').nth(1)).unwrap_or_else(|| panic!("Cargo.toml has no {key}")).to_owned()
}

/// Returns the lines above the file's unit tests, without blank lines and comments.
fn production(source: &str) -> impl Iterator<Item = &str> {
    let lines = source.lines().take_while(|line| *line != "#[cfg(test)]");
    lines.filter(|line| !line.trim().is_empty() && !line.trim().starts_with("//"))
}

#[test]
fn the_image_runs_the_binary_itself() {
    let dockerfile = read("Dockerfile");
    let entrypoint = dockerfile.lines().find(|line| line.starts_with("ENTRYPOINT")).unwrap();
    let arguments: Vec<String> = serde_json::from_str(entrypoint.trim_start_matches("ENTRYPOINT")).unwrap();
    // A shell would be PID 1 instead of the program, and would drop variables with `-` in their names.
    assert_eq!(arguments.len(), 1, "{entrypoint}");
    assert_eq!(Path::new(&arguments[0]).file_name().unwrap().to_str(), Some("bastion-migrate"));
    assert!(!dockerfile.lines().any(|line| line.starts_with("USER")), "the runner's command files belong to root");
}

#[test]
fn the_stages_of_the_action_start_programs_of_the_image() {
    let (manifest, dockerfile) = (yaml("action.yml"), read("Dockerfile"));
    let runs = manifest.get("runs").unwrap();
    let stage =
        |key: &str| runs.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no `runs.{key}`")).to_owned();
    assert!(dockerfile.contains(&format!("ENTRYPOINT [\"{}\"]", stage("entrypoint"))), "{}", stage("entrypoint"));
    let post = stage("post-entrypoint");
    assert!(dockerfile.contains(&format!("ln -s bastion-migrate /image{post}")), "{post}");
}

/// The listing's form refuses longer descriptions and other icons. Source: GitHub's metadata syntax for actions.
#[test]
fn the_marketplace_accepts_the_action() {
    let manifest = yaml("action.yml");
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let description = text(&manifest, "description");
    assert!((1..125).contains(&description.chars().count()), "{description}");
    assert!(["name", "author"].iter().all(|key| !text(&manifest, key).is_empty()));
    let branding = manifest.get("branding").unwrap();
    let colors = ["white", "black", "yellow", "blue", "green", "orange", "red", "purple", "gray-dark"];
    assert!(colors.contains(&text(branding, "color").as_str()), "{branding:?}");
    // One of the Feather icons that GitHub offers.
    assert_eq!(text(branding, "icon"), "database");
}

#[test]
fn one_rust_version_builds_everything() {
    let version = package("rust-version");
    assert!(read("Dockerfile").contains(&format!("FROM rust:{version}-")), "Dockerfile");
    assert!(read(".github/workflows/ci.yml").contains(&format!("RUST: \"{version}\"")), "ci.yml");
}

#[test]
fn the_changelog_has_this_version() {
    let heading = format!("## [{}]", package("version"));
    assert!(read("CHANGELOG.md").lines().any(|line| line.starts_with(&heading)), "{heading}");
}

#[test]
fn every_test_named_in_the_documents_exists() {
    let pages = ["docs/promises.md", "docs/architecture.md", "docs/conventions.md"].map(read).concat();
    let named: Vec<&str> = pages.split('`').filter(|quoted| is_test(quoted)).collect();
    let missing: Vec<&&str> = named
        .iter()
        .filter(|name| {
            let (file, test) = name.split_once("::").unwrap_or_default();
            let of = |binary: &str| root().join(format!("tests/{binary}/{file}.rs"));
            let mut sources = ["suite", "container"].map(of).into_iter().filter(|path| path.exists());
            !sources.any(|path| read(path).contains(&format!("#[test]\nfn {test}()")))
        })
        .collect();
    assert!(named.len() > 20 && missing.is_empty(), "{missing:?} of {}", named.len());
}

/// Returns whether the text has the form `file::a_sentence_about_behaviour`, unlike every path of the program.
fn is_test(quoted: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    let words = |name: &str| name.matches('_').count() >= 3 && name.chars().all(letter);
    quoted.split_once("::").is_some_and(|(_, test)| words(test))
}

#[test]
fn every_path_in_the_documents_exists() {
    let mut documents = files("docs", "md");
    documents.push("README.md".into());
    let mut missing = Vec::new();
    for document in documents {
        let text = read(&document);
        let here = document.parent().unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| here.join(link));
        let links = links.filter(|link| !link.to_string_lossy().contains("://"));
        let from_the_top = |word: &&str| {
            let prefix = ["src/", "tests/", "docs/", "examples/", ".github/", ".ci/"];
            prefix.iter().any(|prefix| word.starts_with(prefix)) && !word.contains(['*', '<', ' ', '…'])
        };
        let quoted = text.split('`').skip(1).step_by(2).filter(from_the_top).map(PathBuf::from);
        for path in links.chain(quoted) {
            let path = path.to_string_lossy().split('#').next().unwrap_or_default().to_owned();
            let is_ours = !path.is_empty() && !READERS_PATHS.contains(&path.as_str());
            if is_ours && !root().join(&path).exists() {
                missing.push(format!("{}: {path}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_page_is_in_the_list_of_pages() {
    let list = read("docs/README.md");
    let names = files("docs", "md").into_iter().map(|page| page.file_name().unwrap().to_string_lossy().into_owned());
    let missing: Vec<String> =
        names.filter(|name| name != "README.md" && !list.contains(&format!("]({name}"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_make_target_in_the_documents_exists() {
    let mut documents = files("docs", "md");
    documents.push("README.md".into());
    let texts: String = documents.iter().map(read).collect();
    let word = |letter: char| letter.is_ascii_lowercase() || letter == '-';
    let first = |text: &str| text.split(|letter| !word(letter)).next().unwrap_or_default().to_owned();
    let commands = || texts.split("`make ").chain(texts.split("```sh\nmake ")).skip(1);
    let targets: BTreeSet<String> = commands().map(first).filter(|name| !name.is_empty()).collect();
    let topics: BTreeSet<String> = texts
        .split("make bench ONLY=")
        .skip(1)
        .filter_map(|rest| rest.split('`').next())
        .flat_map(|names| names.split([' ', '"']))
        .map(first)
        .filter(|name| !name.is_empty())
        .collect();
    let (makefile, bench) = (read("Makefile"), read("tests/bench/main.rs"));
    let no_target = targets.iter().filter(|name| !makefile.contains(&format!("\n{name}:")));
    let no_topic = topics.iter().filter(|name| *name != "tunnel" && !bench.contains(&format!("(\"{name}\", ")));
    let missing: Vec<&String> = no_target.chain(no_topic).collect();
    assert!(targets.contains("bench") && topics.contains("files") && missing.is_empty(), "{missing:?}");
}

#[test]
fn modules_import_in_one_direction() {
    let mut wrong = Vec::new();
    for path in files("src", "rs") {
        let parts: Vec<_> = path.iter().skip(1).map(|part| part.to_string_lossy()).collect();
        let own = parts[0].trim_end_matches(".rs").to_owned();
        if ["lib", "main"].contains(&own.as_str()) {
            continue;
        }
        let Some((_, may)) = MODULES.iter().find(|(module, _)| *module == own) else {
            wrong.push(format!("{}: `{own}` is no module of the architecture", path.display()));
            continue;
        };
        for used in used_modules(&read(&path)) {
            let module = used.split("::").next().unwrap_or_default();
            if module != own && !may.contains(&module) && !may.contains(&used.as_str()) {
                wrong.push(format!("{}: uses {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Returns `module::next` for every path that begins with `crate::`, groups included.
fn used_modules(source: &str) -> BTreeSet<String> {
    let code: String = production(source).collect::<Vec<_>>().join("\n");
    let mut used = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let group = rest.strip_prefix('{').map(|group| top_level(group)).unwrap_or_else(|| vec![rest]);
        for item in group {
            let path = item.trim().split(|letter: char| !(letter.is_alphanumeric() || "_:".contains(letter)));
            let mut segments = path.take(1).flat_map(|path| path.split("::")).filter(|segment| !segment.is_empty());
            if let Some(module) = segments.next() {
                let next = segments.next().map(|next| format!("{module}::{next}"));
                used.insert(next.unwrap_or_else(|| module.to_owned()));
            }
        }
    }
    used
}

/// Returns the items of a `{…}` group; the text starts after the opening brace.
fn top_level(group: &str) -> Vec<&str> {
    let depth = Cell::new(0_i32);
    let step = |letter: char| depth.set(depth.get() + i32::from(letter == '{') - i32::from(letter == '}'));
    let end = group.find(|letter| {
        step(letter);
        depth.get() < 0
    });
    depth.set(0);
    let (items, _) = group.split_at(end.unwrap_or(group.len()));
    let parts = items.split(|letter| {
        step(letter);
        letter == ',' && depth.get() == 0
    });
    parts.collect()
}

#[test]
fn reads_groups_of_imports() {
    let source = "use crate::{\n    fault::{Code, Fault},\n    run::event::Event,\n    secret,\n};\nfn f() -> crate::ssh::Hop {}\n\
                  // crate::app\n#[cfg(test)]\nuse crate::app::x;";
    let expected = ["fault", "run::event", "secret", "ssh::Hop"].map(str::to_owned);
    assert_eq!(used_modules(source).into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn no_file_is_too_long() {
    let lines = |path: &PathBuf| production(&read(path)).count();
    let ours = files("src", "rs").into_iter().filter(|path| !is_for_tests(path));
    assert_eq!(ours.filter(|path| lines(path) > LONGEST).collect::<Vec<_>>(), Vec::<PathBuf>::new());
}

/// Returns whether the file, or a folder that it is in, is declared for tests alone.
fn is_for_tests(path: &Path) -> bool {
    let declares = |above: &Path, name: &str| {
        let above = root().join(above);
        above.exists() && read(above).contains(&format!("#[cfg(test)]\nmod {name};"))
    };
    path.ancestors().take_while(|path| *path != Path::new("src")).any(|path| {
        let name = path.file_stem().expect("a source file has a name").to_string_lossy();
        declares(&path.with_file_name("mod.rs"), &name)
    })
}

#[test]
fn the_top_level_stays_small() {
    let names = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let other = names.filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()));
    assert_eq!(other.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn our_own_workflows_have_minimal_permissions_and_pinned_actions() {
    for path in files(".github/workflows", "yml") {
        let workflow = yaml(&path);
        let permissions = workflow.get("permissions").and_then(Value::as_mapping);
        let is_called_alone =
            workflow["on"].as_mapping().is_some_and(|on| on.len() == 1 && on.contains_key("workflow_call"));
        match is_called_alone {
            // A building block has those of the call, or none.
            true => {
                let asked = jobs(&workflow).filter_map(|job| job.get("permissions")?.as_mapping()).flatten().next();
                assert_eq!((permissions, asked), (None, None), "{}: a call could not start", path.display());
            }
            false => {
                let has_none = permissions.is_some_and(serde_yaml::Mapping::is_empty);
                assert!(has_none, "{}: `permissions: {{}}`", path.display());
            }
        }
        for step in steps(&workflow) {
            let Some(uses) = step.get("uses").and_then(Value::as_str) else { continue };
            // A release uses its own tag.
            let is_ours =
                uses == "$/" || uses.starts_with("./") || uses.starts_with("bastion-migrate/bastion-migrate@v");
            assert!(is_pinned(uses) || is_ours, "{}: {uses} is not pinned to a commit", path.display());
        }
    }
}

#[test]
fn the_example_workflows_use_inputs_that_exist() {
    let manifest = yaml("action.yml");
    let inputs = manifest.get("inputs").and_then(Value::as_mapping).unwrap();
    for path in files("examples/workflows", "yml") {
        let (workflow, name) = (yaml(&path), path.display());
        assert!(workflow.get("permissions").is_some_and(Value::is_mapping), "{name}: no `permissions:`");
        let mut ours = 0;
        for step in steps(&workflow) {
            let Some(uses) = step.get("uses").and_then(Value::as_str) else { continue };
            if uses.contains("/bastion-migrate@") {
                ours += 1;
                let with = step.get("with").and_then(Value::as_mapping).unwrap();
                let unknown = with.keys().filter(|key| !inputs.contains_key(*key));
                assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&Value>::new(), "{name}");
            } else {
                assert!(is_pinned(uses), "{name}: {uses} is not pinned to a commit");
            }
        }
        let calls = jobs(&workflow).any(|job| job.get("uses").is_some());
        assert!(ours > 0 || calls, "{name}: does not use the action");
    }
}

#[test]
fn the_first_workflow_is_short() {
    let text = read("examples/workflows/migrate.yml");
    assert!(text.lines().count() <= 15, "{} lines", text.lines().count());
}

/// Returns whether the action is pinned by the full hash of a commit; a tag can be moved.
fn is_pinned(uses: &str) -> bool {
    let pin = uses.split_once('@').map_or("", |(_, pin)| pin);
    pin.len() == 40 && pin.chars().all(|letter| letter.is_ascii_hexdigit())
}

fn jobs(workflow: &Value) -> impl Iterator<Item = &Value> {
    workflow.get("jobs").and_then(Value::as_mapping).into_iter().flat_map(serde_yaml::Mapping::values)
}

fn steps(workflow: &Value) -> impl Iterator<Item = &Value> {
    jobs(workflow).filter_map(|job| job.get("steps").and_then(Value::as_sequence)).flatten()
}
