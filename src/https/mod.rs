//! HTTPS connections as the environment prescribes them, for GitHub's API and for webhooks. Knows neither of them.

mod client;
mod network;

pub use client::{HttpsClient, HttpsError, server_of};
pub use network::NetworkSettings;
