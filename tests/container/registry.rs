//! A private registry on the machine's loopback address, where the engine requires no TLS. The registry and the images
//! pulled from it are removed when the test process ends.

use crate::{
    engine::{Container, command, docker, image},
    process::poll,
};
use std::{
    io::Write as _,
    path::Path,
    process::Stdio,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};
use tempfile::TempDir;

const IMAGE: &str = "bastion-migrate-registry:bookworm";

/// The user that may push and pull.
pub(crate) const ROBOT: &str = "robot";
/// The user's token, which has to be escaped in every format.
pub(crate) const PASSWORD: &str = "dop_v1_5e\"cret/0123+== %41";

/// The registry's script. The token is also a user name, as with some providers. `exec`, so that the registry is
/// process 1 and ends with the container.
const SERVE: &str = "
for user in robot \"$PASSWORD\"; do
    printenv PASSWORD | htpasswd -niB \"$user\" >> /etc/docker/registry/htpasswd
done
exec docker-registry serve /etc/docker/registry/config.yml";

static SHARED: LazyLock<Registry> = LazyLock::new(Registry::start);

/// Returns the registry that tests share.
pub(crate) fn shared() -> &'static Registry {
    image(IMAGE);
    &SHARED
}

/// A registry.
#[derive(Debug)]
pub(crate) struct Registry {
    address: String,
    container: Container,
    /// Held while an image is pushed: with its last tag, the engine removes its digest, too, and of two that do so at once
    /// one fails.
    pushing: Mutex<()>,
}

impl Registry {
    /// Starts a registry for the caller alone.
    pub(crate) fn start() -> Self {
        let options = ["--publish", "127.0.0.1::5000", "--env", &format!("PASSWORD={PASSWORD}")];
        let container = Container::start(&options, image(IMAGE), &["sh", "-euc", SERVE]);
        // Checked inside the container: outside, the engine's proxy accepts connections before the registry does.
        let listens = || container.try_exec(&["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/5000"]).ok();
        poll(Duration::from_secs(30), listens).unwrap_or_else(|| panic!("the registry: {}", container.log()));
        Self { address: docker(&["port", container.id(), "5000/tcp"]), container, pushing: Mutex::new(()) }
    }

    /// Returns the image reference of a name and a tag in this registry.
    pub(crate) fn reference(&self, name: &str) -> String {
        format!("{}/bastion-migrate-test-{}/{name}", self.address, std::process::id())
    }

    /// Pauses the registry: connections stay open and nothing is sent.
    pub(crate) fn freeze(&self) {
        docker(&["pause", self.container.id()]);
    }

    /// Pushes a local image by another name of this machine: what the engine drops then is not what a step has pulled.
    pub(crate) fn push(&self, image: &str, name: &str) -> String {
        let reference = self.reference(name);
        let (pushed, cli) = (by_other_name(&reference), Cli::of(self));
        let _pushing = self.pushing.lock().unwrap_or_else(PoisonError::into_inner);
        docker(&["tag", image, &pushed]);
        cli.run(&["push", "--quiet", &pushed]);
        docker(&["rmi", &pushed]);
        reference
    }

    /// Pushes a local image as one for s390x only.
    pub(crate) fn push_for_another_processor(&self, image: &str, name: &str) -> String {
        let (single, list) = (self.push(image, &format!("{name}-one")), self.reference(name));
        let cli = Cli::of(self);
        cli.run(&["manifest", "create", "--insecure", &list, &single]);
        cli.run(&["manifest", "annotate", "--os", "linux", "--arch", "s390x", &list, &single]);
        cli.run(&["manifest", "push", "--insecure", &list]);
        list
    }
}

/// Returns the address or reference with another name of this machine.
fn by_other_name(reference: &str) -> String {
    reference.replacen("127.0.0.1", "localhost", 1)
}

/// A docker CLI that has logged in. Its configuration is removed with the value.
struct Cli {
    home: TempDir,
}

impl Cli {
    fn of(registry: &Registry) -> Self {
        let cli = Self { home: TempDir::new().expect("there is room") };
        cli.log_in(&registry.address);
        cli.log_in(&by_other_name(&registry.address));
        cli
    }

    fn log_in(&self, address: &str) {
        let login = ["--config", self.home(), "login", "--username", ROBOT, "--password-stdin", address];
        let mut login = command(&login);
        let piped = login.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut login = piped.spawn().expect("docker was there a moment ago");
        let mut stdin = login.stdin.take().expect("stdin is a pipe");
        stdin.write_all(PASSWORD.as_bytes()).expect("the CLI reads the password");
        drop(stdin);
        let output = login.wait_with_output().expect("the CLI ends");
        assert!(output.status.success(), "the registry: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn run(&self, arguments: &[&str]) {
        docker(&[&["--config", self.home()], arguments].concat());
    }

    fn home(&self) -> &str {
        Path::to_str(self.home.path()).expect("temporary directories have plain names")
    }
}
