//! The machine and the versions of a measurement, without which its figures can't be compared.
#![expect(clippy::disallowed_methods, reason = "runs programs for their versions")]
#![expect(clippy::print_stdout, reason = "prints its results")]

use crate::table::Table;
use std::{env, fs, process::Command, thread};

/// Prints the machine, the versions and the command.
pub(crate) fn print_machine(topics: &[String]) {
    let only = if topics.is_empty() { String::new() } else { format!(" ONLY=\"{}\"", topics.join(" ")) };
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
        "Each figure is the median of the runs, with the minimum and the maximum in brackets. Parties took turns in one run.\n"
    );
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned())
}

/// Returns the first line of a program's output on either stream.
pub(crate) fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("not installed").to_owned()
}
