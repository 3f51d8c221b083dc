//! Parses the backup: a word, or a mapping.

use super::{
    image_reference::parse_image_reference,
    mapping::{MappingReader, YamlOrigin, fault_about, scalar_text},
    site::{ExecutorChoice, SITES, SiteOverride},
    size::parse_size,
    value::{self, InvalidValue},
};
use crate::{
    fault::{Code, Fault, FilePosition},
    settings::{DumpContent, DumpedTables},
    tool::CommandLine,
};
use age::x25519::Recipient;
use serde_yaml::Value;

const KEYS: [&str; 8] = ["what", "tables", "max", "image", "to", "encrypt-to", "command", "executor"];

/// The keys of a dump; a command of the user's own has none of them.
const DUMP_KEYS: [&str; 5] = ["what", "tables", "max", "to", "encrypt-to"];

const CONTENTS: [(&str, DumpContent); 2] = [("schema", DumpContent::Schema), ("data", DumpContent::Data)];

/// The parsed input `backup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ParsedBackup {
    /// `off`: no backup, regardless of the defaults.
    Off,
    Dump(Box<ParsedDump>),
    Snapshot(Box<ParsedSnapshot>),
}

/// A dump by `pg_dump`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParsedDump {
    pub(crate) content: DumpContent,
    pub(crate) tables: DumpedTables,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) image: Option<String>,
    pub(crate) destination: ParsedDestination,
    pub(crate) recipient: Option<Recipient>,
}

/// The destination of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ParsedDestination {
    /// A file with a name of our own.
    Unnamed,
    /// A file at this path, as the user wrote it.
    File(String),
    /// The standard input of a command.
    Command(CommandLine),
}

/// A command that makes a backup elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParsedSnapshot {
    pub(crate) title: String,
    pub(crate) position: Option<FilePosition>,
    pub(crate) line: CommandLine,
    pub(crate) site_override: SiteOverride,
}

impl ParsedBackup {
    /// Returns the executor that the backup is meant for.
    pub(crate) fn executor_in_use(&self, default_executor: ExecutorChoice) -> Option<ExecutorChoice> {
        match self {
            Self::Off => None,
            Self::Dump(dump) => Some(match (default_executor, &dump.image) {
                (ExecutorChoice::Server, None) => ExecutorChoice::Server,
                (ExecutorChoice::Sql | ExecutorChoice::Image | ExecutorChoice::Server, _) => ExecutorChoice::Image,
            }),
            Self::Snapshot(snapshot) => Some(snapshot.site_override.intended_executor(default_executor)),
        }
    }
}

/// Parses the input: `off`, `schema`, `data`, or a mapping.
pub(crate) fn parse_backup(value: &Value, origin: &YamlOrigin, faults: &mut Vec<Fault>) -> Option<ParsedBackup> {
    let Value::Mapping(mapping) = value else { return parse_word(value, origin, faults) };
    let mut fields = MappingReader::new(mapping, origin.title.clone(), origin.positions.first().cloned());
    fields.reject_unknown_keys(&KEYS);
    let parsed = match fields.has_key("command") {
        true => read_snapshot(&mut fields).map(|snapshot| ParsedBackup::Snapshot(Box::new(snapshot))),
        false => Some(ParsedBackup::Dump(Box::new(read_dump(&mut fields)))),
    };
    let MappingReader { faults: found, .. } = fields;
    let is_valid = found.is_empty();
    faults.extend(found);
    parsed.filter(|_| is_valid)
}

/// Parses the short form.
fn parse_word(value: &Value, origin: &YamlOrigin, faults: &mut Vec<Fault>) -> Option<ParsedBackup> {
    let text = scalar_text(value).ok().flatten().unwrap_or_default();
    let content = match text.trim() {
        "off" | "false" => return Some(ParsedBackup::Off),
        word => value::parse_choice(word, &CONTENTS).ok(),
    };
    if content.is_none() {
        let cause = "it is neither `off`, `schema` nor `data`, nor a mapping";
        let fault = fault_about(Code::InputInvalid, &origin.title, origin.positions.first(), cause);
        faults.push(fault.fix("write it as `backup: data`, or as `backup: { what: data, tables: plan, max: 20GB }`"));
    }
    Some(ParsedBackup::Dump(Box::new(ParsedDump {
        content: content?,
        tables: DumpedTables::All,
        max_bytes: None,
        image: None,
        destination: ParsedDestination::Unnamed,
        recipient: None,
    })))
}

