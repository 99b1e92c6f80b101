//! Which server it is that answers.

use std::fmt;

use serde::Deserialize;

use super::super::Failure;
use super::client::Client;

/// A product, told apart by what it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavor {
    Elasticsearch,
    /// Elasticsearch as a service without nodes: no index lifecycle management.
    Serverless,
    OpenSearch,
}

/// A product and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Product {
    pub(super) flavor: Flavor,
    pub(super) version: String,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.flavor {
            Flavor::Elasticsearch => "Elasticsearch",
            Flavor::Serverless => "Elasticsearch Serverless",
            Flavor::OpenSearch => "OpenSearch",
        };
        write!(f, "{name} {}", self.version)
    }
}

#[derive(Deserialize)]
struct Root {
    version: Version,
}

#[derive(Deserialize)]
struct Version {
    number: String,
    distribution: Option<String>,
    build_flavor: Option<String>,
}

impl Product {
    /// Asks the endpoint.
    pub(super) async fn ask(client: &Client) -> Result<Self, Failure> {
        let reply = client.get("/").await.map_err(|b| b.failure)?;
        if reply.status != 200 {
            return Err(client.trouble(&reply));
        }
        Self::read(&reply.endpoint, &reply.body)
    }

    /// Reads what a server says of itself at `/`. A version that has no data streams, or is not known, is an error.
    pub(super) fn read(endpoint: &str, body: &[u8]) -> Result<Self, Failure> {
        let Ok(Root { version }) = serde_json::from_slice(body) else {
            return Err(Failure::held(
                format!("{endpoint}: something answers there that is no Elasticsearch or OpenSearch"),
                "correct the address and the port",
            ));
        };
        let flavor = match (version.distribution.as_deref(), version.build_flavor.as_deref()) {
            (Some("opensearch"), _) => Flavor::OpenSearch,
            (_, Some("serverless")) => Flavor::Serverless,
            _ => Flavor::Elasticsearch,
        };
        let product = Self { flavor, version: version.number };
        let major: u32 = product.version.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let least = if flavor == Flavor::OpenSearch { 2 } else { 8 };
        if major < least {
            return Err(Failure::held(
                format!("{endpoint}: it is {product}, which is too old"),
                "use Elasticsearch 8 or later, or OpenSearch 2 or later",
            ));
        }
        Ok(product)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_by_what_they_say_of_themselves() {
        let read = |body: &str| Product::read("http://es", body.as_bytes());
        let body = |version: &str| format!(r#"{{"name":"n","version":{version},"tagline":"x"}}"#);
        let named = |version: &str| read(&body(version)).unwrap().to_string();
        assert_eq!(named(r#"{"number":"8.14.1","build_flavor":"default"}"#), "Elasticsearch 8.14.1");
        assert_eq!(named(r#"{"number":"8.11.0","build_flavor":"serverless"}"#), "Elasticsearch Serverless 8.11.0");
        assert_eq!(named(r#"{"number":"2.19.1","distribution":"opensearch"}"#), "OpenSearch 2.19.1");
        for (text, part) in [
            (body(r#"{"number":"7.17.29","build_flavor":"default"}"#), "too old"),
            (body(r#"{"number":"1.3.0","distribution":"opensearch"}"#), "too old"),
            ("<html>".to_owned(), "no Elasticsearch"),
            ("{}".to_owned(), "no Elasticsearch"),
        ] {
            let failure = read(&text).unwrap_err();
            assert!(failure.is_held() && failure.to_string().contains(part), "{failure}");
        }
    }
}
