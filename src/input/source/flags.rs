//! The command line, built from `action.yml`.

use crate::{
    fault::{Code, Fault},
    input::{
        inline_secrets::secrets_of,
        manifest::Manifest,
        names::{InputName, nearest_candidate},
    },
    secret::Secret,
};
use clap::{
    Arg, ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
};
use std::{collections::BTreeMap, ffi::OsString};

/// The values from the command line.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    pub(crate) values: BTreeMap<InputName, String>,
    /// Secrets that are on the command line although they must not be.
    pub(crate) exposed: Vec<Secret>,
    /// The inputs of these secrets.
    pub(crate) refused: Vec<InputName>,
    pub(crate) faults: Vec<Fault>,
}

/// The parsed command line.
#[derive(Debug)]
pub(crate) enum ParsedArgs {
    /// A run.
    Run(Flags),
    /// A text: help or version.
    Print(String),
}

/// Number of columns of the help text.
const HELP_WIDTH: usize = 80;

/// Examples at the end of the help text, one for each executor.
const EXAMPLES: &str = "\
Examples:
  Show which SQL files would be applied, through a bastion:
    bastion-migrate plan --ssh-host deploy@bastion.example.com \\
      --ssh-known-hosts \"$(cat ~/.ssh/known_hosts)\" --migrations db/migrations

  Run Django's migrations in the app's own image:
    bastion-migrate migrate --executor image --tool django \\
      --image ghcr.io/acme/shop:1.4 --ssh-host deploy@bastion.example.com

  Run the app's own command on the server where it is deployed:
    bastion-migrate migrate --executor server --tool django \\
      --ssh-host deploy@app.example.com --working-directory shop \\
      --setup 'source ../venv/bin/activate'

  Apply SQL files to a local database, without a bastion:
    DATABASE_URL=postgres://me@localhost/shop bastion-migrate
";

const POSITIONAL: &str = "COMMAND";

/// Parses the arguments, the program's own name first. Records each fault and repairs the arguments, so that the rest
/// can be read instead of being reported as missing.
pub(crate) fn parse_args(mut args: Vec<OsString>, manifest: &Manifest) -> ParsedArgs {
    let mut faults = Vec::new();
    loop {
        match clap_command(manifest).try_get_matches_from(&args) {
            Ok(matches) => {
                let mut flags = collect_flags(&matches);
                flags.faults.splice(0..0, faults);
                return ParsedArgs::Run(flags);
            }
            Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
                return ParsedArgs::Print(error.to_string());
            }
            Err(error) => {
                let (fault, rest) = repair_args(args, &error);
                faults.extend(fault);
                match rest {
                    Some(rest) => args = rest,
                    None => return ParsedArgs::Run(Flags { faults, ..Flags::default() }),
                }
            }
        }
    }
}

/// Returns the text of `--help`.
pub(crate) fn help_text(manifest: &Manifest) -> String {
    clap_command(manifest).render_help().to_string()
}

fn clap_command(manifest: &Manifest) -> Command {
    let positional =
        Arg::new(POSITIONAL).conflicts_with(InputName::Command.name()).help("What to do, as with --command");
    Command::new("bastion-migrate")
        .bin_name("bastion-migrate")
        .version(env!("CARGO_PKG_VERSION"))
        .about(manifest.program_description().to_owned())
        .term_width(HELP_WIDTH)
        .next_line_help(true)
        .arg(positional)
        .args(InputName::ALL.iter().map(|name| clap_arg(*name, manifest)))
        .after_help(after_help())
}

/// Creates the flag of an input. Secrets have hidden flags, so that they can be rejected with the right advice.
fn clap_arg(name: InputName, manifest: &Manifest) -> Arg {
    let default = manifest.default_value(name).map(|default| format!(" [default: {default}]")).unwrap_or_default();
    Arg::new(name.name())
        .long(name.name())
        .value_name(name.kind().placeholder())
        .help_heading(name.group().help_heading())
        .help(format!("{}{default}", manifest.input_description(name)))
        .hide(name.is_secret())
}

fn after_help() -> String {
    let secrets = InputName::ALL.iter().filter(|name| name.is_secret()).flat_map(|name| name.variables());
    let lines: Vec<String> = secrets.map(|variable| format!("  {variable}")).collect();
    format!(
        "Secrets are no flags, because every process can read the command line. Put them\n\
         into environment variables:\n{}\n\
         With --environment dev each may also be called DEV_…\n\n{EXAMPLES}",
        lines.join("\n")
    )
}

fn collect_flags(matches: &ArgMatches) -> Flags {
    let mut flags = Flags::default();
    if let Some(command) = matches.get_one::<String>(POSITIONAL) {
        flags.values.insert(InputName::Command, command.clone());
    }
    for &name in InputName::ALL {
        match matches.get_one::<String>(name.name()) {
            Some(value) if value.trim().is_empty() => {}
            Some(value) if name.is_secret() => {
                flags.exposed.extend(secrets_of(name, value));
                flags.refused.push(name);
                flags.faults.push(exposed_secret_fault(name));
            }
            Some(value) => drop(flags.values.insert(name, value.clone())),
            None => {}
        }
    }
    flags
}