fn read_dump(fields: &mut MappingReader<'_>) -> ParsedDump {
    if fields.has_key("executor") {
        let fix = "remove `executor`; name an `image` with pg_dump to run it in a container";
        fields.add_invalid("pg_dump runs where the migration does", fix);
    }
    let dump = ParsedDump {
        content: fields.read_value("what", |text| value::parse_choice(text, &CONTENTS)).unwrap_or(DumpContent::Data),
        tables: read_tables(fields),
        max_bytes: fields.read_value("max", parse_size),
        image: fields.read_value("image", parse_image_reference),
        destination: read_destination(fields),
        recipient: fields.read_value("encrypt-to", parse_recipient),
    };
    if matches!(dump.destination, ParsedDestination::Command(_)) && fields.has_key("encrypt-to") {
        let fix = "remove `encrypt-to` and let the command encrypt, as in `age --recipient age1… | aws s3 cp - s3://…`";
        fields.add_invalid("`encrypt-to` is for a file, and `to` names a command", fix);
    }
    dump
}

fn read_tables(fields: &mut MappingReader<'_>) -> DumpedTables {
    let names: Vec<String> = match fields.value("tables") {
        None | Some(Value::Null) => return DumpedTables::All,
        Some(Value::Sequence(list)) => {
            list.iter().map(|name| scalar_text(name).ok().flatten().unwrap_or_default().trim().to_owned()).collect()
        }
        Some(_) => match fields.read_text("tables") {
            Some(word) if word == "plan" => return DumpedTables::OfPlan,
            Some(name) => vec![name],
            None => return DumpedTables::All,
        },
    };
    if names.is_empty() {
        fields.add_invalid("`tables` is an empty list", "name the tables, or remove `tables` to dump all of them");
    }
    for name in &names {
        if let Err(InvalidValue { cause, fix }) = value::parse_table(name) {
            fields.add_invalid(&format!("`tables` has `{name}`, which {cause}"), format!("write it as {fix}"));
        }
    }
    DumpedTables::Named(names)
}

fn read_destination(fields: &mut MappingReader<'_>) -> ParsedDestination {
    let Some(Value::Mapping(mapping)) = fields.value("to") else {
        return fields.read_text("to").map_or(ParsedDestination::Unnamed, ParsedDestination::File);
    };
    let title = format!("`to` of {}", fields.title);
    let mut inner = MappingReader::new(mapping, title, fields.position.clone());
    inner.reject_unknown_keys(&["command"]);
    let command = inner.read_command_line("command");
    if command.is_none() && inner.faults.is_empty() {
        inner.add_invalid("it has no `command`", "write it as `to: { command: restic backup --stdin }`");
    }
    fields.faults.extend(inner.faults);
    command.map_or(ParsedDestination::Unnamed, ParsedDestination::Command)
}

fn read_snapshot(fields: &mut MappingReader<'_>) -> Option<ParsedSnapshot> {
    for key in DUMP_KEYS {
        if fields.has_key(key) {
            let fix = format!("remove `{key}`, or write the command as `to: {{ command: … }}` for it to read a dump");
            fields.add_invalid(&format!("`command` makes the whole backup, so `{key}` has no effect"), fix);
        }
    }
    let line = fields.read_command_line("command");
    let image = fields.read_value("image", parse_image_reference);
    let executor = fields.read_value("executor", |text| value::parse_choice(text, &SITES));
    // An image of its own says where it runs.
    let executor = executor.or(image.as_ref().map(|_| ExecutorChoice::Image));
    let site_override = SiteOverride { executor, image };
    Some(ParsedSnapshot { title: fields.title.clone(), position: fields.position.clone(), line: line?, site_override })
}

