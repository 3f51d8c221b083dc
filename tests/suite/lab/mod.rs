//! Real servers on loopback, in temporary directories, stopped when dropped.

pub(crate) mod sshd;
