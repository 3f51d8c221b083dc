//! Programs that the user names, each in a container of its image or as a process of this machine. Knows nothing of their
//! purpose.
//!
//! [`UserProgram`] is a program as data. A [`Companion`] is the container in which programs are started, [`start_local`]
//! starts one on this machine.

mod companion;
mod local_program;
mod user_program;

pub use companion::{Companion, HOLDING_PROGRAM, is_in_own_image, is_start_failure};
pub use local_program::start_local;
pub use user_program::{ProgramImage, UserProgram};
