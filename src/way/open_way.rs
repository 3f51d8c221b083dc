//! The open way: it returns a stream for each connection.

use super::{
    command_stream::{CommandLabel, CommandStream, LastFailure},
    proxy::connect_through,
    proxy_command::fill_in_target,
    relay,
    way_in::{ProxyServer, WayIn, shown_address},
};
use crate::{
    fault::{Code, Fault},
    program::{Companion, HOLDING_PROGRAM, UserProgram, is_in_own_image, start_local},
    run::{event::Events, program::StartedProgram},
};
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};
use tokio_util::either::Either;

/// A stream to the first machine.
pub type WayStream = Either<TcpStream, Box<CommandStream>>;

/// An open way. Dropping it ends its container without waiting; `close` waits and reports errors.
#[derive(Debug)]
pub struct OpenWay {
    means: Box<Means>,
    failure: LastFailure,
    events: Events,
}

/// The means by which streams are opened.
#[derive(Debug)]
enum Means {
    Direct,
    DirectOrProxy(ProxyServer),
    Proxy(ProxyServer),
    /// A port on the loopback of our own network.
    Loopback(u16),
    /// A port on the loopback of the runner, beyond our container.
    Relay(u16, Companion),
    InImage(UserProgram, Companion),
    Local(UserProgram),
}

const NO_PROGRAM_FIX: &str = "name the whole path of the program, or install it in an earlier step";

const IMAGE_FIX: &str =
    "name a program that is in the `image` of `via`, or another image; the command is no line for a shell";

const NO_PROGRAMS_HERE_FIX: &str = "set `image` in `via` to an image that has the program, or use the program in place of the \
    action (`.github/binary`), where the command runs on the runner";

impl OpenWay {
    /// Opens the way: starts the container of a command or of the relay, if there is one.
    ///
    /// # Errors
    /// The fault of the engine or the image; `via-not-started`.
    pub async fn open(way: &WayIn, events: &Events) -> Result<Self, Fault> {
        let means = match way {
            WayIn::Direct => Means::Direct,
            WayIn::DirectOrProxy(proxy) => Means::DirectOrProxy(proxy.clone()),
            WayIn::Proxy(proxy) => Means::Proxy(proxy.clone()),
            WayIn::Runner { port } if is_in_own_image() => Means::Relay(*port, Companion::start_on_runner().await?),
            WayIn::Runner { port } => Means::Loopback(*port),
            WayIn::Command(command) => match &command.image {
                Some(image) => Means::InImage(command.clone(), Companion::start_for(command, image, events).await?),
                None if is_in_own_image() => {
                    let cause =
                        format!("{} can't be started: the action's container has no programs", label_of(command).shown);
                    return Err(Fault::new(Code::ViaNotStarted, cause).fix(NO_PROGRAMS_HERE_FIX));
                }
                None => Means::Local(command.clone()),
            },
        };
        if !way.is_direct() {
            events.emit_note(format!("the way in is {way}"));
        }
        Ok(Self { means: Box::new(means), failure: LastFailure::default(), events: events.clone() })
    }

    /// Opens a stream to this address. Returns `None` if a plain TCP connection is the way: the caller makes it.
    ///
    /// # Errors
    /// `via-refused`, `via-failed`, `via-not-started`; `proxy-failed`, `proxy-login`, `proxy-target`; `engine-failed`.
    pub async fn open_stream(&self, host: &str, port: u16, limit: Duration) -> Result<Option<WayStream>, Fault> {
        let stream = match &*self.means {
            Means::Direct => return Ok(None),
            Means::DirectOrProxy(proxy) => Either::Left(self.dial_or_connect(proxy, host, port, limit).await?),
            Means::Proxy(proxy) => Either::Left(connect_through(proxy, host, port, limit).await?),
            Means::Loopback(port) => Either::Left(relay::dial_loopback(*port).await?),
            Means::Relay(port, companion) => {
                let program = companion.start_program(&[HOLDING_PROGRAM.to_owned(), port.to_string()], &[]).await?;
                let label =
                    CommandLabel { shown: "the relay to the runner's loopback".to_owned(), start_fix: String::new() };
                let mut stream = self.stream_of(program, label);
                let verdict = timeout(limit, relay::read_verdict(&mut stream, *port)).await.unwrap_or_else(|_late| {
                    Err(Fault::new(Code::ViaRefused, "the relay to the runner's loopback does not answer"))
                });
                verdict.map_err(|fault| self.failure().filter(|_| fault.code == Code::ViaFailed).unwrap_or(fault))?;
                Either::Right(Box::new(stream))
            }
            Means::InImage(command, companion) => {
                let argv = fill_in_target(&command.argv, host, port);
                let program = companion.start_program(&argv, &command.environment()).await?;
                Either::Right(Box::new(self.stream_of(program, label_of(command))))
            }
            Means::Local(command) => {
                let label = label_of(command);
                let started = start_local(command, &fill_in_target(&command.argv, host, port)).map_err(|error| {
                    Fault::new(Code::ViaNotStarted, format!("{} can't be started on this machine", label.shown))
                        .fix(label.start_fix.clone())
                        .with_causes(&error)
                })?;
                Either::Right(Box::new(self.stream_of(started, label)))
            }
        };
        Ok(Some(stream))
    }

    fn stream_of(&self, program: StartedProgram, label: CommandLabel) -> CommandStream {
        CommandStream::new(program, label, self.failure.clone(), self.events.clone())
    }

    /// Connects directly within half of the time, or through the proxy: a network that has nothing but the proxy often
    /// drops the packets of a direct connection.
    async fn dial_or_connect(
        &self,
        proxy: &ProxyServer,
        host: &str,
        port: u16,
        limit: Duration,
    ) -> Result<TcpStream, Fault> {
        let reason = match timeout(limit / 2, TcpStream::connect((host, port))).await {
            Ok(Ok(stream)) => {
                drop(stream.set_nodelay(true));
                return Ok(stream);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        let address = shown_address(host, port);
        self.events.emit_note(format!(
            "`{address}` can't be reached directly ({reason}), so the connection goes through the proxy `{proxy}` of {}",
            proxy.origin
        ));
        connect_through(proxy, host, port, limit / 2)
            .await
            .map_err(|fault| fault.detail(format!("the direct connection to `{address}`: {reason}")))
    }

    /// Returns why the last stream ended, if its command ended it and no later stream worked.
    #[must_use]
    pub fn failure(&self) -> Option<Fault> {
        self.failure.get()
    }

    /// Closes the way, after its streams.
    ///
    /// # Errors
    /// `engine-failed`.
    pub async fn close(self) -> Result<(), Fault> {
        match *self.means {
            Means::Relay(_, companion) | Means::InImage(_, companion) => Box::pin(companion.close()).await,
            Means::Direct | Means::DirectOrProxy(_) | Means::Proxy(_) | Means::Loopback(_) | Means::Local(_) => Ok(()),
        }
    }
}

/// Returns whether the same attempt may succeed a little later.
#[must_use]
pub fn may_pass(fault: &Fault) -> bool {
    matches!(fault.code, Code::ViaRefused | Code::ProxyFailed | Code::ProxyTarget)
}

fn label_of(command: &UserProgram) -> CommandLabel {
    let start_fix = match command.image {
        Some(_) => IMAGE_FIX,
        None => NO_PROGRAM_FIX,
    };
    CommandLabel { shown: command.shown(), start_fix: start_fix.to_owned() }
}
