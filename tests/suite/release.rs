//! The scripts of a release (`.github/release`), in a small repository of their own. `make release-dry-run` runs them on the
//! real one.

use crate::repository::{REPOSITORY, Repository, digest};
use std::{fs, path::Path, time::UNIX_EPOCH};

#[test]
fn a_release_starts_only_from_a_commit_that_is_prepared() {
    let repository = Repository::new();
    assert!(repository.succeeds("verify", &["1.2.3"]).contains("v1.2.3 can be released"));
    for version in ["", "1.2", "v1.2.3", "1.2.3-rc1", "01.2.3"] {
        repository.refuses("verify", &[version], &format!("`{version}` is no version"));
    }
    repository.refuses("verify", &["1.2.4"], "Cargo.toml has version 1.2.3, not 1.2.4");
    repository.write("notes.txt", "");
    repository.refuses("verify", &["1.2.3"], "the tree is not clean; commit or remove: ?? notes.txt");
}

#[test]
fn a_release_needs_its_section_in_the_changelog() {
    for (old, new, expected) in [
        ("## [1.2.3] - 2026-01-02", "## Next", "CHANGELOG.md has no section `## [1.2.3]`"),
        ("2026-01-02", "unreleased", "CHANGELOG.md has `## [1.2.3] - unreleased`; replace it by `## [1.2.3] - 20"),
        ("### Added\n\n- A thing.\n\n", "", "CHANGELOG.md's section of 1.2.3 is empty"),
    ] {
        let repository = Repository::new();
        repository.replace("CHANGELOG.md", old, new);
        repository.commit();
        repository.refuses("verify", &["1.2.3"], expected);
    }
    let repository = Repository::new();
    repository.replace("Cargo.lock", "1.2.3", "1.2.2");
    repository.refuses("verify", &["1.2.3"], "Cargo.lock has version 1.2.2, not 1.2.3");
}