fn exposed_secret_fault(name: InputName) -> Fault {
    let variable = name.variables().first().copied().unwrap_or_default();
    Fault::new(
        Code::InputInvalid,
        format!("`--{name}` puts a secret on the command line, where every process on the machine can read it"),
    )
    .fix(format!(
        "put it into the environment variable `{variable}`, and replace the secret if others use this machine"
    ))
}

/// Returns the argument that the parser rejected.
fn offending_word(error: &clap::Error) -> &str {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument,
        _ => "",
    }
}

/// Returns the fault, and the arguments without the rejected one or with the one that was meant; no arguments if the
/// rejected one can't be found.
fn repair_args(mut args: Vec<OsString>, error: &clap::Error) -> (Option<Fault>, Option<Vec<OsString>>) {
    let fault = usage_fault(error);
    let argument = offending_word(error);
    let flag = argument.split(['=', ' ']).next().unwrap_or_default();
    let is_offending = |arg: &OsString| match arg.to_str() {
        None => error.kind() == ErrorKind::InvalidUtf8,
        Some(arg) if argument.starts_with('[') => arg.split('=').next() == Some("--command"),
        Some(arg) => arg == argument || arg.split('=').next() == Some(flag) && flag.starts_with('-'),
    };
    let Some(index) = args.iter().skip(1).rposition(is_offending).map(|index| index + 1) else {
        return (Some(fault), None);
    };
    let intended = nearest_candidate(flag.trim_start_matches('-'), InputName::ALL.iter().map(|name| name.name()));
    let is_free =
        |name: &&str| !args.iter().any(|arg| arg.to_string_lossy().split('=').next() == Some(&format!("--{name}")));
    if let Some(name) =
        intended.filter(is_free).filter(|_| error.kind() == ErrorKind::UnknownArgument && flag.starts_with("--"))
    {
        if let Some(arg) = args.get_mut(index) {
            *arg = format!("--{name}{}", arg.to_string_lossy().strip_prefix(flag).unwrap_or_default()).into();
        }
        // A secret has its own fault.
        let fault = Some(fault).filter(|_| !InputName::from_name(name).is_some_and(InputName::is_secret));
        return (fault, Some(args));
    }
    let removed = args.remove(index);
    let has_value = removed.to_str().is_some_and(|arg| arg.starts_with("--") && !arg.contains('='));
    if has_value && args.get(index).is_some_and(|next| !next.to_string_lossy().starts_with('-')) {
        args.remove(index);
    }
    (Some(fault), Some(args))
}

/// Returns the fault for a rejected argument. It repeats only names of flags: other words may be a secret that lost its
/// flag.
fn usage_fault(error: &clap::Error) -> Fault {
    let argument = offending_word(error);
    let flag = argument.split(['=', ' ']).next().unwrap_or_default();
    if argument.starts_with('[') && error.kind() == ErrorKind::ArgumentConflict {
        return Fault::new(Code::InputInvalid, "the command is given twice: as the first word, and as `--command`")
            .fix("remove `--command`");
    }
    if !flag.starts_with('-') {
        return Fault::new(Code::InputInvalid, "the command line has a word that belongs to no flag")
            .fix("write `bastion-migrate [command] [--flag value]…`; see `bastion-migrate --help`");
    }
    match error.kind() {
        ErrorKind::UnknownArgument => unknown_flag_fault(flag),
        ErrorKind::ArgumentConflict => {
            Fault::new(Code::InputInvalid, format!("`{flag}` is given twice")).fix(format!("give `{flag}` once"))
        }
        ErrorKind::InvalidUtf8 => Fault::new(Code::InputInvalid, format!("`{flag}` is not UTF-8")),
        _ => Fault::new(Code::InputInvalid, format!("`{flag}` has no value"))
            .fix(format!("write a value after `{flag}`")),
    }
}

