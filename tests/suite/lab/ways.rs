//! Ways in: a tunnel on the loopback, as an earlier step leaves it, and the proxies of Debian.
#![expect(clippy::disallowed_methods, reason = "tests start servers and wait for them")]

use super::{
    login::Login,
    process::{ServerProcess, directory, free_port, poll, program},
};
use std::{fs, net::TcpStream, path::Path, process::Command, time::Duration};
use tempfile::TempDir;

/// The password of a proxy's user; tinyproxy takes no other signs.
pub(crate) const PROXY_PASSWORD: &str = "pr0xy-Pa55.word";

/// The same in a URL.
pub(crate) const PROXY_PASSWORD_IN_URL: &str = "pr0xy%2DPa55%2Eword";

/// A server on the loopback that is another way to reach a port.
#[derive(Debug)]
pub(crate) struct WayServer {
    // Before the directory: the process must end before its directory is removed.
    _process: ServerProcess,
    _directory: TempDir,
    /// The account of its user, if it knows one.
    _account: Option<Login>,
    /// The scheme, and the login in front of its address.
    prefix: String,
    port: u16,
}

impl WayServer {
    /// Starts socat, which passes connections on to this port: the tunnel of an earlier step.
    pub(crate) fn tunnel_to(port: u16) -> Self {
        Self::tunnel_to_address(&format!("127.0.0.1:{port}"))
    }

    /// The same to a port of another machine.
    pub(crate) fn tunnel_to_address(address: &str) -> Self {
        Self::tunnel(free_port(), address)
    }

    /// Starts it at a port of the caller's choice.
    pub(crate) fn tunnel_at(own_port: u16, port: u16) -> Self {
        Self::tunnel(own_port, &format!("127.0.0.1:{port}"))
    }

    fn tunnel(own_port: u16, address: &str) -> Self {
        let mut socat = Command::new(program("socat", "socat"));
        socat.arg(format!("TCP-LISTEN:{own_port},bind=127.0.0.1,reuseaddr,fork")).arg(format!("TCP:{address}"));
        Self::start(&socat, directory(), own_port, (None, String::new()))
    }

    /// Starts Dante, a SOCKS proxy, which lets everybody on this machine in, and refuses port 9.
    pub(crate) fn dante() -> Self {
        Self::dante_with("none", (None, "socks5://".to_owned()))
    }

    /// Starts Dante with a user, who is one of the machine's.
    pub(crate) fn dante_with_login() -> Self {
        let account = Login::create(PROXY_PASSWORD);
        let prefix = format!("socks5://{}:{PROXY_PASSWORD_IN_URL}@", account.name());
        Self::dante_with("username", (Some(account), prefix))
    }

    fn dante_with(method: &str, login: (Option<Login>, String)) -> Self {
        let (directory, port) = (directory(), free_port());
        let config = format!(
            "logoutput: stderr\ninternal: 127.0.0.1 port = {port}\nexternal: lo\nsocksmethod: {method}\nclientmethod: none\n\
             user.privileged: root\nuser.unprivileged: nobody\nclient pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n\
             socks block {{ from: 127.0.0.0/8 to: 0.0.0.0/0 port = 9 }}\n\
             socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n"
        );
        let mut danted = Command::new(program("danted", "dante-server"));
        danted.arg("-f").arg(write(&directory, &config));
        Self::start(&danted, directory, port, login)
    }

    /// Starts tinyproxy, an HTTP proxy, which opens tunnels to this port alone.
    pub(crate) fn tinyproxy(allowed: u16) -> Self {
        Self::tinyproxy_with(allowed, "", "http://".to_owned())
    }

    /// Starts tinyproxy with a user.
    pub(crate) fn tinyproxy_with_login(allowed: u16) -> Self {
        let line = format!("BasicAuth runner {PROXY_PASSWORD}\n");
        Self::tinyproxy_with(allowed, &line, format!("http://runner:{PROXY_PASSWORD_IN_URL}@"))
    }

    fn tinyproxy_with(allowed: u16, line: &str, prefix: String) -> Self {
        let (directory, port) = (directory(), free_port());
        let config =
            format!("Port {port}\nListen 127.0.0.1\nTimeout 600\nAllow 127.0.0.1\n{line}ConnectPort {allowed}\n");
        let mut tinyproxy = Command::new(program("tinyproxy", "tinyproxy"));
        tinyproxy.arg("-d").arg("-c").arg(write(&directory, &config));
        Self::start(&tinyproxy, directory, port, (None, prefix))
    }

    fn start(command: &Command, directory: TempDir, port: u16, (account, prefix): (Option<Login>, String)) -> Self {
        let log = directory.path().join("log");
        let process = ServerProcess::start(command, directory.path(), &log, "TERM");
        poll(Duration::from_secs(10), || TcpStream::connect(("127.0.0.1", port)).ok())
            .unwrap_or_else(|| panic!("{command:?}: {}", fs::read_to_string(&log).unwrap_or_default()));
        Self { _process: process, _directory: directory, _account: account, prefix, port }
    }

    /// Returns its port on the loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the URL of a proxy, with its login.
    pub(crate) fn url(&self) -> String {
        format!("{}127.0.0.1:{}", self.prefix, self.port)
    }

    /// Returns `via` for a tunnel.
    pub(crate) fn via(&self) -> String {
        format!("runner:{}", self.port)
    }
}

fn write(directory: &TempDir, config: &str) -> std::path::PathBuf {
    let path: &Path = directory.path();
    let path = path.join("config");
    fs::write(&path, config).expect("the directory is writable");
    path
}