/// Parses a recipient of age (the specification C2SP.org/age, "The X25519 recipient type").
fn parse_recipient(text: &str) -> Result<Recipient, InvalidValue> {
    text.parse().map_err(|_reason: &str| {
        InvalidValue::new(
            "is not a recipient of age",
            "the public key that `age-keygen` prints, as in age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> (Option<ParsedBackup>, Vec<Fault>) {
        let origin = YamlOrigin { title: "`backup`".to_owned(), positions: Vec::new() };
        let mut faults = Vec::new();
        (parse_backup(&serde_yaml::from_str(text).unwrap(), &origin, &mut faults), faults)
    }

    fn dump(text: &str) -> ParsedDump {
        match parse_text(text) {
            (Some(ParsedBackup::Dump(dump)), faults) if faults.is_empty() => *dump,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_backup_is_a_word_or_a_mapping() {
        assert_eq!(parse_text("off").0, Some(ParsedBackup::Off));
        assert_eq!(parse_text("false").0, Some(ParsedBackup::Off));
        assert_eq!(dump("schema").content, DumpContent::Schema);
        assert_eq!((dump("data").tables, dump("{}").content), (DumpedTables::All, DumpContent::Data));
        let whole = dump("{ what: data, tables: plan, max: 20GB, image: 'postgres:17', to: backups/before.dump }");
        assert_eq!((whole.tables, whole.max_bytes), (DumpedTables::OfPlan, Some(20_000_000_000)));
        assert_eq!(whole.image.as_deref(), Some("postgres:17"));
        assert_eq!(whole.destination, ParsedDestination::File("backups/before.dump".to_owned()));
        let named = dump("{ tables: [orders, app.items] }").tables;
        assert_eq!(named, DumpedTables::Named(vec!["orders".to_owned(), "app.items".to_owned()]));
        let piped = dump("{ to: { command: restic backup --stdin } }").destination;
        assert_eq!(piped, ParsedDestination::Command(CommandLine::Shell("restic backup --stdin".to_owned())));
    }

    #[test]
    fn a_command_of_the_users_own_runs_where_steps_run() {
        let (Some(ParsedBackup::Snapshot(snapshot)), _) = parse_text("{ command: ./snapshot, image: cli }") else {
            panic!("no snapshot")
        };
        assert_eq!(snapshot.line, CommandLine::Shell("./snapshot".to_owned()));
        assert_eq!(snapshot.site_override.image.as_deref(), Some("cli"));
    }

    #[test]
    fn reports_faults_of_the_mapping() {
        for (text, cause) in [
            ("all", "it is neither `off`, `schema` nor `data`, nor a mapping"),
            ("[]", "it is neither `off`"),
            ("{ whta: data }", "there is no key `whta`"),
            ("{ max: 20 }", "`max` is `20`: it is not an amount of bytes"),
            ("{ tables: [] }", "`tables` is an empty list"),
            ("{ tables: [Orders] }", "`tables` has `Orders`, which is not the name of a table"),
            ("{ to: { cmd: x } }", "there is no key `cmd`"),
            ("{ to: {} }", "it has no `command`"),
            ("{ encrypt-to: age1x }", "it is not a recipient of age"),
            ("{ command: x, tables: plan }", "`command` makes the whole backup, so `tables` has no effect"),
            ("{ executor: server }", "pg_dump runs where the migration does"),
        ] {
            let (parsed, faults) = parse_text(text);
            assert!(parsed.is_none() && faults.len() == 1 && faults[0].cause.contains(cause), "{text}: {faults:#?}");
        }
        let recipient = age::x25519::Identity::generate().to_public();
        let (parsed, faults) = parse_text(&format!("{{ to: {{ command: cat }}, encrypt-to: {recipient} }}"));
        assert!(parsed.is_none() && faults[0].cause.contains("`encrypt-to` is for a file"), "{faults:#?}");
    }
}
