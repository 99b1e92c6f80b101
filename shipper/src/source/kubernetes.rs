//! Whose log a file under `/var/log/pods` is.
//!
//! The kubelet names folders `<namespace>_<pod>_<uid>/<container>/<restarts>.log` (kubernetes, pkg/kubelet/kuberuntime,
//! `BuildContainerLogsDirectory`). For static pods the uid is a hash.

use std::path::Path;

use crate::format::Kubernetes;

/// Reads the pod and the container out of a path.
pub fn from_path(path: &Path) -> Option<Kubernetes> {
    let mut parts = path.iter().rev();
    let _file = parts.next()?;
    let container = parts.next()?.to_str()?;
    let folder = parts.next()?.to_str()?;
    if parts.next()?.to_str()? != "pods" {
        return None;
    }
    let mut names = folder.split('_');
    let (namespace, pod, uid) = (names.next()?, names.next()?, names.next()?);
    (names.next().is_none() && !namespace.is_empty() && !pod.is_empty()).then(|| Kubernetes {
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        uid: uid.to_owned(),
        container: container.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kubelets_folders() {
        let path = Path::new(
            "/var/log/pods/kube-system_coredns-5d78c9869d-abcde_0b5e1f5c-1111-2222-3333-444455556666/coredns/0.log",
        );
        let pod = from_path(path).unwrap();
        assert_eq!(
            (pod.namespace.as_str(), pod.pod.as_str(), pod.container.as_str()),
            ("kube-system", "coredns-5d78c9869d-abcde", "coredns")
        );
        assert_eq!(from_path(Path::new("/var/log/v2ray/access.log")), None);
        assert_eq!(from_path(Path::new("/var/log/pods/a_b/c/0.log")), None);
    }
}
