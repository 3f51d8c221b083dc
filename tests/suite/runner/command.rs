//! Commands in a line of the log. Source: `ActionCommand.cs`.

use std::collections::BTreeMap;

/// Commands of the runner; anything else is text.
const REGISTERED: [&str; 15] = [
    "set-env",
    "set-output",
    "save-state",
    "add-path",
    "add-mask",
    "add-matcher",
    "remove-matcher",
    "warning",
    "error",
    "notice",
    "debug",
    "group",
    "endgroup",
    "echo",
    "stop-commands",
];

/// One command. The case of names and keys does not matter; here they are in lower case.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) name: String,
    pub(super) properties: BTreeMap<String, String>,
    pub(super) data: String,
}

/// The names that are commands at the moment: while commands are stopped, the token is one, too.
#[derive(Debug, Default)]
pub(super) struct CommandNames {
    pub(super) token: Option<String>,
}

impl CommandNames {
    /// Parses the command in this line, in today's form or in the old one.
    pub(super) fn command(&self, line: &str) -> Option<Command> {
        self.version_2(line).or_else(|| self.version_1(line))
    }

    /// Returns whether commands may be stopped with this token.
    pub(super) fn may_stop_with(&self, token: &str) -> bool {
        !token.is_empty() && !self.has(token) && !token.eq_ignore_ascii_case("pause-logging")
    }

    fn has(&self, name: &str) -> bool {
        let same = |known: &str| known.eq_ignore_ascii_case(name);
        REGISTERED.into_iter().any(same) || self.token.as_deref().is_some_and(same)
    }

    /// Parses `::name key=value,key=value::data` at the start of a line.
    fn version_2(&self, line: &str) -> Option<Command> {
        let (header, data) = line.trim_start().strip_prefix("::")?.split_once("::")?;
        let unescape = |value: &str| data_unescaped(&value.replace("%3A", ":").replace("%2C", ","));
        self.named(header, ',', unescape, data_unescaped(data))
    }

    /// Parses `##[name key=value;key=value]data` anywhere in a line.
    fn version_1(&self, line: &str) -> Option<Command> {
        let (_, rest) = line.split_once("##[")?;
        let (header, data) = rest.split_once(']')?;
        let unescape = |value: &str| data_unescaped(&value.replace("%3B", ";").replace("%5D", "]"));
        self.named(header, ';', unescape, unescape(data))
    }

    fn named(&self, header: &str, separator: char, unescape: impl Fn(&str) -> String, data: String) -> Option<Command> {
        let (name, properties) = header.split_once(' ').unwrap_or((header, ""));
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=')?;
            (!key.is_empty() && !value.is_empty()).then(|| (key.to_lowercase(), unescape(value)))
        };
        let properties = properties.trim().split(separator).filter_map(pair).collect();
        self.has(name).then(|| Command { name: name.to_lowercase(), properties, data })
    }
}

/// Decodes the escapes; `%25` comes last, so that `%250A` is `%0A`.
fn data_unescaped(value: &str) -> String {
    value.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Command> {
        CommandNames::default().command(line)
    }

    fn warning(properties: &[(&str, &str)], data: &str) -> Option<Command> {
        let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Some(Command { name: "warning".to_owned(), properties, data: data.to_owned() })
    }

    /// Uses the vectors of the runner's own tests (`ActionCommandL0.cs`), with a registered name.
    #[test]
    fn reads_todays_form() {
        assert_eq!(read("::warning k1=v1,::msg"), warning(&[("k1", "v1")], "msg"));
        assert_eq!(read("::warning::"), warning(&[], ""));
        assert_eq!(read("::warning k1=%3B%3D%0D%0A%5D,::;-%0D%0A-]"), warning(&[("k1", "%3B%3D\r\n%5D")], ";-\r\n-]"));
        assert_eq!(read("::warning k1=%253B%250D%250A,::%2525"), warning(&[("k1", "%3B%0D%0A")], "%25"));
        assert_eq!(read("::warning k1=,k2=,::"), warning(&[], ""));
        assert_eq!(read("::warning k1=v1::"), warning(&[("k1", "v1")], ""));
        assert_eq!(read("   ::warning k1=v1,::msg"), warning(&[("k1", "v1")], "msg"));
        assert_eq!(read("::warning k1=v=1::a::b"), warning(&[("k1", "v=1")], "a::b"));
        assert_eq!(read("::warning K1=a%3A%3Ab%2Cc::m"), warning(&[("k1", "a::b,c")], "m"));
        assert_eq!(read("::WARNING::m"), warning(&[], "m"));
    }

    #[test]
    fn other_text_is_no_command() {
        for line in [
            ">>>   ::warning k1=v1,::msg",
            "::unknown::m",
            "::warning",
            ":: warning::m",
            "##[unknown]m",
            "##[warning m",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn reads_the_old_form_anywhere_in_a_line() {
        assert_eq!(read(">>> ##[warning k1=v1;]msg"), warning(&[("k1", "v1")], "msg"));
        assert_eq!(read("##[warning k1=%3B=%0D%0A%5D;]%3B-%0D%0A-%5D"), warning(&[("k1", ";=\r\n]")], ";-\r\n-]"));
        assert_eq!(read("##[warning k1=%253B%255D;]%25"), warning(&[("k1", "%3B%5D")], "%"));
    }

    #[test]
    fn keys_are_not_trimmed() {
        assert_eq!(read("::warning file=a, line=2::m"), warning(&[("file", "a"), (" line", "2")], "m"));
    }

    #[test]
    fn a_token_must_be_no_command_yet() {
        let known = CommandNames { token: Some("taken".to_owned()) };
        for token in ["", "warning", "Add-Mask", "pause-logging", "TAKEN"] {
            assert!(!known.may_stop_with(token), "{token}");
        }
        assert!(known.may_stop_with("tok123"));
    }
}