fn unknown_flag_fault(flag: &str) -> Fault {
    let fault = Fault::new(Code::InputUnknown, format!("there is no flag `{flag}`"));
    let flags = InputName::ALL.iter().map(|name| name.name()).chain(["help", "version"]);
    match nearest_candidate(flag.trim_start_matches('-'), flags) {
        Some(name) => fault.fix(format!("did you mean `--{name}`?")),
        None => fault.fix("see `bastion-migrate --help` for the flags that exist"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;

    fn line(args: &[&str]) -> ParsedArgs {
        let args = ["bastion-migrate"].iter().chain(args).map(Into::into).collect();
        parse_args(args, &Manifest::parse_embedded())
    }

    fn run(args: &[&str]) -> Flags {
        match line(args) {
            ParsedArgs::Run(flags) => flags,
            ParsedArgs::Print(text) => panic!("{text}"),
        }
    }

    fn fault(args: &[&str]) -> Fault {
        let flags = run(args);
        assert_eq!(flags.faults.len(), 1, "{:?}", flags.faults);
        flags.faults[0].clone()
    }

    #[test]
    fn the_command_is_a_word_or_a_flag_and_not_both() {
        assert_eq!(run(&["plan"]).values[&InputName::Command], "plan");
        assert_eq!(run(&["--command", "plan"]).values[&InputName::Command], "plan");
        assert_eq!(fault(&["plan", "--command", "plan"]).code, Code::InputInvalid);
    }

    #[test]
    fn every_input_but_a_secret_is_a_flag() {
        for name in InputName::ALL.iter().filter(|name| !name.is_secret()) {
            let flags = run(&[&format!("--{name}=7")]);
            assert_eq!(flags.values[name], "7");
            assert!(flags.faults.is_empty());
        }
    }

    #[test]
    fn rejects_every_secret_and_names_the_variable_to_use() {
        for name in InputName::ALL.iter().filter(|name| name.is_secret()) {
            let flags = run(&[&format!("--{name}"), "hunter2"]);
            assert!(flags.values.is_empty());
            assert_eq!(flags.exposed, [Secret::new("hunter2")]);
            assert!(flags.faults[0].fix.contains(name.variables()[0]), "{:?}", flags.faults);
            assert!(!format!("{:?}", flags.faults).contains("hunter2"));
        }
    }

    #[test]
    fn suggests_the_flag_that_was_meant() {
        let fault = fault(&["--lock-timout", "5s"]);
        assert_eq!((fault.code, fault.fix.as_str()), (Code::InputUnknown, "did you mean `--lock-timeout`?"));
    }

    #[test]
    fn repeats_no_value_of_a_misspelt_secret() {
        for args in [
            &["--ssh-pasword=hunter2"][..],
            &["plan", "hunter2"],
            &["plan", "--ssh-user", "u", "hunter2"],
            &["-hunter2x"],
        ] {
            if let ParsedArgs::Run(flags) = line(args) {
                assert!(!flags.faults.is_empty() && !format!("{:?}", flags.faults).contains("hunter2"), "{args:?}");
            }
        }
    }

    #[test]
    fn reports_a_missing_value_and_a_repeated_flag() {
        assert_eq!(fault(&["--ssh-host"]).cause, "`--ssh-host` has no value");
        assert_eq!(fault(&["--gaps", "allow", "--gaps", "allow"]).cause, "`--gaps` is given twice");
    }

    #[test]
    fn survives_arguments_that_are_not_utf_8() {
        for bytes in [&b"--gaps=\xff"[..], b"\xff", b"--\xff"] {
            let args = vec!["bastion-migrate".into(), OsString::from_vec(bytes.to_vec())];
            assert!(
                matches!(parse_args(args, &Manifest::parse_embedded()), ParsedArgs::Run(flags) if flags.faults.len() == 1)
            );
        }
    }

    #[test]
    fn help_shows_groups_defaults_and_the_variables_of_secrets() {
        let ParsedArgs::Print(help) = line(&["--help"]) else { panic!("no help") };
        for part in ["SSH:", "Safety:", "--lock-wait", "[default: 5m]", "SSH_PASSWORD"] {
            assert!(help.contains(part), "{part}\n{help}");
        }
        assert!(!help.contains("--ssh-password"), "{help}");
    }

    #[test]
    fn help_fits_80_columns_and_has_an_example_for_each_executor() {
        let ParsedArgs::Print(help) = line(&["--help"]) else { panic!("no help") };
        let wide: Vec<&str> = help.lines().filter(|line| line.chars().count() > 80).collect();
        assert_eq!(wide, [""; 0]);
        for part in ["SQL files (executor sql):", "Image (executor image):", "Server (executor server):", "Examples:\n"]
        {
            assert!(help.contains(part), "{part}\n{help}");
        }
        let (_, examples) = help.split_once("Examples:").unwrap();
        for part in ["--executor image", "--executor server", "--migrations "] {
            assert!(examples.contains(part), "{part}\n{help}");
        }
    }

    #[test]
    fn the_examples_of_the_help_have_only_flags_that_exist() {
        let commands = EXAMPLES.replace("\\\n", " ");
        let commands: Vec<&str> =
            commands.lines().filter_map(|line| line.split_once("bastion-migrate").map(|(_, args)| args)).collect();
        assert_eq!(commands.len(), 4);
        for command in commands {
            let words = shell_words::split(command).unwrap();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert_eq!(run(&words).faults, [], "{command}");
        }
    }

    #[test]
    fn prints_its_version() {
        assert!(matches!(line(&["--version"]), ParsedArgs::Print(text) if text.contains(env!("CARGO_PKG_VERSION"))));
    }
}
