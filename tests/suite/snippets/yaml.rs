//! Blocks of YAML: each has to be one of the things that a reader writes, and is read by the parser of that thing.

use super::{
    markdown::root,
    programs::check_script,
    step::{Step, scalar},
};
use crate::workflow::is_ours;
use bastion_migrate::tool::Recipe;
use serde_yaml::{Mapping, Value};
use std::fs;

/// Keys of the configuration file. Inputs that are written in YAML are texts in `with:`, and lists or mappings in the file.
const SECTIONS: [&str; 6] = ["defaults", "environments", "before", "steps", "after", "health"];

/// Endings of names whose values are public.
const PUBLIC: [&str; 2] = ["KNOWN_HOSTS", "DATABASE_CA"];

/// Returns what is wrong with a block of YAML.
pub(super) fn mistakes(text: &str) -> Vec<String> {
    let value: Value = match serde_yaml::from_str(text) {
        Ok(value) => value,
        Err(error) => return vec![format!("this is not YAML: {error}")],
    };
    let mut wrong = mistakes_in_names(text);
    wrong.extend(match &value {
        Value::Sequence(steps) => steps.iter().flat_map(|step| step_mistakes(step, &Mapping::new())).collect(),
        Value::Mapping(mapping) => mapping_mistakes(mapping, &value, text),
        other => vec![format!("this is neither a workflow nor a part of one: {other:?}")],
    });
    wrong
}

fn mapping_mistakes(mapping: &Mapping, value: &Value, text: &str) -> Vec<String> {
    let keys: Vec<&str> = mapping.keys().filter_map(Value::as_str).collect();
    let are_all = |known: &[&str]| keys.iter().all(|key| known.contains(key));
    if keys.contains(&"jobs") {
        return workflow_mistakes(value);
    }
    if keys.contains(&"verbs") {
        return Recipe::from_yaml(text).err().map(|fault| fault.to_string()).into_iter().collect();
    }
    if keys == ["permissions"] {
        return permission_mistakes(&value["permissions"]);
    }
    if keys.contains(&"services") || keys.contains(&"stages") {
        return Vec::new();
    }
    if are_all(&SECTIONS) && !mapping.values().any(Value::is_string) {
        return configuration_mistakes(value, text);
    }
    fragment_mistakes(mapping)
}

/// A name is a variable or a secret everywhere; GitHub would mask a public value that is a secret.
fn mistakes_in_names(text: &str) -> Vec<String> {
    let read = |context: &str| {
        let rests = text.split(context).skip(1);
        let names = rests.map(|rest| rest.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).next());
        names.flatten().map(str::to_owned).collect::<Vec<_>>()
    };
    let is_public = |name: &String| PUBLIC.iter().any(|public| name.ends_with(public));
    let secrets = read("secrets.").into_iter().filter(is_public);
    let secrets = secrets.map(|name| format!("`secrets.{name}` is public: store it as a variable"));
    let private = ["PASSWORD", "PRIVATE_KEY", "DATABASE_URL", "TOKEN", "PASSPHRASE"];
    let variables = read("vars.").into_iter().filter(|name| private.iter().any(|private| name.ends_with(private)));
    secrets.chain(variables.map(|name| format!("`vars.{name}` is secret: store it as a secret"))).collect()
}

fn workflow_mistakes(workflow: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, job) in workflow["jobs"].as_mapping().into_iter().flatten() {
        let env = merged([&workflow["env"], &job["env"]]);
        let steps = job["steps"].as_sequence().into_iter().flatten();
        wrong.extend(steps.flat_map(|step| step_mistakes(step, &env)));
        wrong.extend(permission_mistakes(&job["permissions"]));
        wrong.extend(job["uses"].as_str().into_iter().flat_map(|uses| call_mistakes(uses, job)));
        // Otherwise anybody who may push could read them.
        let reads_secrets = job
            .get("steps")
            .is_some_and(|steps| serde_yaml::to_string(steps).is_ok_and(|text| text.contains("secrets.")));
        let is_open = reads_secrets && job.get("environment").is_none();
        wrong.extend(is_open.then(|| format!("the job {} reads secrets of no environment", scalar(name))));
        let is_job = job.get("steps").is_some() || job.get("uses").is_some();
        wrong.extend((!is_job).then(|| format!("the job {} does nothing", scalar(name))));
    }
    wrong.extend(permission_mistakes(&workflow["permissions"]));
    wrong
}

