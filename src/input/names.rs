//! The names of the inputs, with the properties that `action.yml` can't express.

use std::fmt;

/// A group of inputs in `--help` and in the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum InputGroup {
    Command,
    Ssh,
    Database,
    Sql,
    Tool,
    Image,
    Server,
    Steps,
    Safety,
    Github,
}

impl InputGroup {
    /// Returns the group's heading.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Command => "Command",
            Self::Ssh => "SSH",
            Self::Database => "Database",
            Self::Sql => "SQL files",
            Self::Tool => "Tool",
            Self::Image => "Image",
            Self::Server => "Server",
            Self::Steps => "Steps",
            Self::Safety => "Safety",
            Self::Github => "GitHub",
        }
    }

    /// Returns the heading in `--help`, which names the executors that the group is for.
    pub(super) fn help_heading(self) -> &'static str {
        match self {
            Self::Sql => "SQL files (executor sql)",
            Self::Tool => "Tool (executors image and server)",
            Self::Image => "Image (executor image)",
            Self::Server => "Server (executor server)",
            other => other.title(),
        }
    }
}

/// The kind of value that an input takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    Text,
    Choice,
    Path,
    Address,
    Port,
    Duration,
    Number,
    /// A list or a mapping: YAML in the configuration file, YAML written as text everywhere else.
    Yaml,
    /// Masked everywhere, rejected as a flag and in the configuration file.
    Secret,
}

impl ValueKind {
    /// Returns the placeholder in `--help`.
    pub(super) fn placeholder(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Choice => "CHOICE",
            Self::Path => "PATH",
            Self::Address => "ADDRESS",
            Self::Port => "PORT",
            Self::Duration => "DURATION",
            Self::Number => "NUMBER",
            Self::Yaml => "YAML",
            Self::Secret => "SECRET",
        }
    }
}

macro_rules! names {
    ($($variant:ident $name:literal $group:ident $kind:ident [$($plain:literal)*] [$($prefixed:literal)*];)*) => {
        /// The name of an input.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum InputName { $($variant,)* }

        impl InputName {
            /// All inputs, in the order of `action.yml`.
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the name as written in workflows, in the configuration file and, after two dashes, on the
            /// command line.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the group of the input.
            pub(super) fn group(self) -> InputGroup {
                match self { $(Self::$variant => InputGroup::$group,)* }
            }

            /// Returns the kind of value that the input takes.
            pub(super) fn kind(self) -> ValueKind {
                match self { $(Self::$variant => ValueKind::$kind,)* }
            }

            /// Returns the environment variables that are read without a prefix.
            pub(super) fn variables(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($plain,)*],)* }
            }

            /// Returns the environment variables that are read only with the environment's prefix, in this order.
            pub(super) fn prefixed_variables(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($prefixed,)*],)* }
            }
        }
    };
}

