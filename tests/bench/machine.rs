//! What was measured, where and with what: without it no figure can be compared.
#![expect(clippy::disallowed_methods, reason = "asks programs for their versions")]
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use crate::table::Table;
use std::{env, fs, process::Command, thread};

/// Prints the machine, the versions and the command.
pub(crate) fn introduce(asked: &[String]) {
    let only = if asked.is_empty() { String::new() } else { format!(" ONLY=\"{}\"", asked.join(" ")) };
    println!("# `make bench{only}`\n");
    let mut table = Table::new(["what", "which"]);
    for (what, which) in [
        ("processor", format!("{}, {} cores", processor(), thread::available_parallelism().map_or(0, usize::from))),
        ("kernel", format!("{} {}", first_line("uname", &["-sr"]), env::consts::ARCH)),
        (
            "bastion-migrate",
            format!("{}, {}", env!("CARGO_PKG_VERSION"), first_line("git", &["describe", "--always", "--dirty"])),
        ),
        ("PostgreSQL and psql", first_line("psql", &["--version"])),
        ("OpenSSH, both ends", first_line("ssh", &["-V"])),
    ] {
        table.row([what.to_owned(), which]);
    }
    table.print();
    println!(
        "Each figure is the median of the runs, in brackets the least and the most. Parties took turns in one run.\n"
    );
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned())
}

/// The first thing that a program says, on whichever stream.
pub(crate) fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let said = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&said).lines().next().unwrap_or("not there").to_owned()
}
