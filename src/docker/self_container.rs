//! The container in which this process runs, as the engine sees it.

use super::client::{DockerEngine, engine_fault, http_status};
use crate::fault::{Code, Fault};
use std::{fs, net::IpAddr, path::Path};

/// Name of the engine's default network.
pub(crate) const DEFAULT_NETWORK: &str = "bridge";

/// The container of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfContainer {
    /// Its id.
    pub id: String,
    /// The id of its image, `sha256:…`.
    pub image: String,
    /// Its network.
    pub network: Option<String>,
    /// The address of the engine's host in that network, from which connections through a published port come.
    pub gateway: Option<IpAddr>,
    /// Its mounts, as (path in the container, source on the engine's host).
    pub mounts: Vec<(String, String)>,
}

impl SelfContainer {
    /// Finds the id in our own mounts and inspects that container.
    ///
    /// # Errors
    /// `self-unknown` if this process runs in no container, or in one of another engine.
    pub async fn find(engine: &DockerEngine) -> Result<Self, Fault> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let id = container_id(&mountinfo).ok_or_else(|| {
            Fault::new(Code::SelfUnknown, "bastion-migrate does not run in a container of the Docker engine")
        })?;
        let inspection =
            engine.docker.inspect_container(id, None).await.map_err(|error| match http_status(&error) {
                Some(404) => {
                    let cause = format!("the Docker engine has no container `{}`", id.get(..12).unwrap_or(id));
                    Fault::new(Code::SelfUnknown, cause)
                }
                _ => engine_fault("our own container could not be inspected", &error),
            })?;
        let networks = inspection.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let mounts = inspection.mounts.unwrap_or_default();
        let pair = |mount: bollard::models::MountPoint| Some((mount.destination?, mount.source.or(mount.name)?));
        Ok(Self {
            id: id.to_owned(),
            image: inspection.image.unwrap_or_default(),
            gateway: networks.values().next().and_then(|network| network.gateway.as_ref()?.parse().ok()),
            network: networks.into_keys().next(),
            mounts: mounts.into_iter().filter_map(pair).collect(),
        })
    }

    /// Reports whether it is in the engine's default network, which unrelated containers share and which has no host
    /// names.
    #[must_use]
    pub fn is_in_default_network(&self) -> bool {
        self.network.as_deref() == Some(DEFAULT_NETWORK)
    }

    /// Returns the source, on the engine's host, of the mount at this path.
    #[must_use]
    pub fn mount_source(&self, path: &Path) -> Option<&str> {
        let mount = self.mounts.iter().find(|(destination, _)| Path::new(destination) == path);
        mount.map(|(_, source)| source.as_str())
    }
}

/// Finds the container's id in `mountinfo`. The engine mounts three small files from the container's own directory
/// (`…/containers/<64 digits>/hostname`), for every data root; the fourth field of a line is that path (proc(5)).
fn container_id(mountinfo: &str) -> Option<&str> {
    mountinfo.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, mount_point) = (fields.next()?, fields.next()?);
        if !matches!(mount_point, "/etc/hostname" | "/etc/resolv.conf" | "/etc/hosts") {
            return None;
        }
        let (_, rest) = root.rsplit_once("/containers/")?;
        let id = rest.split('/').next()?;
        (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_container_id_in_the_mounts() {
        let id = "0123456789abcdef".repeat(4);
        let line = format!("742 735 254:0 /srv/data/containers/{id}/hosts /etc/hosts rw,relatime - ext4 /dev/vda rw");
        assert_eq!(container_id(&format!("1 2 0:1 / / rw - overlay overlay rw\n{line}\n")), Some(id.as_str()));
        for mountinfo in ["", "1 2 0:1 /containers/short/hosts /etc/hosts rw", "1 2 0:1 /etc/hosts /etc/hosts rw"] {
            assert_eq!(container_id(mountinfo), None, "{mountinfo}");
        }
    }
}
