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
const CIPHERS: [(&str, Option<&str>); 9] = [
    ("aes128-gcm@openssh.com", None),
    ("aes256-gcm@openssh.com", None),
    ("chacha20-poly1305@openssh.com", None),
    ("aes128-ctr", Some("hmac-sha2-256-etm@openssh.com")),
    ("aes128-ctr", Some("hmac-sha2-512-etm@openssh.com")),
    ("aes128-ctr", Some("hmac-sha2-256")),
    ("aes128-ctr", Some("hmac-sha1")),
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
         one integrity check. The tunnel prefers the first one of the list that a bastion has.",
    );
    let mut table =
        Table::new(["cipher", "integrity", "down: tunnel", "ssh -L", "ratio", "up: tunnel", "ssh -L", "ratio"]);
    for (cipher, integrity) in CIPHERS {
        let check = integrity.map(|name| format!("\nMACs {name}")).unwrap_or_default();
        let (world, runtime, peer) =
            (World::with_bastion(&format!("Ciphers {cipher}{check}")), runtime(), Peer::start());
        let connections = Connections::new(&world, &runtime, &peer, None);
        let [down, up] = [Load::Down, Load::Up].map(|load| {
            let vias = [Via::Tunnel, Via::Ssh];
            let [[tunnel, _], [ssh, _]] =
                in_turns(RUNS, vias, |via| runtime.block_on(connections.measure(via, load, SIZE)));
            (tunnel.to_string(), ssh.to_string(), format!("{:.2}×", tunnel.over(&ssh)))
        });
        let integrity = integrity.unwrap_or("its own").to_owned();
        table.row([cipher.to_owned(), integrity, down.0, down.1, down.2, up.0, up.1, up.2]);
        runtime.block_on(connections.transport.close()).expect("the tunnel closes");
    }
    table.print();
}