#[test]
fn a_version_is_released_once() {
    let repository = Repository::new();
    repository.tag();
    repository.git(".", &["push", "--quiet", "origin", "v1.2.3"]);
    repository.git(".", &["checkout", "--quiet", "main"]);
    repository.refuses("verify", &["1.2.3"], "the tag v1.2.3 exists");
    repository.git(".", &["tag", "--delete", "v1.2.3"]);
    repository.refuses("verify", &["1.2.3"], "origin has the tag v1.2.3");
    repository.git(".", &["remote", "set-url", "origin", "../nowhere.git"]);
    let output = repository.run("verify", &["1.2.3"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("origin does not answer"), "{error}");
}

#[test]
fn the_text_of_a_release_is_its_section_of_the_changelog() {
    assert_eq!(Repository::new().succeeds("notes", &["1.2.3"]), "### Added\n\n- A thing.\n");
    assert_eq!(Repository::new().succeeds("notes", &["1.2.2"]), "- An older thing.\n");
}

#[test]
fn a_stamped_action_names_the_image_by_its_digest() {
    let repository = Repository::new();
    let before = repository.read("action.yml");
    repository.fill_dist();
    repository.refuses("stamp", &[REPOSITORY, "1.2.3", "sha256:abc"], "`sha256:abc` is no digest");
    repository.refuses("stamp", &[REPOSITORY, "1.2.4", &digest('a')], "dist/SHA256SUMS has no tarball of v1.2.4");
    assert_eq!(repository.read("action.yml"), before, "a refused stamp changes nothing");

    repository.succeeds("stamp", &[REPOSITORY, "1.2.3", &digest('a')]);
    let image = format!("  image: docker://{REPOSITORY}:v1.2.3@{}", digest('a'));
    assert_eq!(repository.read("action.yml"), before.replace("  image: Dockerfile", &image));
    let binary = repository.read(".github/binary/action.yml");
    assert!(binary.contains("        VERSION: \"1.2.3\"\n"), "{binary}");
    for line in repository.read("dist/SHA256SUMS").lines().filter(|line| line.contains("linux")) {
        assert!(binary.contains(line.split(' ').next().unwrap()), "{line}");
    }
    repository.refuses("stamp", &[REPOSITORY, "1.2.3", &digest('b')], "action.yml has 0 lines `  image: Dockerfile`");
}

#[test]
fn a_tag_holds_the_stamped_files_and_leaves_the_branch_alone() {
    let repository = Repository::new();
    repository.fill_dist();
    repository.refuses("tag", &["1.2.3"], "and nothing else, not: nothing");
    let main = repository.git(".", &["rev-parse", "main"]);
    repository.git(".", &["checkout", "--quiet", "--detach"]);
    repository.succeeds("stamp", &[REPOSITORY, "1.2.3", &digest('a')]);
    repository.replace("Cargo.toml", "1.2.3", "1.2.4");
    repository.refuses("tag", &["1.2.3"], "not: .github/binary/action.yml Cargo.toml action.yml");
    repository.git(".", &["checkout", "--quiet", "Cargo.toml"]);
    repository.succeeds("tag", &["1.2.3"]);
    assert_eq!(repository.git(".", &["rev-parse", "v1.2.3^{commit}^"]), main);
    assert_eq!(repository.git(".", &["rev-parse", "main"]), main);
    assert_eq!(repository.git(".", &["ls-remote", "--quiet", "origin", "refs/tags/*"]), "", "it is not checked yet");
}

/// Its build is a copy of the file `built`.
const CARGO: &str = r#"#!/bin/bash
if [[ $* == *build* ]]; then install -D "$LOGS/built" "$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/release/bastion-migrate"; fi
"#;

#[test]
fn a_program_of_a_release_is_static_and_the_same_wherever_it_is_built() {
    let repository = Repository::new();
    repository.program("cargo", CARGO);
    repository.program("rustc", "#!/bin/sh\necho 'host: x86_64-unknown-linux-gnu'\n");
    repository.program("readelf", "#!/bin/sh\ncat \"$LOGS/headers\"\n");
    let (built, headers) = (repository.directory().join("built"), repository.directory().join("headers"));
    let tree = repository.tree().canonicalize().unwrap();
    fs::write(&headers, "LOAD\nINTERP\n").unwrap();
    fs::write(&built, "a program").unwrap();
    repository.refuses("build", &[], "is not static: it needs a dynamic linker");
    fs::write(&headers, "LOAD\n").unwrap();
    fs::write(&built, format!("a program \0{}/src/main.rs\0", tree.display())).unwrap();
    repository.refuses("build", &["amd64"], &format!("contains {}/src, so a build elsewhere", tree.display()));
    repository.refuses("build", &["riscv"], "no architecture is called riscv; use amd64 or arm64");
    assert!(!tree.join("dist").exists(), "a refused build leaves no program to release");

    fs::write(&built, "a program").unwrap();
    repository.succeeds("build", &["amd64"]);
    let program = tree.join("dist/linux-amd64/bastion-migrate");
    let modified = fs::metadata(&program).unwrap().modified().unwrap();
    let seconds = modified.duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
    assert_eq!(seconds, repository.git(".", &["log", "-1", "--format=%ct"]), "times of files are in an image");
    assert_eq!(
        fs::read_link(tree.join("dist/linux-amd64/bastion-migrate-sweep")).unwrap(),
        Path::new("bastion-migrate")
    );
}

/// Its release view answers with the number in `assets`.
const GH: &str = r#"#!/bin/sh
echo "$*" >>"$LOGS/gh"
if [ "$2" = view ]; then cat "$LOGS/assets"; fi
"#;

#[test]
fn a_release_is_published_when_its_draft_is_complete_and_only_then_v1_moves() {
    let repository = Repository::new();
    repository.program("gh", GH);
    repository.tag();
    let logs = repository.directory();
    fs::write(logs.join("assets"), "3\n").unwrap();
    repository.refuses("publish", &["1.2.3"], "the draft of v1.2.3 has 3 of 4 files; it stays a draft");
    let calls = fs::read_to_string(logs.join("gh")).unwrap();
    assert!(calls.starts_with("release create v1.2.3 --draft --verify-tag") && !calls.contains("edit"), "{calls}");
    assert_eq!(repository.git(".", &["ls-remote", "--quiet", "origin", "refs/tags/v1"]), "");

    fs::write(logs.join("assets"), "4\n").unwrap();
    repository.succeeds("publish", &["1.2.3"]);
    let calls = fs::read_to_string(logs.join("gh")).unwrap();
    assert_eq!(calls.lines().last(), Some("release edit v1.2.3 --draft=false"));
    assert!(
        calls.contains(" --notes ### Added\n\n- A thing. dist/bastion-migrate-v1.2.3-linux-amd64.tar.gz"),
        "{calls}"
    );
    let moved = repository.git(".", &["ls-remote", "--quiet", "origin", "refs/tags/v1"]);
    assert!(moved.starts_with(&repository.git(".", &["rev-parse", "v1.2.3^{commit}"])), "{moved}");
}

#[test]
fn a_file_that_differs_from_its_checksum_is_not_published() {
    let repository = Repository::new();
    repository.program("gh", GH);
    repository.tag();
    repository.write("dist/bastion-migrate-v1.2.3-linux-amd64.tar.gz", "something else");
    assert!(!repository.run("publish", &["1.2.3"]).status.success());
    assert!(!repository.directory().join("gh").exists(), "GitHub was called");
}

#[test]
fn an_sbom_claims_no_fix_that_the_sources_of_libssh2_do_not_have() {
    let repository = Repository::new();
    let sources = repository.directory().join("libssh2");
    fs::create_dir_all(sources.join("src")).unwrap();
    let fixes = repository.read(".github/release/libssh2-fixes.tsv");
    let rows: Vec<Vec<&str>> =
        fixes.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect()).collect();
    for row in &rows {
        let file = sources.join(row[2]);
        let text = fs::read_to_string(&file).unwrap_or_default();
        fs::write(file, format!("{text}    {}\n", row[3])).unwrap();
    }
    let path = sources.to_str().unwrap();
    repository.succeeds("sbom", &["--libssh2-fixes", path]);
    for row in &rows {
        let file = sources.join(row[2]);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace(row[3], "")).unwrap();
        repository.refuses("sbom", &["--libssh2-fixes", path], row[0]);
        fs::write(&file, text).unwrap();
    }
    assert!(rows.len() >= 7, "{rows:?}");
}

