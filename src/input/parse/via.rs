//! Parses the way in: a port of the runner, or a mapping with a command.

use super::{
    mapping::{MappingReader, YamlOrigin, fault_about, scalar_text},
    program::{PROGRAM_KEYS, ParsedProgram, read_program},
    value,
};
use crate::{
    fault::{Code, Fault},
    way::unknown_token,
};
use serde_yaml::Value;

const FORM: &str =
    "write it as `via: runner:15432`, or as `via: { command: [ssh, -W, '%h:%p', jump@gate.example.com], image: … }`";

/// The parsed input `via`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ParsedVia {
    /// `off`: an ordinary connection, regardless of the defaults.
    Off,
    /// A port on the runner's loopback.
    Runner(u16),
    Command(Box<ParsedProgram>),
}

/// Parses the input: `off`, `runner:PORT`, or a mapping.
pub(crate) fn parse_via(value: &Value, origin: &YamlOrigin, faults: &mut Vec<Fault>) -> Option<ParsedVia> {
    let Value::Mapping(mapping) = value else { return parse_word(value, origin, faults) };
    let mut fields = MappingReader::new(mapping, origin.title.clone(), origin.positions.first().cloned());
    fields.reject_unknown_keys(&PROGRAM_KEYS);
    let program = read_program(&mut fields, FORM);
    if let Some(token) = program.as_ref().and_then(|program| unknown_token(&program.argv)) {
        let fix = "write `%h` for the host, `%p` for the port and `%%` for a percent sign";
        fields.add_invalid(&format!("`command` has `{token}`, which stands for nothing"), fix);
    }
    let is_valid = fields.faults.is_empty();
    faults.append(&mut fields.faults);
    program.filter(|_| is_valid).map(|program| ParsedVia::Command(Box::new(program)))
}

/// Parses the short form.
fn parse_word(value: &Value, origin: &YamlOrigin, faults: &mut Vec<Fault>) -> Option<ParsedVia> {
    let text = scalar_text(value).ok().flatten().unwrap_or_default();
    let text = text.trim();
    if matches!(text, "off" | "false") {
        return Some(ParsedVia::Off);
    }
    let mut refuse = |cause: &str, fix: &str| {
        faults.push(fault_about(Code::InputInvalid, &origin.title, origin.positions.first(), cause).fix(fix));
        None
    };
    if let Ok(port) = value::parse_port(text) {
        let fix = format!("write it as `via: runner:{port}`, which is the loopback of the runner");
        return refuse("it is a port, without the machine that has it", &fix);
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return refuse("it is neither `off`, `runner:PORT`, nor a mapping with a `command`", FORM);
    };
    let Ok(port) = value::parse_port(port) else {
        return refuse("what follows its colon is not a port", FORM);
    };
    match host {
        "runner" => Some(ParsedVia::Runner(port)),
        "localhost" | "127.0.0.1" | "::1" | "[::1]" => refuse(
            "it names the loopback of the action's own container, where no tunnel of an earlier step listens",
            &format!("write it as `via: runner:{port}`, which is the loopback of the runner"),
        ),
        _ => refuse(
            "it names another machine than the runner",
            "if the database can be reached there, set `database-host` and `database-port`; a tunnel that an earlier step has \
             opened on the runner is `via: runner:15432`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> (Option<ParsedVia>, Vec<Fault>) {
        let origin = YamlOrigin { title: "`via`".to_owned(), positions: Vec::new() };
        let mut faults = Vec::new();
        (parse_via(&serde_yaml::from_str(text).unwrap(), &origin, &mut faults), faults)
    }

    fn command(text: &str) -> ParsedProgram {
        match parse_text(text) {
            (Some(ParsedVia::Command(command)), faults) if faults.is_empty() => *command,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_way_is_a_port_of_the_runner_or_a_command() {
        assert_eq!(parse_text("runner:15432").0, Some(ParsedVia::Runner(15_432)));
        assert_eq!(parse_text("off").0, Some(ParsedVia::Off));
        let whole = command(
            "{ command: [ssh, -W, '%h:%p', gate], image: 'alpine:3', env: { A: 1 }, pass-env: [KEY_ID, TOKEN] }",
        );
        assert_eq!(whole.argv, ["ssh", "-W", "%h:%p", "gate"]);
        assert_eq!((whole.image.as_deref(), whole.env), (Some("alpine:3"), vec![("A".to_owned(), "1".to_owned())]));
        assert_eq!(whole.pass_env, ["KEY_ID", "TOKEN"]);
        let text = command("command: cloudflared access tcp --hostname 'db.example.com'\npass-env: A, B");
        assert_eq!(text.argv, ["cloudflared", "access", "tcp", "--hostname", "db.example.com"]);
        assert_eq!(text.pass_env, ["A", "B"]);
    }

    #[test]
    fn reports_faults_without_repeating_values() {
        for (text, cause) in [
            ("tunnel", "it is neither `off`, `runner:PORT`, nor a mapping with a `command`"),
            ("15432", "it is a port, without the machine that has it"),
            ("{ command: 'gate --token $TOKEN' }", "`command` is no line for a shell"),
            ("{ command: 'gate | tee log' }", "`command` is no line for a shell"),
            ("runner:x", "what follows its colon is not a port"),
            ("localhost:15432", "it names the loopback of the action's own container"),
            ("db.internal:5432", "it names another machine than the runner"),
            ("{ image: x }", "it has no `command`"),
            ("{ command: [] }", "`command` is a list, but not of a program"),
            ("{ command: 'a \"b' }", "`command` can't be split"),
            ("{ command: [ssh, '%r@%h'] }", "`command` has `%r`, which stands for nothing"),
            ("{ comand: x }", "there is no key `comand`"),
            ("{ command: x, env: [A=hunter2] }", "`env` is not a mapping"),
            ("{ command: x, env: { 1A: hunter2 } }", "`env` has an entry that is not a name"),
            ("{ command: x, pass-env: [TOKEN=hunter2] }", "`pass-env` has a word that is not the name of a variable"),
        ] {
            let (parsed, faults) = parse_text(text);
            assert_eq!(parsed, None, "{text}");
            assert!(faults.iter().any(|fault| fault.cause.contains(cause)), "{text}: {faults:?}");
            assert!(!format!("{faults:?}").contains("hunter2"), "{faults:?}");
        }
        assert_eq!(parse_text("{ comand: x }").1.len(), 1, "a misspelt key is one mistake");
        command("{ command: sh -c 'gate $TOKEN' }");
        let loopback = parse_text("127.0.0.1:15432").1;
        assert!(loopback[0].fix.contains("`via: runner:15432`"), "{loopback:?}");
    }
}