fn step_mistakes(step: &Value, inherited: &Mapping) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(script) = step["run"].as_str() {
        // An expression is replaced before the shell reads the script, so its value would be code.
        wrong.extend(script.contains("${{").then(|| "a script contains an expression: map it under `env:`".to_owned()));
        wrong.extend(check_script(script));
    }
    // The program alone has the same inputs.
    let is_program = step["uses"].as_str().is_some_and(|uses| uses.contains("/.github/binary@"));
    if is_ours(step) || is_program {
        let own = Value::Mapping(inherited.clone());
        let with = step["with"].as_mapping().cloned().unwrap_or_default();
        wrong.extend(Step { with, env: merged([&own, &step["env"]]), files: Vec::new() }.mistakes());
    } else if step.get("run").is_none() && step.get("uses").is_none() {
        wrong.push("a step has neither `uses` nor `run`".to_owned());
    }
    wrong
}

/// Checks the call of a building block against what it declares.
fn call_mistakes(uses: &str, job: &Value) -> Vec<String> {
    let path = uses.split('@').next().unwrap_or_default();
    let Some(block) = path.strip_prefix("bastion-migrate/bastion-migrate/") else {
        return vec![format!("`{uses}` is no building block of ours")];
    };
    let Ok(text) = fs::read_to_string(root().join(block)) else { return vec![format!("there is no `{block}`")] };
    let block: Value = serde_yaml::from_str(&text).expect("a building block is YAML");
    let declared = &block["on"]["workflow_call"];
    let unknown = |given: &'static str, declared: &Value| {
        let given = job[given].as_mapping().into_iter().flat_map(Mapping::keys).map(scalar);
        let unknown = given.filter(|name| declared.get(name.as_str()).is_none());
        unknown.map(|name| format!("the building block has no `{name}`")).collect::<Vec<_>>()
    };
    [unknown("with", &declared["inputs"]), unknown("secrets", &declared["secrets"])].concat()
}

fn permission_mistakes(permissions: &Value) -> Vec<String> {
    let scopes = ["contents", "pull-requests", "packages", "id-token", "issues", "actions", "deployments"];
    let levels = ["read", "write", "none"];
    let is_valid = |name: &Value, level: &Value| {
        scopes.contains(&scalar(name).as_str()) && levels.contains(&scalar(level).as_str())
    };
    let wrong = permissions.as_mapping().into_iter().flatten().filter(|(name, level)| !is_valid(name, level));
    wrong.map(|(name, level)| format!("there is no permission `{}: {}`", scalar(name), scalar(level))).collect()
}

/// Reads the configuration file for each of its environments, by a step that has everything else.
fn configuration_mistakes(value: &Value, text: &str) -> Vec<String> {
    let environments: Vec<String> =
        value["environments"].as_mapping().into_iter().flat_map(Mapping::keys).map(scalar).collect();
    let chosen: Vec<Option<&String>> =
        if environments.is_empty() { vec![None] } else { environments.iter().map(Some).collect() };
    let for_environment = |environment: Option<&String>| {
        least_wrong(|mut step| {
            step.files = vec![(".github/bastion-migrate.yml".to_owned(), text.to_owned())];
            if let Some(name) = environment {
                step.with.insert("environment".into(), name.as_str().into());
            }
            step
        })
    };
    chosen.into_iter().flat_map(for_environment).collect()
}

