//! Plain bytes with each cipher and each integrity check that libssh2 and OpenSSH have in common.

use super::{
    Connections, Via,
    load::{Load, Size},
    peer::Peer,
};
use crate::{
    sample::in_turns,
    table::{Table, heading},
    world::{World, runtime},
};

/// The ciphers, and the integrity checks of those that have none of their own.
const CIPHERS: [(&str, Option<&str>); 8] = [
    ("aes128-gcm@openssh.com", None),
    ("aes256-gcm@openssh.com", None),
    ("chacha20-poly1305@openssh.com", None),
    ("aes128-ctr", Some("hmac-sha2-256-etm@openssh.com")),
    ("aes128-ctr", Some("hmac-sha2-512-etm@openssh.com")),
    ("aes128-ctr", Some("hmac-sha2-256")),
    ("aes192-ctr", Some("hmac-sha2-256-etm@openssh.com")),
    ("aes256-ctr", Some("hmac-sha2-256-etm@openssh.com")),
];

const RUNS: usize = 3;

const SIZE: Size = Size::megabytes_of(256);

/// Prints the table.
pub(crate) fn run() {
    heading(
        "Ciphers",
        "Megabytes (10⁶) per second of plain bytes on one stream without a distance, as in *Bulk*, with a bastion that offers one cipher and \
         one integrity check. The tunnel prefers the first one of the list that a bastion has. *Two threads* is the tunnel with its \
         client on another thread; the ratios are those of the tunnel as it is, and with two threads, to `ssh -L`.",
    );
    let mut table = Table::new([
        "cipher",
        "integrity",
        "load",
        "tunnel",
        "two threads",
        "ssh -L",
        "tunnel / ssh -L",
        "two threads / ssh -L",
    ]);
    for (cipher, integrity) in CIPHERS {
        let check = integrity.map(|name| format!("\nMACs {name}")).unwrap_or_default();
        let (world, runtime, peer) =
            (World::with_bastion(&format!("Ciphers {cipher}{check}")), runtime(), Peer::start());
        let connections = Connections::new(&world, &runtime, &peer, None);
        for load in [Load::Down, Load::Up] {
            let vias = [Via::Tunnel, Via::TwoThreads, Via::Ssh];
            let [[tunnel, _], [threads, _], [ssh, _]] =
                in_turns(RUNS, vias, |via| runtime.block_on(connections.measure(via, load, SIZE)));
            table.row([
                cipher.to_owned(),
                integrity.unwrap_or("its own").to_owned(),
                load.name().to_owned(),
                tunnel.to_string(),
                threads.to_string(),
                ssh.to_string(),
                format!("{:.2}×", tunnel.over(&ssh)),
                format!("{:.2}×", threads.over(&ssh)),
            ]);
        }
        runtime.block_on(connections.transport.close()).expect("the tunnel closes");
    }
    table.print();
}