// Input, group, kind, plain environment variables, environment variables with a prefix. Only secrets and the names for
// SSH and the database are looked up in the environment: words like TIMEOUT, TARGET or HOST are used by other programs.
names! {
    Command "command" Command Choice [] [];
    Resolve "resolve" Command Choice [] [];
    Executor "executor" Command Choice [] [];
    Environment "environment" Command Text [] [];
    Config "config" Command Path [] [];

    SshHost "ssh-host" Ssh Address ["SSH_HOST"] ["SSH_HOST" "HOST"];
    SshPort "ssh-port" Ssh Port ["SSH_PORT"] ["SSH_PORT"];
    SshUser "ssh-user" Ssh Text ["SSH_USER"] ["SSH_USER" "USER"];
    SshPrivateKey "ssh-private-key" Ssh Secret ["SSH_PRIVATE_KEY"] ["SSH_PRIVATE_KEY"];
    SshCertificate "ssh-certificate" Ssh Text ["SSH_CERTIFICATE"] ["SSH_CERTIFICATE"];
    SshPassphrase "ssh-passphrase" Ssh Secret ["SSH_PASSPHRASE"] ["SSH_PASSPHRASE"];
    SshPassword "ssh-password" Ssh Secret ["SSH_PASSWORD"] ["SSH_PASSWORD"];
    SshKnownHosts "ssh-known-hosts" Ssh Text ["SSH_KNOWN_HOSTS"] ["SSH_KNOWN_HOSTS"];
    SshFingerprint "ssh-fingerprint" Ssh Text ["SSH_FINGERPRINT"] ["SSH_FINGERPRINT"];
    SshJump "ssh-jump" Ssh Address ["SSH_JUMP"] ["SSH_JUMP"];
    ConnectTimeout "connect-timeout" Ssh Duration [] [];
    Keepalive "keepalive" Ssh Duration [] [];
    SshProxy "ssh-proxy" Ssh Text ["SSH_PROXY"] ["SSH_PROXY"];
    Via "via" Ssh Yaml [] [];

    DatabaseUrl "database-url" Database Secret ["DATABASE_URL"] ["DATABASE_URL" "DB_URL"];
    DatabaseHost "database-host" Database Address ["DATABASE_HOST"] ["DATABASE_HOST" "DB_HOST"];
    DatabasePort "database-port" Database Port ["DATABASE_PORT"] ["DATABASE_PORT" "DB_PORT"];
    DatabaseUser "database-user" Database Text ["DATABASE_USER"] ["DATABASE_USER" "DB_USER"];
    DatabasePassword "database-password" Database Secret ["DATABASE_PASSWORD"] ["DATABASE_PASSWORD" "DB_PASSWORD"];
    DatabaseName "database-name" Database Text ["DATABASE_NAME"] ["DATABASE_NAME" "DB_NAME"];
    DatabaseRole "database-role" Database Text ["DATABASE_ROLE"] ["DATABASE_ROLE" "DB_ROLE"];
    DatabaseSslmode "database-sslmode" Database Choice ["DATABASE_SSLMODE"] ["DATABASE_SSLMODE" "DB_SSLMODE"];
    DatabaseCa "database-ca" Database Text ["DATABASE_CA"] ["DATABASE_CA" "DB_CA"];
    DatabaseCert "database-cert" Database Text ["DATABASE_CERT"] ["DATABASE_CERT" "DB_CERT"];
    DatabaseKey "database-key" Database Secret ["DATABASE_KEY"] ["DATABASE_KEY" "DB_KEY"];
    DatabaseAuth "database-auth" Database Yaml [] [];
    WaitTimeout "wait-timeout" Database Duration [] [];

    Migrations "migrations" Sql Path [] [];
    Layout "layout" Sql Choice [] [];
    LedgerTable "ledger-table" Sql Text [] [];
    Target "target" Sql Text [] [];
    OutOfOrder "out-of-order" Sql Choice [] [];
    Gaps "gaps" Sql Choice [] [];
    Missing "missing" Sql Choice [] [];
    Tenants "tenants" Sql Yaml [] [];
    From "from" Sql Text [] [];
    Placeholders "placeholders" Sql Text [] [];

    Tool "tool" Tool Text [] [];
    Run "run" Tool Text [] [];
    CommandPrefix "command-prefix" Tool Text [] [];
    Manage "manage" Tool Text [] [];
    WorkingDirectory "working-directory" Tool Path [] [];
    Env "env" Tool Text [] [];
    PassEnv "pass-env" Tool Text [] [];

    Image "image" Image Text [] [];
    Pull "pull" Image Choice [] [];
    RegistryUsername "registry-username" Image Text ["REGISTRY_USERNAME"] ["REGISTRY_USERNAME"];
    RegistryPassword "registry-password" Image Secret ["REGISTRY_PASSWORD"] ["REGISTRY_PASSWORD"];
    ImageEntrypoint "image-entrypoint" Image Text [] [];
    MountWorkspace "mount-workspace" Image Choice [] [];
    Memory "memory" Image Text [] [];

    Setup "setup" Server Text [] [];

    Before "before" Steps Yaml [] [];
    Steps "steps" Steps Yaml [] [];
    After "after" Steps Yaml [] [];
    Health "health" Steps Yaml [] [];

    Timeout "timeout" Safety Duration [] [];
    LockWait "lock-wait" Safety Duration [] [];
    LockTimeout "lock-timeout" Safety Duration [] [];
    StatementTimeout "statement-timeout" Safety Duration [] [];
    Retries "retries" Safety Number [] [];
    ExpectPlan "expect-plan" Safety Text [] [];
    ExpectRehearsal "expect-rehearsal" Safety Text [] [];
    StartWhen "start-when" Safety Text [] [];
    Lint "lint" Safety Yaml [] [];
    Risk "risk" Safety Yaml [] [];
    Allow "allow" Safety Text [] [];
    Backup "backup" Safety Yaml [] [];
    Rehearse "rehearse" Safety Secret ["BASTION_MIGRATE_REHEARSE"] ["BASTION_MIGRATE_REHEARSE"];
    SchemaFile "schema-file" Safety Path [] [];
    Audit "audit" Safety Choice [] [];
    Aftercare "aftercare" Safety Text [] [];

    GithubToken "github-token" Github Secret ["GITHUB_TOKEN"] [];
    Comment "comment" Github Choice [] [];
    CommentKey "comment-key" Github Text [] [];
    Summary "summary" Github Choice [] [];
    Notify "notify" Github Secret ["BASTION_MIGRATE_NOTIFY"] ["BASTION_MIGRATE_NOTIFY"];
}

