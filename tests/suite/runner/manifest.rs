//! `action.yml` as the runner reads it. Source: `ActionManifestManager.cs`.

use serde_yaml::Value;
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

/// The parts of `action.yml` that the runner uses.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    /// Every input and its default, empty if it has none.
    pub(crate) inputs: BTreeMap<String, String>,
    /// `runs.env`.
    pub(crate) env: BTreeMap<String, String>,
    /// The image of `runs.image`, unless that is to be built from a Dockerfile. The runner takes what follows `docker://`
    /// as it is.
    pub(crate) image: Option<String>,
    /// `runs.entrypoint`, if it replaces the image's own.
    pub(crate) entrypoint: Option<String>,
    /// `runs.post-entrypoint`, if there is a post stage.
    pub(crate) post_entrypoint: Option<String>,
}

impl Manifest {
    /// Reads this repository's `action.yml`, or the one that a release has stamped, with `${{ github.token }}` evaluated.
    pub(crate) fn with_token(token: &str) -> Self {
        let path = stamped().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("action.yml"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(&text, token)
    }

    fn parse(text: &str, token: &str) -> Self {
        let manifest: Value = serde_yaml::from_str(text).expect("action.yml is YAML");
        let runs = manifest.get("runs").and_then(Value::as_mapping).expect("action.yml has `runs`");
        for key in runs.keys().map(name) {
            let known = ["using", "image", "env", "entrypoint", "post-entrypoint"];
            assert!(known.contains(&key.as_str()), "these tests do not support `runs.{key}`");
        }
        let mapping = |value: Option<&Value>| value.and_then(Value::as_mapping).cloned().unwrap_or_default();
        let inputs = mapping(manifest.get("inputs"));
        let text = |key: &str| runs.get(key).and_then(Value::as_str).map(str::to_owned);
        let default = |input: &Value| input.get("default").map_or_else(String::new, |value| evaluated(value, token));
        Self {
            inputs: inputs.iter().map(|(key, input)| (name(key), default(input))).collect(),
            env: mapping(runs.get("env")).iter().map(|(key, value)| (name(key), evaluated(value, token))).collect(),
            image: text("image").and_then(|image| Some(image.strip_prefix("docker://")?.to_owned())),
            entrypoint: text("entrypoint"),
            post_entrypoint: text("post-entrypoint"),
        }
    }
}

/// Returns the path of the `action.yml` that `make release-dry-run` tests.
fn stamped() -> Option<PathBuf> {
    env::var_os("BASTION_MIGRATE_ACTION").map(PathBuf::from)
}

fn name(key: &Value) -> String {
    key.as_str().expect("names are strings").to_owned()
}

/// Evaluates only the expressions in `action.yml`.
fn evaluated(value: &Value, token: &str) -> String {
    match value {
        Value::String(text) if text.replace(' ', "") == "${{github.token}}" => token.to_owned(),
        Value::String(text) if !text.contains("${{") => text.clone(),
        other => panic!("a value must be a string that can be evaluated here: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_input_is_read_with_its_default() {
        let text = "inputs: { a: { default: x }, b: {}, c: { default: '${{ github.token }}' } }\n\
                    runs: { using: docker, image: Dockerfile, env: { A: b }, entrypoint: /main,\n\
                    post-entrypoint: /post }";
        let manifest = Manifest::parse(text, "t0ken");
        let expected = [("a", "x"), ("b", ""), ("c", "t0ken")];
        assert_eq!(manifest.inputs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(manifest.env["A"], "b");
        assert_eq!(manifest.image, None);
        assert_eq!(manifest.entrypoint.as_deref(), Some("/main"));
        assert_eq!(manifest.post_entrypoint.as_deref(), Some("/post"));
        assert!(Manifest::with_token("t0ken").inputs.contains_key("ssh-host"));

        let released = Manifest::parse(&text.replace("Dockerfile", "docker://example.com/a:v1@sha256:0a"), "t0ken");
        assert_eq!(released.image.as_deref(), Some("example.com/a:v1@sha256:0a"));
    }
}
