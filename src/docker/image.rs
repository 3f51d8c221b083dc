//! Images: pull policy, credentials, and identity.

use super::client::{DockerEngine, engine_fault, engine_message, http_status};
use crate::{
    fault::{Code, Fault},
    run::{
        ImageFacts,
        event::{Event, Events},
    },
    secret::Secret,
};
use bollard::{auth::DockerCredentials, errors::Error, query_parameters::CreateImageOptionsBuilder};
use futures_util::TryStreamExt as _;
use std::time::Duration;
use tokio::time::Instant;

/// The condition for a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// Only if the engine does not have the image.
    Missing,
    /// Every time.
    Always,
    /// Never.
    Never,
}

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its identity for the report.
    pub facts: ImageFacts,
    /// The words that it puts in front of every command.
    pub entrypoint: Vec<String>,
}

/// The credentials for a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryCredentials {
    /// The user.
    pub username: String,
    /// A password or a token.
    pub password: Secret,
}

impl RegistryCredentials {
    /// Returns them as the engine expects them, for the registry of this image.
    pub(super) fn for_engine(&self, reference: &str) -> DockerCredentials {
        DockerCredentials {
            username: Some(self.username.clone()),
            password: Some(self.password.expose().to_owned()),
            serveraddress: registry_host(reference).map(str::to_owned),
            ..DockerCredentials::default()
        }
    }
}

/// Interval between two notes about the progress of a pull.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

impl DockerEngine {
    /// Ensures that the engine has the image, and returns its identity.
    ///
    /// # Errors
    /// `image-missing`, `image-denied`, `image-platform`, `image-rate-limit`, `registry-unreachable`.
    pub async fn ensure_image(
        &self,
        reference: &str,
        pull: PullPolicy,
        credentials: Option<&RegistryCredentials>,
        events: &Events,
    ) -> Result<Image, Fault> {
        let local = match self.inspect_image(reference).await {
            Ok(image) => Some(image),
            Err(error) if http_status(&error) == Some(404) => None,
            Err(error) => return Err(engine_fault(&format!("the image `{reference}` could not be inspected"), &error)),
        };
        match (pull, local) {
            (PullPolicy::Missing | PullPolicy::Never, Some(image)) => return Ok(image),
            (PullPolicy::Never, None) => return Err(never_pulled_fault(reference)),
            (PullPolicy::Always, _) | (PullPolicy::Missing, None) => {}
        }
        self.pull_image(reference, credentials, events).await?;
        self.inspect_image(reference)
            .await
            .map_err(|error| engine_fault(&format!("the image `{reference}` is missing after its pull"), &error))
    }

    async fn inspect_image(&self, reference: &str) -> Result<Image, Error> {
        let image = self.docker.inspect_image(reference).await?;
        let digests = image.repo_digests.unwrap_or_default();
        let repository = repository_name(reference);
        let digest = digests.iter().find(|digest| digest.starts_with(&format!("{repository}@"))).or(digests.first());
        let id = image.id.unwrap_or_default();
        let facts = ImageFacts { reference: reference.to_owned(), id, digest: digest.cloned() };
        let entrypoint = image.config.and_then(|config| config.entrypoint).unwrap_or_default();
        Ok(Image { facts, entrypoint })
    }

    async fn pull_image(
        &self,
        reference: &str,
        credentials: Option<&RegistryCredentials>,
        events: &Events,
    ) -> Result<(), Fault> {
        events.emit(Event::Waiting { what: format!("the image `{reference}`"), why: "it is being pulled".to_owned() });
        let options = CreateImageOptionsBuilder::new().from_image(&with_default_tag(reference)).build();
        let login = credentials.map(|credentials| credentials.for_engine(reference));
        let mut steps = std::pin::pin!(self.docker.create_image(Some(options), None, login));
        let mut reported_at = Instant::now();
        while let Some(step) = steps.try_next().await.map_err(|error| pull_fault(reference, credentials, &error))? {
            if let Some(message) = step.error_detail.and_then(|detail| detail.message) {
                return Err(classify_pull_error(reference, credentials, &message, None));
            }
            if reported_at.elapsed() >= PROGRESS_INTERVAL
                && let Some(status) = step.status
            {
                reported_at = Instant::now();
                events.emit_note(format!("pulling {reference}: {status}"));
            }
        }
        Ok(())
    }
}

/// Returns the fault of an image that may not be pulled.
pub(super) fn never_pulled_fault(reference: &str) -> Fault {
    let cause = format!("the engine does not have the image `{reference}`, and `pull` is `never`");
    Fault::new(Code::ImageMissing, cause).fix("pull or build it in an earlier step, or set `pull: missing`")
}

