//! The findings of `command: doctor`: each check and its result.

use crate::fault::{Code, Fault};
use serde::{Serialize, Serializer, ser::SerializeStruct as _};

/// The part of the environment that a check looks at, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// The migration files.
    Files,
    /// The event, the token, the environment.
    Github,
    /// The SSH connection, hop by hop.
    Route,
    /// The database.
    Database,
    /// The Docker engine and the images.
    Image,
    /// The deployment server.
    Server,
}

impl Area {
    /// Returns the name that users see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Github => "github",
            Self::Route => "route",
            Self::Database => "database",
            Self::Image => "image",
            Self::Server => "server",
        }
    }
}

/// Declares the checks with their areas and names.
macro_rules! checks {
    ($($area:ident { $($(#[$comment:meta])+ $check:ident $name:literal,)+ })+) => {
        /// One check. Each has a row in `docs/doctor.md`, which a test demands.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Check { $($($(#[$comment])+ $check,)+)+ }

        impl Check {
            /// All checks, in the order of the report.
            pub const ALL: &'static [Self] = &[$($(Self::$check,)+)+];

            /// Returns the name that users see.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($(Self::$check => $name,)+)+ }
            }

            /// Returns the area.
            #[must_use]
            pub fn area(self) -> Area {
                match self { $($(Self::$check => Area::$area,)+)+ }
            }
        }
    };
}

checks! {
    Files {
        /// The migration files can be read, and their layout is known.
        Files "files",
        /// The file in `schema-file` can be read.
        SchemaFile "schema-file",
        /// The files, or the tool's list, agree with the ledger.
        Plan "plan",
    }
    Github {
        /// The event that started the run.
        Event "event",
        /// The environment.
        Environment "environment",
        /// The token can do what the inputs ask for.
        Token "token",
    }
    Route {
        /// A hop answers as an SSH server.
        Hop "hop",
        /// The host key is the pinned one.
        HostKey "host key",
        /// The log-in succeeds.
        LogIn "log-in",
        /// The certificate of the user.
        UserCertificate "user certificate",
        /// The clock agrees with the runner's.
        Clock "clock",
        /// The bastion opens connections to the database.
        Forwarding "forwarding",
    }
    Database {
        /// The database accepts a session.
        Session "session",
        /// The connection is encrypted as asked.
        Tls "TLS",
        /// The server's certificate.
        Certificate "certificate",
        /// The version and its end of life.
        Version "version",
        /// The server is no read-only standby.
        Primary "primary",
        /// A connection pooler.
        Pooler "pooler",
        /// The role of the sessions.
        Role "role",
        /// The rights of the role.
        Rights "rights",
        /// The owners of what migrations change.
        Owners "owners",
        /// The ledger.
        Ledger "ledger",
        /// Other tools' ledgers.
        OtherLedgers "other ledgers",
        /// The run lock.
        RunLock "run lock",
        /// The time limits that the database sets for sessions.
        Timeouts "timeouts",
        /// The free connections.
        Connections "connections",
        /// The event triggers.
        EventTriggers "event triggers",
        /// INVALID indexes.
        Indexes "indexes",
        /// Constraints that are NOT VALID.
        Constraints "constraints",
        /// Sequences near their end.
        Sequences "sequences",
        /// Replication slots without a reader.
        ReplicationSlots "replication slots",
        /// The size of the database.
        Size "size",
    }
    Image {
        /// The Docker engine.
        Engine "engine",
        /// The image can be had.
        Image "image",
        /// The image is for the runner's processor.
        Architecture "architecture",
        /// The tool in the image.
        ImageTool "tool in the image",
        /// The tool's settings use the database of this run.
        DatabaseUrl "DATABASE_URL",
    }
    Server {
        /// The login has a shell.
        Shell "shell",
        /// The login's home can hold the files of a run.
        Home "home",
        /// A program lets a command outlive the connection.
        Setsid "setsid",
        /// The working directory.
        WorkingDirectory "working-directory",
        /// The virtual environment that `setup` activates.
        Venv "venv",
        /// The free space.
        Disk "disk",
        /// The tool on the server.
        ServerTool "tool on the server",
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoctorFinding {
    /// The check.
    pub check: Check,
    /// The object that was checked, if a run has several: a hop, an image; empty otherwise. Untrusted text.
    pub object: String,
    /// The result.
    pub state: FindingState,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindingState {
    /// Nothing to do.
    Good {
        /// The facts. Untrusted text.
        detail: String,
    },
    /// A migration can run, but something needs attention.
    Warning {
        /// The cause. Untrusted text.
        detail: String,
        /// The fix.
        fix: String,
        /// The kind of failure that it can become, if it has one.
        code: Option<Code>,
    },
    /// A migration would fail with this fault.
    Failed(Box<Fault>),
    /// The check was not possible.
    NotChecked {
        /// What it needs, or the reason. Untrusted text.
        detail: String,
    },
}

impl DoctorFinding {
    /// Creates a finding that needs nothing.
    #[must_use]
    pub fn good(check: Check, detail: impl Into<String>) -> Self {
        Self::of(check, FindingState::Good { detail: detail.into() })
    }

    /// Creates a finding that needs attention.
    #[must_use]
    pub fn warning(check: Check, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::of(check, FindingState::Warning { detail: detail.into(), fix: fix.into(), code: None })
    }

    /// Creates a finding that needs attention from a fault that would not end a migration now.
    #[must_use]
    pub fn warning_of(check: Check, fault: Fault) -> Self {
        let Fault { cause, fix, code, .. } = fault;
        Self::of(check, FindingState::Warning { detail: cause, fix, code: Some(code) })
    }

    /// Creates a finding that a migration would fail with.
    #[must_use]
    pub fn failed(check: Check, fault: Fault) -> Self {
        Self::of(check, FindingState::Failed(Box::new(fault)))
    }

    /// Creates the finding of a check that was not possible.
    #[must_use]
    pub fn not_checked(check: Check, detail: impl Into<String>) -> Self {
        Self::of(check, FindingState::NotChecked { detail: detail.into() })
    }

    fn of(check: Check, state: FindingState) -> Self {
        Self { check, object: String::new(), state }
    }

    /// Names the object that was checked.
    #[must_use]
    pub fn about(self, object: impl Into<String>) -> Self {
        Self { object: object.into(), ..self }
    }

    /// Returns the check and its object as users see them.
    #[must_use]
    pub fn subject(&self) -> String {
        match self.object.as_str() {
            "" => self.check.name().to_owned(),
            object => format!("{} {object}", self.check.name()),
        }
    }

    /// Returns the area and the subject as users see them.
    #[must_use]
    pub fn title(&self) -> String {
        match self.check.area().name() {
            area if area == self.check.name() => self.subject(),
            area => format!("{area}: {}", self.subject()),
        }
    }

    /// Returns the facts, the cause or the reason.
    #[must_use]
    pub fn detail(&self) -> &str {
        match &self.state {
            FindingState::Good { detail }
            | FindingState::Warning { detail, .. }
            | FindingState::NotChecked { detail } => detail,
            FindingState::Failed(fault) => &fault.cause,
        }
    }

    /// Returns the fix, if there is something to fix.
    #[must_use]
    pub fn fix(&self) -> Option<&str> {
        match &self.state {
            FindingState::Good { .. } | FindingState::NotChecked { .. } => None,
            FindingState::Warning { fix, .. } => Some(fix),
            FindingState::Failed(fault) => Some(&fault.fix),
        }
    }

    /// Returns the fault that a migration would fail with, if there is one.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match &self.state {
            FindingState::Failed(fault) => Some(fault),
            FindingState::Good { .. } | FindingState::Warning { .. } | FindingState::NotChecked { .. } => None,
        }
    }
}

impl FindingState {
    /// Returns the name in the output `report`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Good { .. } => "good",
            Self::Warning { .. } => "warning",
            Self::Failed(_) => "failed",
            Self::NotChecked { .. } => "not-checked",
        }
    }

    /// Returns the sign in log and summary.
    #[must_use]
    pub fn sign(&self) -> &'static str {
        match self {
            Self::Good { .. } => "✅",
            Self::Warning { .. } => "⚠️",
            Self::Failed(_) => "❌",
            Self::NotChecked { .. } => "➖",
        }
    }

    fn code(&self) -> Option<Code> {
        match self {
            Self::Good { .. } | Self::NotChecked { .. } => None,
            Self::Warning { code, .. } => *code,
            Self::Failed(fault) => Some(fault.code),
        }
    }
}

impl Serialize for DoctorFinding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut finding = serializer.serialize_struct("DoctorFinding", 6)?;
        finding.serialize_field("area", &self.check.area())?;
        finding.serialize_field("subject", &self.subject())?;
        finding.serialize_field("state", self.state.name())?;
        finding.serialize_field("detail", self.detail())?;
        finding.serialize_field("fix", &self.fix())?;
        finding.serialize_field("code", &self.state.code())?;
        finding.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = include_str!("../../docs/doctor.md");

    #[test]
    fn every_check_has_a_row_under_its_area_and_no_row_lacks_a_check() {
        let (mut documented, mut area) = (Vec::new(), "");
        for line in DOCS.lines() {
            area = line.strip_prefix("## ").unwrap_or(area);
            if let Some(name) = line.strip_prefix("| `").and_then(|row| row.split('`').next()) {
                documented.push(format!("{area}: {name}"));
            }
        }
        let known: Vec<String> =
            Check::ALL.iter().map(|check| format!("{}: {}", check.area().name(), check.name())).collect();
        assert_eq!(documented, known);
    }

    #[test]
    fn a_finding_is_written_with_its_fix_and_the_code_of_its_fault() {
        let failed = DoctorFinding::failed(Check::Hop, Fault::new(Code::BastionRefused, "no").fix("do")).about("b:22");
        let expected = serde_json::json!({
            "area": "route", "subject": "hop b:22", "state": "failed", "detail": "no", "fix": "do",
            "code": "bastion-refused",
        });
        assert_eq!(serde_json::to_value(&failed).unwrap(), expected);
        let good = serde_json::to_value(DoctorFinding::good(Check::Size, "1 GB")).unwrap();
        assert!(good["fix"].is_null() && good["code"].is_null() && good["state"] == "good", "{good}");
    }
}
