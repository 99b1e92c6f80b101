//! What of the node and of the cluster a pod sees.
//!
//! Every path of the node is the same inside as outside, so that a path means one thing in the policy, in records and in
//! errors. The read roots are there as a whole and read-only: a new path of the policy needs no new pod. Writable are the
//! state and the folders of what the policy manages.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource, HostPathVolumeSource, ObjectFieldSelector,
    SecretVolumeSource, Volume, VolumeMount,
};
use waybill_crds::RotationMode;

use super::Input;
use crate::names;
use crate::validate::{folder, is_managed};

/// Where the policy's document is.
pub(super) const POLICY_DIR: &str = "/etc/waybill/policy";
/// Where the kill switches of the pod's annotation are.
pub(super) const SWITCHES_DIR: &str = "/etc/waybill/switches";
/// The file of the kill switches.
pub(super) const SWITCHES_FILE: &str = "switches.json";
/// Where each Secret is a folder.
pub(super) const SECRETS_DIR: &str = "/etc/waybill/secrets";

pub(super) fn build(input: &Input<'_>) -> (Vec<Volume>, Vec<VolumeMount>) {
    let mut mounts = Mounts::default();
    mounts.cluster(
        "policy",
        POLICY_DIR,
        Volume {
            config_map: Some(ConfigMapVolumeSource { name: names::object(input.policy), ..Default::default() }),
            ..Volume::default()
        },
    );
    // On its own: projected together with a Secret, it would wait for one that is missing.
    mounts.cluster(
        "switches",
        SWITCHES_DIR,
        Volume {
            downward_api: Some(DownwardAPIVolumeSource { items: Some(vec![switches()]), ..Default::default() }),
            ..Volume::default()
        },
    );
    for (index, root) in input.settings.read_roots.iter().enumerate() {
        mounts.node(&format!("read-{index}"), root, "Directory", true);
    }
    let state = input.settings.state_dir(input.policy);
    mounts.node("state", &state, "DirectoryOrCreate", false);
    for (index, folder) in writable(input, &state).iter().enumerate() {
        mounts.node(&format!("write-{index}"), folder, "DirectoryOrCreate", false);
    }
    for (index, secret) in input.secrets.iter().enumerate() {
        let source =
            SecretVolumeSource { secret_name: Some(secret.clone()), optional: Some(true), ..Default::default() };
        let volume = Volume { secret: Some(source), ..Volume::default() };
        mounts.cluster(&format!("secret-{index}"), &format!("{SECRETS_DIR}/{secret}"), volume);
    }
    (mounts.volumes, mounts.mounts)
}

fn switches() -> DownwardAPIVolumeFile {
    let field = format!("metadata.annotations['{}']", names::SWITCHES_ANNOTATION);
    DownwardAPIVolumeFile {
        path: SWITCHES_FILE.to_owned(),
        field_ref: Some(ObjectFieldSelector { field_path: field, api_version: Some("v1".to_owned()) }),
        ..DownwardAPIVolumeFile::default()
    }
}

/// The folders that the policy changes, without those that lie in another one or in the state.
fn writable(input: &Input<'_>, state: &Path) -> Vec<PathBuf> {
    let mut folders = BTreeSet::new();
    for source in input.spec.sources.iter().filter(|source| is_managed(source)) {
        folders.extend(source.file.iter().flat_map(|file| &file.paths).map(|pattern| folder(pattern)));
        if !source.rotation.folder.is_empty() && source.rotation.mode != RotationMode::Observe {
            folders.insert(PathBuf::from(source.rotation.folder.trim_end_matches('/')));
        }
    }
    for file in input.spec.sinks.iter().filter_map(|sink| sink.file.as_ref()) {
        folders.extend(Path::new(&file.path).parent().map(Path::to_owned));
    }
    let mut kept: Vec<PathBuf> = Vec::new();
    // In order, a folder comes before those that lie in it.
    for folder in folders {
        if !folder.starts_with(state) && !kept.iter().any(|outer| folder.starts_with(outer)) {
            kept.push(folder);
        }
    }
    kept
}

#[derive(Default)]
struct Mounts {
    volumes: Vec<Volume>,
    mounts: Vec<VolumeMount>,
}

impl Mounts {
    fn cluster(&mut self, name: &str, path: &str, volume: Volume) {
        self.volumes.push(Volume { name: name.to_owned(), ..volume });
        self.mounts.push(VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
    }

    fn node(&mut self, name: &str, path: &Path, kind: &str, read_only: bool) {
        let path = path.to_string_lossy().into_owned();
        let source = HostPathVolumeSource { path: path.clone(), type_: Some(kind.to_owned()) };
        self.volumes.push(Volume { name: name.to_owned(), host_path: Some(source), ..Volume::default() });
        self.mounts.push(VolumeMount {
            name: name.to_owned(),
            mount_path: path,
            read_only: read_only.then_some(true),
            // What the node mounts there later is seen too.
            mount_propagation: Some("HostToContainer".to_owned()),
            ..VolumeMount::default()
        });
    }
}
