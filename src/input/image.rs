//! The inputs of a tool in an image.

use super::{
    ImageSettings, Workspace,
    findings::Findings,
    name::Name,
    raw::Inputs,
    value::{self, Misfit},
    variables::{Variable, Variables},
};
use crate::{
    engine::{Credentials, Pull},
    fault::{Code, Fault},
    postgres::{Passage, SslMode, SslWish, Target, url},
    secret::Secret,
    tool::{Line, Recipe, Verb},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

const PULLS: [(&str, Pull); 3] = [("missing", Pull::Missing), ("always", Pull::Always), ("never", Pull::Never)];
const WORKSPACES: [(&str, Workspace); 3] =
    [("false", Workspace::Hidden), ("read-only", Workspace::ReadOnly), ("read-write", Workspace::ReadWrite)];

/// What the engine takes for the least (moby, `daemon/daemon_unix.go`).
const LEAST_MEMORY: i64 = 6 << 20;

/// Words in the name of a variable whose value nobody should see.
const TELLING: [&str; 8] = ["SECRET", "PASSWORD", "PASSWD", "TOKEN", "KEY", "CREDENTIAL", "DSN", "_URL"];

/// A shorter value is more likely `true` than a secret.
const SHORTEST_SECRET: usize = 8;

/// Everything that the tool and its container need.
pub(super) fn read(
    inputs: &Inputs,
    variables: &Variables,
    database: Option<&Target>,
    findings: &mut Findings,
) -> Option<ImageSettings> {
    let image = findings.keep(inputs.required(Name::Image, reference));
    let pull = findings.keep(inputs.required(Name::Pull, |text| value::choice(text, &PULLS)));
    let credentials = findings.keep(credentials(inputs));
    let run = inputs.text(Name::Run).map(Line::read);
    let recipe = findings.keep(recipe(inputs, run.as_ref()));
    let env = findings.keep(environment(inputs, variables));
    let workspace = findings.keep(inputs.required(Name::MountWorkspace, |text| value::choice(text, &WORKSPACES)));
    let memory = findings.keep(inputs.optional(Name::Memory, memory));
    let database = database?;
    Some(ImageSettings {
        image: image?,
        pull: pull?,
        credentials: credentials?,
        recipe: recipe?,
        run,
        env: env?,
        workspace: workspace?,
        working_directory: inputs.text(Name::WorkingDirectory).map(ToOwned::to_owned),
        memory: memory?,
        database_url: inputs.secret(Name::DatabaseUrl).unwrap_or_else(|| composed(inputs, database)),
    })
}

/// What the tool is given and nobody else should see.
pub(super) fn secrets(inputs: &Inputs, variables: &Variables) -> Vec<Secret> {
    let passed = names(inputs).filter_map(|name| match variables.get(name) {
        Variable::Text(text) => Some(text.to_owned()),
        Variable::Absent | Variable::NotUtf8 => None,
    });
    let telling = |name: &str| TELLING.iter().any(|word| name.to_uppercase().contains(word));
    let given = pairs(inputs).flatten().filter(|(name, _)| telling(name)).map(|(_, value)| value.to_owned());
    passed.chain(given).filter(|value| value.len() >= SHORTEST_SECRET).map(Secret::new).collect()
}

fn reference(text: &str) -> Result<String, Misfit> {
    let fits = !text.contains(char::is_whitespace) && !text.contains("://") && text == text.trim_matches('/');
    let last = text.rsplit('/').next().unwrap_or(text);
    let name = text.strip_suffix(last).unwrap_or_default().to_owned() + last.split([':', '@']).next().unwrap_or(last);
    if !fits || text.is_empty() {
        return Err(Misfit::new("is not the name of an image", "a name as in ghcr.io/acme/shop:1.4"));
    }
    let path = name.split_once('/').map_or(name.as_str(), |(_, path)| path);
    if path.chars().any(char::is_uppercase) {
        return Err(Misfit::new("has capital letters, which names of images can't have", "the name in lower case"));
    }
    Ok(text.to_owned())
}

fn credentials(inputs: &Inputs) -> Result<Option<Credentials>, Fault> {
    let (username, password) = (inputs.text(Name::RegistryUsername), inputs.secret(Name::RegistryPassword));
    match (username, password) {
        (None, None) => Ok(None),
        (Some(username), Some(password)) => Ok(Some(Credentials { username: username.to_owned(), password })),
        (Some(_), None) => {
            Err(Fault::new(Code::InputMissing, "`registry-username` has a value and `registry-password` has none"))
        }
        (None, Some(_)) => {
            Err(Fault::new(Code::InputMissing, "`registry-password` has a value and `registry-username` has none")
                .fix("set `registry-username`; where the registry takes a token alone, any name will do"))
        }
    }
}

fn recipe(inputs: &Inputs, run: Option<&Line>) -> Result<Recipe, Fault> {
    let known = Recipe::all();
    let words: Vec<(&str, usize)> = known.iter().enumerate().map(|(at, recipe)| (recipe.name.as_str(), at)).collect();
    let chosen = inputs.optional(Name::Tool, |text| value::choice(text, &words))?;
    let recipe = match (chosen, run) {
        (Some(at), _) => known.get(at).cloned(),
        (None, Some(_)) => Recipe::named("custom"),
        (None, None) => {
            return Err(Fault::new(Code::InputMissing, "`tool` has no value, and neither has `run`")
                .fix("say which tool applies the migrations in the image, as in `tool: django`, or with `run` how to call it"));
        }
    };
    let recipe = recipe.ok_or_else(|| Fault::new(Code::Bug, "a recipe that is known is not there"))?;
    if run.is_none() && recipe.line(Verb::Migrate).is_none() {
        return Err(Fault::new(
            Code::InputMissing,
            format!("`run` has no value, and `tool: {}` does not say what to call", recipe.name),
        )
        .fix("set `run` to the command that applies the migrations"));
    }
    Ok(recipe)
}

/// The variables that are written out, then those that are handed on; a name that stands twice has its last value.
fn environment(inputs: &Inputs, variables: &Variables) -> Result<Vec<(String, Secret)>, Fault> {
    let mut env: Vec<(String, Secret)> = Vec::new();
    for pair in pairs(inputs) {
        let (name, value) = pair.map_err(|line| {
            let cause = format!(
                "`env` has a line that is no `NAME=value`: it begins with `{}`",
                line.chars().take(20).collect::<String>()
            );
            Fault::new(Code::InputInvalid, cause).fix("write one `NAME=value` to a line")
        })?;
        env.push((name.to_owned(), Secret::new(value)));
    }
    for name in names(inputs) {
        match variables.get(name) {
            Variable::Text(text) => env.push((name.to_owned(), Secret::new(text))),
            // Unset here is unset there.
            Variable::Absent => {}
            Variable::NotUtf8 => {
                let cause = format!("the environment variable `{name}` (`pass-env`) is not UTF-8");
                return Err(Fault::new(Code::InputInvalid, cause));
            }
        }
    }
    Ok(env)
}

fn pairs(inputs: &Inputs) -> impl Iterator<Item = Result<(&str, &str), &str>> {
    let lines = inputs.text(Name::Env).unwrap_or_default().lines().map(str::trim_end);
    lines.filter(|line| !line.trim().is_empty()).map(|line| {
        let (name, value) = line.split_once('=').ok_or(line)?;
        let name = name.trim();
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if name.is_empty() || !name.chars().all(plain) || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(line);
        }
        Ok((name, value))
    })
}

