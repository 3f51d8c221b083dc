//! A step of a workflow, read by the program's own input parser with a reader's secrets and variables. Nothing is
//! connected to.

use crate::{
    expression::{Values, interpolate, to_text},
    lab::{
        certificate::{Certificate, Expired},
        client_authority::{ClientAuthority, ClientPair},
        ssh_ca::SshCa,
        sshd::keygen,
    },
    runner::{environment::variable, manifest::Manifest},
};
use bastion_migrate::input::{StartMode, read_start_mode};
use serde_json::Value as Json;
use serde_yaml::{Mapping, Value};
use std::{collections::BTreeMap, ffi::OsString, fs, path::Path, sync::LazyLock};
use tempfile::TempDir;

/// Values of the contexts, each for all names that end in this word. The first one that fits is taken.
const SAMPLES: [(&str, &str); 23] = [
    (
        "KNOWN_HOSTS",
        "bastion.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFe2nNtckQBptFHQiYGjq+syV4QkHfWwj2u3FxU60WhN",
    ),
    ("SSH_FINGERPRINT", "SHA256:1ZXaiTUmqZvtSsQ6/NDOwKjT7iqcT8H4PDYzvOvTGBM"),
    ("SSH_PORT", "22"),
    ("SSH_HOST", "deploy@bastion.example.com"),
    ("HOST", "db.private.internal"),
    ("PORT", "5432"),
    ("DATABASE_URL", "postgres://app:wholly-secret@db.private.internal:5432/shop"),
    ("REHEARSAL_URL", "postgres://postgres:wholly-secret@copies.internal:5432/postgres"),
    ("WEBHOOK", "https://hooks.slack.com/services/T0/B0/wholly-secret"),
    ("USER", "deploy"),
    ("PASSWORD", "wholly-secret"),
    ("NAME", "shop"),
    ("tunnel-host", "127.0.0.1"),
    ("tunnel-port", "49153"),
    ("tunnel-alias", "bastion-migrate-tunnel-4f2c9a1b0d3e"),
    ("plan-digest", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    (
        "rehearsal-digest",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08/00112233445566778899aabbccddeeff-132/2026-11-30T20:00:00Z",
    ),
    ("workspace", "/github/workspace"),
    ("github.sha", "0123456789abcdef0123456789abcdef01234567"),
    ("IMAGE", "ghcr.io/acme/shop:1.4"),
    ("matrix.database", "shop"),
    ("matrix.environment", "dev"),
    ("", "text"),
];

/// The step of a job, with everything that it inherits.
#[derive(Debug, Clone, Default)]
pub(super) struct Step {
    pub(super) with: Mapping,
    pub(super) env: Mapping,
    /// Files of the reader's repository, besides those that the inputs name.
    pub(super) files: Vec<(String, String)>,
}

impl Step {
    /// Returns what is wrong with the step.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let declared = Manifest::with_token("token").inputs;
        let unknown = names(&self.with).filter(|name| !declared.contains_key(*name));
        let mut wrong: Vec<String> = unknown.map(|name| format!("there is no input `{name}`")).collect();
        let workspace = tempfile::tempdir().expect("there is room");
        self.write_files(&workspace);
        match read_start_mode(vec!["bastion-migrate".into()], self.environment(workspace.path(), declared)) {
            StartMode::Run(invocation) => {
                let warnings = invocation.warnings.iter().map(|warning| warning.cause.clone());
                let faults = invocation.settings.err().unwrap_or_default();
                wrong.extend(faults.iter().map(|fault| format!("[{}] {}", fault.code, fault.cause)).chain(warnings));
            }
            other => wrong.push(format!("this is no run: {other:?}")),
        }
        wrong
    }

    /// Returns the variables that the runner sets for this step.
    fn environment(&self, workspace: &Path, declared: BTreeMap<String, String>) -> Vec<(OsString, OsString)> {
        let evaluated = |value: &Value| self.evaluate(&scalar(value));
        let with = self.with.iter().map(|(name, value)| (scalar(name), evaluated(value)));
        let inputs: BTreeMap<String, String> = declared.into_iter().chain(with).collect();
        let inputs = inputs.into_iter().map(|(name, value)| (variable(&name), value));
        let env = self.env.iter().map(|(name, value)| (scalar(name), evaluated(value)));
        let runner = [("GITHUB_ACTIONS", "true"), ("GITHUB_REPOSITORY", "acme/shop"), ("GITHUB_RUN_ID", "4711")];
        let runner = runner.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let workspace = ("GITHUB_WORKSPACE".to_owned(), workspace.to_string_lossy().into_owned());
        let all = inputs.chain(env).chain(runner).chain([workspace]);
        all.map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn evaluate(&self, text: &str) -> String {
        let lookup = |name: &str| match name.strip_prefix("env.").and_then(|name| self.env.get(name)) {
            Some(value) => Json::from(self.evaluate(&scalar(value))),
            None => sample(name),
        };
        to_text(&interpolate(text, &Values { lookup: &lookup, status: &|_| true }))
    }

    /// Writes what has to exist when a run starts: SQL files of steps, a recipe, a CA.
    fn write_files(&self, workspace: &TempDir) {
        let named = self.with.iter().flat_map(|(_, value)| paths_in(&scalar(value)));
        let named = named.chain(self.files.iter().flat_map(|(_, text)| paths_in(text)));
        let recipe = "name: ours\nabout: Ours\nverbs:\n  migrate: [./migrate]\n";
        let content = |path: &str| if path.ends_with("yml") { recipe } else { "select 1;\n" }.to_owned();
        let named: Vec<(String, String)> = named.map(|path| (path.clone(), content(&path))).collect();
        let config = self.with.get("config").map(|path| (scalar(path), "defaults: {}\n".to_owned()));
        for (path, text) in named.iter().chain(&self.files).chain(&config) {
            let path = workspace.path().join(path);
            fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("there is room");
            fs::write(path, text).expect("there is room");
        }
    }
}

/// A client certificate and its key, which have to belong together.
static CLIENT_PAIR: LazyLock<ClientPair> =
    LazyLock::new(|| ClientAuthority::named("the clients' CA").issue("app", 1, Expired::Nothing));

/// Returns the sample value of a name in an expression.
fn sample(name: &str) -> Json {
    if name.ends_with("DATABASE_CA") {
        return Certificate::named("db.private.internal", Expired::Nothing).ca.into();
    }
    if name.ends_with("DATABASE_CERT") {
        return CLIENT_PAIR.certificate.as_str().into();
    }
    if name.ends_with("DATABASE_KEY") {
        return CLIENT_PAIR.key.as_str().into();
    }
    if name.ends_with("SSH_PRIVATE_KEY") || name.ends_with("outputs.private") {
        return KEY_PAIR.0.clone().into();
    }
    if name.ends_with("SSH_CERTIFICATE") || name.ends_with("outputs.certificate") {
        return KEY_PAIR.1.clone().into();
    }
    let (_, value) = SAMPLES.iter().find(|(end, _)| name.ends_with(end)).expect("the last one fits all");
    (*value).into()
}

/// A private key, as step 1 of the documents makes it, and a certificate for it.
static KEY_PAIR: LazyLock<(String, String)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("key");
    keygen(&path, &["-t", "ed25519", "-N", ""]);
    let [key, public] =
        [&path, &path.with_extension("pub")].map(|path| fs::read_to_string(path).expect("it was written"));
    (key, SshCa::ed25519().sign(public.trim(), &["-I", "deploy", "-n", "deploy"]))
});

/// Returns the words of a text that are paths of SQL files and recipes.
fn paths_in(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| letter.is_whitespace() || ",[]{}'\"".contains(letter));
    let is_file = |word: &&str| word.contains('/') && (word.ends_with(".sql") || word.ends_with(".yml"));
    words.filter(is_file).filter(|word| !word.starts_with(['/', '~'])).map(str::to_owned).collect()
}

fn names(mapping: &Mapping) -> impl Iterator<Item = &str> {
    mapping.keys().filter_map(Value::as_str)
}

/// Returns a value as the runner passes it on.
pub(super) fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        other => panic!("a workflow's `with:` and `env:` hold texts, and not {other:?}"),
    }
}