impl InputName {
    /// Returns the input with this name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|input| input.name() == name)
    }

    /// Returns whether its value must be hidden.
    pub(super) fn is_secret(self) -> bool {
        self.kind() == ValueKind::Secret
    }

    /// Returns whether it is written as YAML.
    pub(super) fn is_yaml(self) -> bool {
        self.kind() == ValueKind::Yaml
    }

    /// Returns the input that `misspelt` misspells, if it is so similar that it can hardly mean anything else: one letter
    /// in four may be wrong.
    pub(super) fn guess_misspelt(misspelt: &str) -> Option<Self> {
        let distance = |name: &Self| strsim::damerau_levenshtein(misspelt, name.name());
        Self::ALL.iter().copied().filter(|name| (1..=misspelt.len() / 4).contains(&distance(name))).min_by_key(distance)
    }

    /// Returns the input whose name is most similar to a misspelt one.
    pub(super) fn nearest_name(misspelt: &str) -> Option<&'static str> {
        nearest_candidate(misspelt, Self::ALL.iter().map(|name| name.name()))
    }
}

impl fmt::Display for InputName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Joins names for a sentence: "`a`, `b` and `c`".
pub(super) fn list_quoted(names: &[impl fmt::Display]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [others @ .., last] if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        quoted => quoted.concat(),
    }
}

/// Least Jaro-Winkler similarity of a name that is worth suggesting.
const MIN_SIMILARITY: f64 = 0.8;

/// Returns the candidate most similar to a misspelt word, if one is similar enough.
pub(super) fn nearest_candidate<'a>(misspelt: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let normalized = misspelt.to_lowercase().replace('_', "-");
    candidates
        .map(|candidate| (strsim::jaro_winkler(&normalized, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= MIN_SIMILARITY)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_similar_names() {
        assert_eq!(InputName::nearest_name("ssh_pasword"), Some("ssh-password"));
        assert_eq!(InputName::nearest_name("Lock-Timout"), Some("lock-timeout"));
        assert_eq!(InputName::nearest_name("qqq"), None);
    }

    #[test]
    fn takes_a_word_as_misspelt_only_if_it_can_hardly_mean_anything_else() {
        for (misspelt, name) in
            [("expect-plna", InputName::ExpectPlan), ("taget", InputName::Target), ("time-out", InputName::Timeout)]
        {
            assert_eq!(InputName::guess_misspelt(misspelt), Some(name), "{misspelt}");
        }
        for misspelt in ["", "tag", "gap", "database", "host", "version", "ssh-key", "target"] {
            assert_eq!(InputName::guess_misspelt(misspelt), None, "{misspelt}");
        }
    }

    #[test]
    fn reads_no_generic_variable_from_the_environment() {
        for name in InputName::ALL {
            for variable in name.variables() {
                let has_own_prefix = ["SSH_", "DATABASE_", "REGISTRY_", "GITHUB_TOKEN", "BASTION_MIGRATE_"]
                    .iter()
                    .any(|prefix| variable.starts_with(prefix));
                assert!(has_own_prefix, "{variable}");
            }
        }
    }

    #[test]
    fn reads_the_names_of_the_first_users_after_a_prefix() {
        let variables: Vec<&str> = InputName::ALL.iter().flat_map(|name| name.prefixed_variables()).copied().collect();
        for variable in "HOST USER SSH_PASSWORD DB_HOST DB_PORT DB_USER DB_PASSWORD DB_NAME DATABASE_URL".split(' ') {
            assert!(variables.contains(&variable), "{variable}");
        }
    }
}
