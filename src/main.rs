//! The binary: environment → library → exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    bastion_migrate::run_program(std::env::args_os().collect(), std::env::vars_os().collect())
}
