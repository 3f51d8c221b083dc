//! A look at the server that changes nothing there: the login's shell and home, and what a command needs.

use super::{
    fault::{self, start_refusal},
    reply::request_messages,
    request::ScriptRequest,
    script::ShellScript,
};
use crate::{fault::Fault, ssh::Tunnel};

/// What a server has for a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerState {
    /// The reason why the home can't hold the files of a run.
    pub home: Option<Fault>,
    /// The reason why no command can outlive the connection.
    pub setsid: Option<Fault>,
    /// The reason why the working directory can't be used.
    pub directory: Option<Fault>,
    /// The virtual environment that `setup` activates, if it activates one: its path, or why it is not there.
    pub environment: Option<Result<String, Fault>>,
    /// The file systems of home and working directory.
    pub disks: Vec<FreeSpace>,
}

/// The free space of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeSpace {
    /// Its mount point. Untrusted text.
    pub mount: String,
    /// Number of free KiB.
    pub free_kib: u64,
}

/// Examines the server as the login, for a command like this.
///
/// # Errors
/// `server-no-shell`, and those of [`Tunnel::start_program`].
pub async fn examine_server(tunnel: &Tunnel, script: &ShellScript) -> Result<ServerState, Fault> {
    let mut request = ScriptRequest::new()?;
    request.set_variable("name", "").set_variable("owner", "").assign_word("directory", &script.directory_word());
    let environment = script.virtual_environment();
    let activation = environment.map(environment_script).unwrap_or_default();
    // The script of the directory ends its shell if it refuses.
    let parts = ["(\n", include_str!("script/directory.sh"), ")\n", &activation, include_str!("script/examine.sh")];
    let messages = request_messages(tunnel, &request, &parts).await?;
    Ok(ServerState::from_messages(&messages, script))
}

/// Returns the part of the script that looks for a virtual environment, in the working directory.
fn environment_script(path: &str) -> String {
    format!("(cd -- \"${{directory:-.}}\" 2>/dev/null && ! [ -e {path}/bin/activate ] && say environment)\n")
}

impl ServerState {
    fn from_messages(messages: &[String], script: &ShellScript) -> Self {
        let environment = script.virtual_environment().map(str::to_owned);
        let mut state = Self { environment: environment.clone().map(Ok), ..Self::default() };
        for message in messages {
            match message.split_once(' ').unwrap_or((message, "")) {
                ("home", _) => state.home = start_refusal(message, script),
                ("setsid", _) => state.setsid = start_refusal(message, script),
                ("directory", _) => state.directory = start_refusal(message, script),
                ("environment", _) => {
                    state.environment = environment
                        .as_deref()
                        .map(|path| Err(fault::setup_failed("1 no-environment", Some(path), None)));
                }
                ("disk", space) => state.disks.extend(FreeSpace::parse(space)),
                _ => {}
            }
        }
        state.disks.dedup();
        state
    }
}

impl FreeSpace {
    fn parse(text: &str) -> Option<Self> {
        let (free, mount) = text.split_once(' ')?;
        Some(Self { mount: mount.to_owned(), free_kib: free.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Code;

    #[test]
    fn reads_the_messages_of_the_script() {
        let script = ShellScript {
            working_directory: Some("app".to_owned()),
            setup: "source venv/bin/activate".to_owned(),
            ..ShellScript::default()
        };
        let state = |messages: &[&str]| {
            let messages: Vec<String> = messages.iter().map(|message| (*message).to_owned()).collect();
            ServerState::from_messages(&messages, &script)
        };
        let good = state(&["disk Available Mounted on", "disk 2048 /", "disk 2048 /", "shell"]);
        let root = FreeSpace { mount: "/".to_owned(), free_kib: 2048 };
        let environment = Some(Ok("venv".to_owned()));
        assert_eq!(good, ServerState { environment, disks: vec![root], ..ServerState::default() });
        let bad = state(&["directory missing", "environment", "home /h", "setsid"]);
        let codes = [bad.directory, bad.environment.unwrap().err(), bad.home, bad.setsid];
        let codes = codes.map(|fault| fault.unwrap().code);
        let expected = [Code::ServerDirectoryMissing, Code::ServerSetupFailed, Code::ServerHome, Code::ServerNoSetsid];
        assert_eq!(codes, expected);
    }
}
