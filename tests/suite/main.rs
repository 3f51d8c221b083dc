//! The suite: one binary, a file per feature. `cfg(test)` tells clippy that the helpers are tests as well.

#[cfg(test)]
mod bastion;
#[cfg(test)]
mod lab;
