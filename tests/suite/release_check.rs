//! The checker of a release (`.github/release/check`): a tag, a registry and files that agree, and each disagreement.

use crate::repository::{REPOSITORY, Repository, digest};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::symlink};

const ARCHITECTURES: [(&str, char); 2] = [("amd64", 'b'), ("arm64", 'c')];

/// Answers like an engine whose registry is in `$LOGS`.
const DOCKER: &str = r#"#!/bin/bash
case "$*" in
    *--raw) cat "$LOGS/index.json" ;;
    *Manifest.Digest*) echo "\"$(<"$LOGS/digest")\"" ;;
    *@sha256:bbbb*.Image*) cat "$LOGS/config-amd64.json" ;;
    *@sha256:cccc*.Image*) cat "$LOGS/config-arm64.json" ;;
    create*) echo "${3#linux/}" ;;
    export*) tar --create --directory "$LOGS/image-$2" bastion-migrate{,-sweep,-tunnel} ;;
    pull* | rm*) ;;
    *) echo "unexpected: docker $*" >&2; exit 1 ;;
esac
"#;

/// A tagged release whose registry is a directory.
struct Released {
    repository: Repository,
}

impl Released {
    fn new() -> Self {
        let repository = Repository::new();
        repository.program("docker", DOCKER);
        for name in ["qemu-aarch64-static", "qemu-x86_64-static"] {
            repository.program(name, "#!/bin/sh\nexec \"$@\"\n");
        }
        let directory = repository.directory();
        for (architecture, _) in ARCHITECTURES {
            let image = directory.join(format!("image-{architecture}"));
            fs::create_dir(&image).unwrap();
            repository.program("program", &format!("#!/bin/sh\n: {architecture}\necho bastion-migrate 1.2.3\n"));
            fs::rename(directory.join("bin/program"), image.join("bastion-migrate")).unwrap();
            for link in ["bastion-migrate-sweep", "bastion-migrate-tunnel", "bastion-migrate-relay"] {
                symlink("bastion-migrate", image.join(link)).unwrap();
            }
            let name = format!("bastion-migrate-v1.2.3-linux-{architecture}");
            let pack = format!(
                "mkdir -p tree/dist/{name} && cp -P image-{architecture}/* tree/dist/{name}/ && \
                 tar --create --gzip --directory tree/dist --file tree/dist/{name}.tar.gz {name} && rm -r tree/dist/{name}"
            );
            assert!(repository.command("sh").args(["-c", &pack]).status().unwrap().success());
        }
        let components = json!([{"name": "openssl"}, {"name": "libssh2"}, {"name": "octocrab"}]);
        let sbom = json!({"metadata": {"component": {"version": "1.2.3"}}, "components": components});
        repository.write("dist/bastion-migrate-v1.2.3.cdx.json", &sbom.to_string());
        repository.sum_dist();
        repository.stamp_and_tag();

        let released = Self { repository };
        let created =
            released.repository.git(".", &["log", "-1", "--date=format-local:%FT%TZ", "--format=%cd", "main"]);
        let labels = json!({
            "org.opencontainers.image.version": "1.2.3",
            "org.opencontainers.image.revision": released.repository.git(".", &["rev-parse", "main"]),
            "org.opencontainers.image.created": created,
        });
        for (architecture, _) in ARCHITECTURES {
            released.write(&format!("config-{architecture}.json"), &json!({"config": {"Labels": labels}}));
        }
        let manifest = |(architecture, digit): (&str, char)| json!({"digest": digest(digit), "platform": {"os": "linux", "architecture": architecture}});
        released.write("index.json", &json!({"manifests": ARCHITECTURES.map(manifest)}));
        fs::write(released.repository.directory().join("digest"), digest('a')).unwrap();
        released
    }

    fn write(&self, name: &str, content: &Value) {
        fs::write(self.repository.directory().join(name), content.to_string()).unwrap();
    }

    /// Replaces a text in a file of the registry.
    fn replace(&self, name: &str, old: &str, new: &str) {
        let path = self.repository.directory().join(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{name}: {text}");
        fs::write(path, text.replace(old, new)).unwrap();
    }

    /// Returns the facts that the checker finds violated.
    fn violated(&self) -> Vec<String> {
        let output = self.repository.run("check", &[REPOSITORY, "1.2.3"]);
        let shown = String::from_utf8(output.stdout).unwrap();
        let failed = shown.lines().filter_map(|line| line.strip_prefix("FAILED: "));
        let failed: Vec<String> = failed.map(|fact| fact.split(": expected").next().unwrap().to_owned()).collect();
        assert_eq!(output.status.success(), failed.is_empty(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
        assert!(shown.lines().count() >= 20, "{shown}");
        failed
    }
}

#[test]
fn a_release_that_agrees_passes() {
    assert_eq!(Released::new().violated(), [""; 0]);
}

#[test]
fn each_disagreement_of_the_registry_is_found() {
    let released = Released::new();
    released.replace("digest", &digest('a'), &digest('d'));
    assert_eq!(released.violated(), ["digest in action.yml, and of the index in the registry"]);

    let released = Released::new();
    released.replace("config-arm64.json", "\"1.2.3\"", "\"1.2.2\"");
    assert_eq!(released.violated(), ["label version, arm64"]);

    let released = Released::new();
    let unknown =
        format!(r#"{{"digest":"{}","platform":{{"os":"unknown","architecture":"unknown"}}}},{{"#, digest('e'));
    released.replace("index.json", "\"manifests\":[{", &format!("\"manifests\":[{unknown}"));
    assert_eq!(released.violated(), ["platforms"]);

    let released = Released::new();
    released.replace("image-amd64/bastion-migrate", "1.2.3", "1.2.2");
    assert_eq!(released.violated(), ["--version, amd64", "the same program in image and tarball, amd64"]);
}

#[test]
fn each_disagreement_of_files_and_tag_is_found() {
    let released = Released::new();
    released.replace("tree/dist/bastion-migrate-v1.2.3.cdx.json", "libssh2", "libssh3");
    assert_eq!(released.violated(), ["files that differ from SHA256SUMS", "OpenSSL and libssh2 in the SBOM"]);

    let released = Released::new();
    released.repository.write("README.md", "# Another one\n");
    released.repository.git(".", &["add", "README.md"]);
    released.repository.git(".", &["commit", "--quiet", "--amend", "--message", "more"]);
    released.repository.git(".", &["tag", "--force", "v1.2.3"]);
    assert_eq!(released.violated(), ["files that the tag changes"]);
}