#[test]
fn an_advisory_that_is_not_known_to_be_fixed_is_reported() {
    let repository = Repository::new();
    let answers = repository.directory();
    let answer = |ids: &[&str]| {
        let rows = ids.iter().map(|id| format!(r#"{{"cve": {{"id": "{id}", "vulnStatus": "Analyzed"}}}}"#));
        format!(r#"{{"vulnerabilities": [{}]}}"#, rows.collect::<Vec<_>>().join(", "))
    };
    repository.replace("Cargo.lock", "autocfg\"\nversion = \"1.0.0", "openssl-src\"\nversion = \"300.6.1+3.6.3");
    // A crate that depends on it names it, too.
    let lock = repository.read("Cargo.lock");
    repository.write("Cargo.lock", &format!("{lock}dependencies = [\n \"openssl-src\",\n \"pkg-config\",\n]\n"));
    let arguments = ["--from", answers.to_str().unwrap()];
    fs::write(answers.join("libssh2.json"), answer(&["CVE-2026-55200"])).unwrap();
    fs::write(answers.join("openssl.json"), answer(&[])).unwrap();
    let passed = "release advisories: none against OpenSSL 3.6.3, and all of libssh2's are in libssh2-fixes.tsv\n";
    assert_eq!(repository.succeeds("advisories", &arguments), passed);

    fs::write(answers.join("libssh2.json"), answer(&["CVE-2026-55200", "CVE-2027-1"])).unwrap();
    fs::write(answers.join("openssl.json"), answer(&["CVE-2027-2"])).unwrap();
    repository.refuses("advisories", &arguments, "not known to be fixed: CVE-2027-1, CVE-2027-2;");
    for unreadable in ["{}", "", "<html>"] {
        fs::write(answers.join("openssl.json"), unreadable).unwrap();
        let output = repository.run("advisories", &arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains("NVD's answer about openssl can't be read"), "{error}");
    }
    let rejected = answer(&["CVE-2027-2"]).replace("Analyzed", "Rejected");
    fs::write(answers.join("openssl.json"), rejected).unwrap();
    fs::write(answers.join("libssh2.json"), answer(&[])).unwrap();
    assert_eq!(repository.succeeds("advisories", &arguments), passed);
}
