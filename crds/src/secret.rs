//! References to secrets, and what TLS needs of them.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One key of a Secret: never the secret itself.
///
/// On a cluster the Secret lives in the agents' namespace and carries the label `waybill.dev/policy` with the policy's name.
/// On a bare host it is the file `<secrets-dir>/<secret>/<key>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// The Secret's name, at most 63 characters.
    #[schemars(length(min = 1, max = crate::bounds::OTHER_NAME_LENGTH), extend("x-waybill" = "secretName", "pattern" = crate::bounds::SECRET_NAME_PATTERN))]
    pub secret: String,
    /// The key in it, at most 63 characters.
    #[schemars(length(min = 1, max = crate::bounds::OTHER_NAME_LENGTH), extend("x-waybill" = "secretKey", "pattern" = crate::bounds::SECRET_KEY_PATTERN))]
    pub key: String,
}

/// TLS of a connection. An empty object means TLS with the certificate authorities of the image or host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.certificate) == has(self.privateKey)")
        .message("certificate and privateKey go together: write both, or neither")
)]
pub struct Tls {
    /// The authorities that sign the server's certificate, PEM. Default: those of the image or host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretKey>,
    /// The client's certificate chain, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<SecretKey>,
    /// The client's private key, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<SecretKey>,
}