/// Returns the fault of a request to the registry that the engine made for us.
pub(super) fn pull_fault(reference: &str, credentials: Option<&RegistryCredentials>, error: &Error) -> Fault {
    classify_pull_error(reference, credentials, &engine_message(error), http_status(error))
}

/// Derives the fault from the engine's message, since its statuses hardly distinguish the failures of a pull (moby,
/// `distribution/errors.go`; registries use the wording of the distribution API).
fn classify_pull_error(
    reference: &str,
    credentials: Option<&RegistryCredentials>,
    message: &str,
    status: Option<u16>,
) -> Fault {
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| message.to_lowercase().contains(phrase));
    let fault = if has(&["toomanyrequests", "rate limit", "too many requests"]) {
        Fault::new(Code::ImageRateLimit, format!("the registry's limit for pulls of `{reference}` is reached"))
    } else if has(&["no matching manifest", "does not match the detected", "no match for platform"]) {
        Fault::new(Code::ImagePlatform, format!("the image `{reference}` is not made for this runner's processor"))
    } else if has(&["unauthorized", "authentication required", "denied", "no basic auth", "incorrect username"]) {
        let reason = match credentials {
            Some(_) => "the registry does not accept `registry-username` and `registry-password`, or they may not pull",
            None => "the registry requires a login (or the image does not exist there)",
        };
        Fault::new(Code::ImageDenied, format!("`{reference}` can't be pulled: {reason}"))
    } else if has(&["not found", "manifest unknown", "does not exist", "no such image", "name unknown"])
        || status == Some(404)
    {
        Fault::new(Code::ImageMissing, format!("the registry has no image `{reference}`"))
    } else if has(&[
        "no such host",
        "connection refused",
        "timeout",
        "deadline exceeded",
        "no route",
        "server gave http",
        "x509",
        "tls:",
    ]) {
        Fault::new(Code::RegistryUnreachable, format!("the engine can't reach the registry of `{reference}`"))
    } else {
        Fault::new(Code::EngineFailed, format!("the image `{reference}` can't be pulled"))
    };
    fault.detail(format!("the engine's message: {message}"))
}

/// Adds `latest` to a reference without a tag or a digest, for which the engine would pull every tag.
pub(super) fn with_default_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains(':') || last.contains('@') { reference.to_owned() } else { format!("{reference}:latest") }
}

/// Returns the reference without tag and digest.
fn repository_name(reference: &str) -> &str {
    let reference = reference.split('@').next().unwrap_or(reference);
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => reference,
    }
}

/// Returns the registry's host, if the reference contains one: a first part with a dot, a port, or `localhost`
/// (distribution, `reference/normalize.go`).
fn registry_host(reference: &str) -> Option<&str> {
    let (first, _) = reference.split_once('/')?;
    (first.contains(['.', ':']) || first == "localhost").then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_parts_of_a_reference() {
        assert_eq!(with_default_tag("localhost:5000/app"), "localhost:5000/app:latest");
        assert_eq!(with_default_tag("app:1"), "app:1");
        assert_eq!(with_default_tag("app@sha256:00"), "app@sha256:00");
        assert_eq!(repository_name("localhost:5000/a/app"), "localhost:5000/a/app");
        assert_eq!(repository_name("ghcr.io/a/app:1@sha256:00"), "ghcr.io/a/app");
        assert_eq!(registry_host("ghcr.io/a/app"), Some("ghcr.io"));
        assert_eq!(registry_host("library/app"), None);
    }

    #[test]
    fn distinguishes_the_failures_of_a_pull() {
        for (message, code) in [
            (
                "pull access denied for app, repository does not exist or may require 'docker login': denied",
                Code::ImageDenied,
            ),
            ("unauthorized: authentication required", Code::ImageDenied),
            ("manifest for app:x not found: manifest unknown: manifest unknown", Code::ImageMissing),
            ("toomanyrequests: You have reached your pull rate limit.", Code::ImageRateLimit),
            ("no matching manifest for linux/amd64 in the manifest list entries", Code::ImagePlatform),
            ("Get \"https://x/v2/\": dial tcp: lookup x: no such host", Code::RegistryUnreachable),
            ("something else", Code::EngineFailed),
        ] {
            let fault = classify_pull_error("app:x", None, message, None);
            assert_eq!(fault.code, code, "{message}");
            assert!(fault.detail[0].contains(message));
        }
    }
}
