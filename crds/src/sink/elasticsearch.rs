//! Elasticsearch and OpenSearch.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::secret::{SecretKey, Tls};

const DATA_STREAM: &str = "logs-waybill-default";
const TIMEOUT_SECONDS: u32 = 60;

/// A data stream of Elasticsearch 8 or 9, or of OpenSearch 2 or 3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Elasticsearch {
    /// URLs of the nodes, 1 to 16, such as `https://es-0:9200`.
    #[schemars(
        length(min = 1, max = crate::bounds::ENDPOINTS),
        inner(length(min = 1, max = crate::bounds::URL_LENGTH))
    )]
    #[x_kube(validation = crate::rules::urls())]
    pub endpoints: Vec<String>,
    /// The data stream, at most 100 characters. Default logs-waybill-default.
    #[serde(default = "data_stream")]
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(
        validation = crate::rules::text(
            "^[a-z0-9][a-z0-9._-]*$",
            "write lower-case letters, digits, hyphens, underscores and dots, beginning with a letter or digit",
        )
    )]
    pub data_stream: String,
    /// The login: an API key, or a user name and a password. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<ElasticsearchAuth>,
    /// TLS for https endpoints. Default: the certificate authorities of the image or host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Days that the cluster keeps records, as `waybill setup` sets it, 1 to 36500: counted from when a backing index is rolled over,
    /// after a day, or after a week if this is 30 or more. Default: they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36500))]
    pub retention_days: Option<u32>,
    /// Seconds that the cluster has for an answer before the request is repeated: 1 to 600. Default 60.
    #[serde(default = "timeout_seconds")]
    #[schemars(range(min = 1, max = 600))]
    pub timeout_seconds: u32,
}

fn timeout_seconds() -> u32 {
    TIMEOUT_SECONDS
}

fn data_stream() -> String {
    DATA_STREAM.to_owned()
}

/// The login to Elasticsearch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.apiKey) != has(self.username)")
        .message("write either apiKey, or username and password"),
    validation = Rule::new("has(self.username) == has(self.password)")
        .message("username and password go together: write both, or an apiKey instead")
)]
pub struct ElasticsearchAuth {
    /// An API key, encoded as Elasticsearch hands it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<SecretKey>,
    /// A user's name, at most 253 characters. Needs password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = crate::bounds::USER_LENGTH))]
    pub username: Option<String>,
    /// The user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretKey>,
}
