//! The `docker run` command line of a stage (`DockerCommandManager.cs`).

use std::collections::BTreeMap;

/// The container's image, name and label, as the runner chooses them.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    image: &'static str,
    /// The entrypoint of the stage, if `action.yml` names one; overrides the image's own.
    entrypoint: Option<String>,
    pub(crate) name: String,
    /// The label that the runner puts on each of its containers.
    pub(crate) label: String,
}

impl Container {
    pub(crate) fn new(image: &'static str, entrypoint: Option<String>) -> Self {
        Self { image, entrypoint, name: format!("{}_{}", sanitized(image), six_digits()), label: six_digits() }
    }

    /// Returns the arguments in the runner's order, with the names of the variables only.
    pub(crate) fn arguments(
        &self,
        environment: &BTreeMap<String, String>,
        network: Option<&str>,
        mounts: &[(String, &'static str)],
    ) -> Vec<String> {
        let mut arguments: Vec<String> = ["run", "--name", &self.name, "--label", &self.label]
            .iter()
            .chain(&["--workdir", "/github/workspace", "--rm"])
            .map(|argument| (*argument).to_owned())
            .collect();
        let mut add = |option: &str, value: &str| arguments.extend([option.to_owned(), value.to_owned()]);
        environment.keys().for_each(|name| add("-e", name));
        add("-e", "GITHUB_ACTIONS=true");
        if !environment.contains_key("CI") {
            add("-e", "CI=true");
        }
        if let Some(entrypoint) = &self.entrypoint {
            add("--entrypoint", entrypoint);
        }
        if let Some(network) = network {
            add("--network", network);
        }
        mounts.iter().for_each(|(host, inside)| add("-v", &format!("{host}:{inside}")));
        arguments.push(self.image.to_owned());
        arguments
    }
}

/// Keeps letters, digits and underscores, and removes leading digits (`NameValidation.Sanitize`).
fn sanitized(image: &str) -> String {
    let kept: String = image.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect();
    kept.trim_start_matches(|letter: char| letter.is_ascii_digit()).to_owned()
}

fn six_digits() -> String {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).expect("there are random bytes");
    format!("{:06x}", u32::from_le_bytes(bytes) & 0xff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_started_as_the_runner_starts_it() {
        let (name, label) = ("imagetag_0a1b2c".to_owned(), "3d4e5f".to_owned());
        let mut container = Container { image: "image:tag", entrypoint: None, name, label };
        let environment = [("A", "1"), ("INPUT_DRY-RUN", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mounts = [("/w/_temp".to_owned(), "/github/runner_temp"), ("/w/r/r".to_owned(), "/github/workspace")];
        let arguments = container.arguments(&environment.into(), Some("github_network_0"), &mounts);
        let expected = "run --name imagetag_0a1b2c --label 3d4e5f --workdir /github/workspace --rm -e A -e INPUT_DRY-RUN \
            -e GITHUB_ACTIONS=true -e CI=true --network github_network_0 -v /w/_temp:/github/runner_temp \
            -v /w/r/r:/github/workspace image:tag";
        assert_eq!(arguments.join(" "), expected);
        let own = [("CI".to_owned(), "no".to_owned())].into();
        container.entrypoint = Some("/post".to_owned());
        let arguments = container.arguments(&own, None, &[]).join(" ");
        assert!(arguments.ends_with("--rm -e CI -e GITHUB_ACTIONS=true --entrypoint /post image:tag"), "{arguments}");
    }

    #[test]
    fn image_names_are_sanitized_for_container_names() {
        assert_eq!(sanitized("bastion-migrate:dev"), "bastionmigratedev");
        assert_eq!(sanitized("1ghcr.io/o/i_i@sha256:0"), "ghcriooi_isha2560");
    }
}
