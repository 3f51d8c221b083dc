//! The findings about the Docker engine and the images.

use crate::{
    docker::{AvailableImage, ImageSource},
    fault::{Code, Fault},
    run::{Check, DoctorFinding},
    site::Containers,
};
use std::collections::BTreeSet;
use tokio::time::{Instant, timeout_at};

/// The findings, and whether containers can run.
#[derive(Debug)]
pub(super) struct ExaminedImages {
    pub(super) findings: Vec<DoctorFinding>,
    /// The reason why no command can run in a container now; `None` if it can.
    pub(super) missing: Option<&'static str>,
}

/// Connects to the engine, looks for every image, and gets those that can be had before the deadline.
pub(super) async fn examine_images(
    containers: &mut Containers<'_>,
    references: BTreeSet<&str>,
    deadline: Instant,
) -> ExaminedImages {
    let connected = timeout_at(deadline, containers.connect()).await.unwrap_or_else(|_| {
        Err(Fault::new(Code::EngineFailed, "the Docker engine has not answered within the time of the check"))
    });
    if let Err(fault) = connected {
        let skipped = DoctorFinding::not_checked(Check::Image, "it needs the Docker engine");
        let findings = vec![DoctorFinding::failed(Check::Engine, fault), skipped];
        return ExaminedImages { findings, missing: Some("it needs the Docker engine") };
    }
    let mut findings = vec![DoctorFinding::good(Check::Engine, "it answers")];
    let mut missing = None;
    for reference in references {
        let (of_image, lacks) = examine_image(containers, reference, deadline).await;
        findings.extend(of_image.into_iter().map(|finding| finding.about(reference)));
        missing = missing.or(lacks);
    }
    if missing.is_none()
        && let Err(fault) = containers.open_endpoint().await
    {
        findings.push(DoctorFinding::failed(Check::DatabaseUrl, fault));
        missing = Some("it needs the database's port in this container");
    }
    ExaminedImages { findings, missing }
}

async fn examine_image(
    containers: &mut Containers<'_>,
    reference: &str,
    deadline: Instant,
) -> (Vec<DoctorFinding>, Option<&'static str>) {
    let found = match timeout_at(deadline, containers.look_for_image(reference)).await {
        Ok(Ok(found)) => found,
        Ok(Err(fault)) => return (vec![DoctorFinding::failed(Check::Image, fault)], Some("it needs the image")),
        Err(_) => {
            let silent = "the registry has not answered within the time of the check";
            return (vec![DoctorFinding::not_checked(Check::Image, silent)], Some("it needs the image"));
        }
    };
    let architecture = judge_architecture(&found);
    match timeout_at(deadline, containers.get_image(reference)).await {
        Ok(Ok(())) => (vec![describe_image(&found), architecture], None),
        Ok(Err(fault)) => (vec![DoctorFinding::failed(Check::Image, fault), architecture], Some("it needs the image")),
        Err(_) => (
            vec![describe_image(&found), architecture],
            Some("the image is too large to be pulled within the time of the check: pull it in an earlier step"),
        ),
    }
}

fn describe_image(found: &AvailableImage) -> DoctorFinding {
    let place = match found.source {
        ImageSource::Engine => "the engine has it",
        ImageSource::Registry => "the registry has it",
    };
    DoctorFinding::good(Check::Image, format!("{place}: {}", found.digest))
}

/// An emulator may run an image for another processor, slowly.
fn judge_architecture(found: &AvailableImage) -> DoctorFinding {
    let AvailableImage { platforms, engine_platform, .. } = found;
    let is_for_us = platforms.is_empty() || platforms.contains(engine_platform);
    match is_for_us {
        true => DoctorFinding::good(Check::Architecture, engine_platform.clone()),
        false => {
            let cause = format!("the image is for {}, and the engine runs on {engine_platform}", platforms.join(", "));
            DoctorFinding::warning_of(Check::Architecture, Fault::new(Code::ImagePlatform, cause))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_for_another_processor_is_a_warning() {
        let image = |platforms: &[&str]| AvailableImage {
            source: ImageSource::Registry,
            digest: String::new(),
            platforms: platforms.iter().map(|platform| (*platform).to_owned()).collect(),
            engine_platform: "linux/arm64".to_owned(),
        };
        let state = |platforms: &[&str]| judge_architecture(&image(platforms)).state.name();
        assert_eq!(state(&["linux/amd64", "linux/arm64"]), "good");
        assert_eq!(state(&["linux/amd64"]), "warning");
        assert_eq!(state(&[]), "good");
    }
}
