//! An image that the engine can have: on the runner already, or in its registry.

use super::{
    client::{DockerEngine, engine_fault, http_status},
    image::{PullPolicy, RegistryCredentials, never_pulled_fault, pull_fault, with_default_tag},
};
use crate::fault::Fault;

/// An image that the engine has or can pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvailableImage {
    /// The place where it was found.
    pub source: ImageSource,
    /// The digest of the registry, or the engine's ID of an image that was never pushed.
    pub digest: String,
    /// The platforms that it is for, as in `linux/amd64`.
    pub platforms: Vec<String>,
    /// The platform of the engine.
    pub engine_platform: String,
}

/// The place where an image was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageSource {
    /// The engine has it, and does not pull it.
    Engine,
    /// It is pulled from its registry.
    Registry,
}

impl DockerEngine {
    /// Looks for the image where a run would take it from, without a pull.
    ///
    /// # Errors
    /// `image-missing`, `image-denied`, `image-rate-limit`, `registry-unreachable`, `engine-failed`.
    pub async fn look_for_image(
        &self,
        reference: &str,
        pull: PullPolicy,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<AvailableImage, Fault> {
        let engine = self.docker.version().await.map_err(|error| engine_fault("the engine has no version", &error))?;
        let engine_platform = platform(engine.os.as_deref(), engine.arch.as_deref());
        let local = match self.docker.inspect_image(reference).await {
            Ok(image) => Some(image),
            Err(error) if http_status(&error) == Some(404) => None,
            Err(error) => return Err(engine_fault(&format!("the image `{reference}` could not be inspected"), &error)),
        };
        match local.filter(|_| pull != PullPolicy::Always) {
            Some(image) => Ok(AvailableImage {
                source: ImageSource::Engine,
                digest: image.repo_digests.unwrap_or_default().pop().or(image.id).unwrap_or_default(),
                platforms: vec![platform(image.os.as_deref(), image.architecture.as_deref())],
                engine_platform,
            }),
            None if pull == PullPolicy::Never => Err(never_pulled_fault(reference)),
            None => {
                let login = credentials.map(|credentials| credentials.for_engine(reference));
                let found = self.docker.inspect_registry_image(&with_default_tag(reference), login).await;
                let found = found.map_err(|error| pull_fault(reference, credentials, &error))?;
                let platforms = found.platforms.iter();
                Ok(AvailableImage {
                    source: ImageSource::Registry,
                    digest: found.descriptor.digest.unwrap_or_default(),
                    platforms: platforms
                        .map(|each| platform(each.os.as_deref(), each.architecture.as_deref()))
                        .collect(),
                    engine_platform,
                })
            }
        }
    }
}

fn platform(os: Option<&str>, architecture: Option<&str>) -> String {
    format!("{}/{}", os.unwrap_or("linux"), architecture.unwrap_or("unknown"))
}