fn names(inputs: &Inputs) -> impl Iterator<Item = &str> {
    let text = inputs.text(Name::PassEnv).unwrap_or_default();
    text.split(|letter: char| letter == ',' || letter.is_whitespace()).filter(|name| !name.is_empty())
}

/// `512m`, `2g`; a plain number counts as bytes, as for `docker run`.
fn memory(text: &str) -> Result<i64, Misfit> {
    let text = text.to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let units = [("k", 1_i64 << 10), ("m", 1 << 20), ("g", 1 << 30)];
    let unit = units.iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, *size)));
    let (number, size) = unit.unwrap_or((text, 1));
    let bytes = number.parse::<i64>().ok().filter(|number| *number > 0).and_then(|number| number.checked_mul(size));
    match bytes {
        Some(bytes) if bytes >= LEAST_MEMORY => Ok(bytes),
        Some(_) => Err(Misfit::new("is too little for any container", "6m or more")),
        None => Err(Misfit::new("is not an amount of memory", "a number and a unit, as in 512m or 2g")),
    }
}

/// Who asks for TLS in so many words gets it from end to end; everybody else is told at the tunnel's end to go on in plain
/// text, so that our settings can be put in.
pub(super) fn passage(inputs: &Inputs) -> Passage {
    let own = inputs.text(Name::DatabaseSslmode).and_then(SslWish::parse);
    let said = inputs.secret(Name::DatabaseUrl).and_then(|url| url::parse(&url).ok()).and_then(|url| url.sslmode);
    match own.or(said) {
        Some(SslWish::Mode(SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull)) => Passage::Untouched,
        Some(SslWish::Mode(SslMode::Disable) | SslWish::Usual) | None => Passage::Bridged,
    }
}

fn composed(inputs: &Inputs, database: &Target) -> Secret {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let password =
        database.password.as_ref().map(|password| format!(":{}", encoded(password.expose()))).unwrap_or_default();
    let host = if database.host.contains(':') { format!("[{}]", database.host) } else { database.host.clone() };
    let mode = match passage(inputs) {
        Passage::Untouched => format!("?sslmode={}", database.sslmode.name()),
        Passage::Bridged => String::new(),
    };
    let (user, port, name) = (encoded(&database.user), database.port, encoded(&database.name));
    Secret::new(format!("postgresql://{user}{password}@{host}:{port}/{name}{mode}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_amounts_of_memory_as_docker_does() {
        assert_eq!(memory("512m"), Ok(512 << 20));
        assert_eq!(memory("2G"), Ok(2 << 30));
        assert_eq!(memory("8388608"), Ok(8 << 20));
        for wrong in ["", "m", "-1g", "1m", "lots", "1.5g"] {
            assert!(memory(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn takes_names_of_images_and_nothing_else() {
        for right in ["app", "ghcr.io/acme/shop:1.4", "localhost:5000/app@sha256:00", "EXAMPLE.com/app:V1"] {
            assert_eq!(reference(right).as_deref(), Ok(right));
        }
        for wrong in ["", "two words", "https://ghcr.io/acme/shop", "ghcr.io/Acme/shop", "/app"] {
            assert!(reference(wrong).is_err(), "{wrong}");
        }
    }
}