/// Checks lines for `with:` of a step whose other lines are not shown.
fn fragment_mistakes(lines: &Mapping) -> Vec<String> {
    least_wrong(|mut step| {
        complete_pairs(&mut step.with, lines);
        step.with.extend(lines.clone());
        step
    })
}

/// Adds what the lines need beside them: the other parts of a database, the other half of a login.
fn complete_pairs(with: &mut Mapping, lines: &Mapping) {
    let database = ["database-host", "database-port", "database-user", "database-password", "database-name"];
    let registry = ["registry-username", "registry-password"];
    let has_one = |names: &[&str]| names.iter().any(|name| lines.contains_key(*name));
    if has_one(&database) && !lines.contains_key("database-url") {
        with.remove("database-url");
        with.extend(parse("database-host: db.private.internal\ndatabase-user: app\ndatabase-password: long-secret\ndatabase-name: shop\n"));
    }
    let pair = ["database-cert", "database-key"];
    if has_one(&pair) {
        with.extend(parse("database-cert: ${{ vars.DATABASE_CERT }}\ndatabase-key: ${{ secrets.DATABASE_KEY }}\n"));
    }
    // A token replaces the password.
    if lines.contains_key("database-auth") && with.contains_key("database-url") {
        with.extend(parse("database-url: postgres://app@db.private.internal:5432/shop\n"));
    }
    if has_one(&registry) && with.contains_key("image") {
        with.extend(parse("registry-username: octocat\nregistry-password: long-secret\n"));
    }
}

fn parse(lines: &str) -> Mapping {
    serde_yaml::from_str(lines).expect("these lines are YAML")
}

/// Returns the mistakes of the step that has the fewest, of one step for each executor.
fn least_wrong(complete: impl Fn(Step) -> Step) -> Vec<String> {
    let found = bases().into_iter().map(|base| complete(base).mistakes());
    found.min_by_key(Vec::len).expect("there is a base")
}

/// Returns one complete step for each executor, and for the commands that have inputs of their own.
pub(super) fn bases() -> Vec<Step> {
    let common = "ssh-host: ${{ secrets.SSH_HOST }}\nssh-private-key: ${{ secrets.SSH_PRIVATE_KEY }}\n\
        ssh-known-hosts: ${{ vars.SSH_KNOWN_HOSTS }}\n";
    let database = "database-url: ${{ secrets.DATABASE_URL }}\n";
    let image = "executor: image\nimage: ghcr.io/acme/shop:1.4\n";
    let kinds = [
        database.to_owned(),
        format!("{database}command: baseline\n"),
        format!("{database}command: resolve\ntarget: 42\nresolve: applied\nallow: ticket 4711\n"),
        format!("{database}command: rehearse\nrehearse: ${{{{ secrets.REHEARSAL_URL }}}}\n"),
        format!("{database}{image}tool: django\n"),
        format!("{database}executor: server\ntool: django\n"),
        format!("{image}{database}tool: django\ncommand: rollback\ntarget: shop 0016\n"),
        "executor: server\ntool: django\n".to_owned(),
    ];
    // Names that `pass-env` and `env` of a fragment pass on: the lines that map them are not shown.
    let env = "SECRET_KEY: a-long-secret\nSENTRY_DSN: a-long-address\nSNAPSHOT_TOKEN: a-long-token\nREADER_PASSWORD: a-long-password\nDJANGO_SETTINGS_MODULE: shop.settings\n";
    let env = parse(env);
    kinds
        .iter()
        .map(|kind| Step { with: parse(&format!("{common}{kind}")), env: env.clone(), files: Vec::new() })
        .collect()
}

fn merged(mappings: [&Value; 2]) -> Mapping {
    let lines = mappings.into_iter().filter_map(Value::as_mapping).flatten();
    lines.map(|(name, value)| (name.clone(), value.clone())).collect()
}
