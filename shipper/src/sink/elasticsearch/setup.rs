//! What an administrator does once: the index template, retention, and the data stream itself, so that agents need no right but to
//! create documents.
//!
//! What is there already is left alone unless it is older than what this release brings, or keeps records for another time than the
//! policy says.

use reqwest::Method;
use serde_json::{Value, json};
use waybill_crds::Elasticsearch;

use super::super::{Administrator, Context, Failure};
use super::client::{Client, Reply, api_key, basic};
use super::product::{Flavor, Product};
use super::template::{self, VERSION};

/// Sets a data stream up; says what was done, a line each.
pub fn setup(config: &Elasticsearch, context: &Context, login: &Administrator) -> Result<Vec<String>, Failure> {
    let client = match login {
        Administrator::OfThePolicy => Client::new(config, &context.secrets)?,
        Administrator::ApiKey(key) => Client::with(config, &context.secrets, Some(api_key(key)?))?,
        Administrator::User(user, password) => Client::with(config, &context.secrets, Some(basic(user, password)?))?,
    };
    super::runtime()?.block_on(async {
        let product = Product::ask(&client).await?;
        let mut setup = Setup { client: &client, config, product, done: Vec::new() };
        setup.done.push(format!("{} is {}", client.endpoint(), setup.product));
        let managed = setup.retention().await?;
        let fresh = setup.template(managed).await?;
        setup.data_stream(fresh, managed).await?;
        Ok(setup.done)
    })
}

/// What removes old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Managed {
    /// Index lifecycle management of Elasticsearch.
    Ilm,
    /// Index state management of OpenSearch.
    Ism,
    /// The data stream's own lifecycle.
    Stream,
    /// Nothing.
    Nothing,
}

struct Setup<'a> {
    client: &'a Client,
    config: &'a Elasticsearch,
    product: Product,
    done: Vec<String>,
}

impl Setup<'_> {
    /// Asks; `None` if it is not there.
    async fn get(&self, path: &str) -> Result<Option<Value>, Failure> {
        let reply = self.client.get(path).await.map_err(|b| b.failure)?;
        match reply.status {
            404 => Ok(None),
            _ => self.read(&reply).map(Some),
        }
    }

    async fn put(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
        let reply = self.client.json(method, path, body).await.map_err(|b| b.failure)?;
        self.read(&reply)
    }

    fn read(&self, reply: &Reply) -> Result<Value, Failure> {
        if reply.status == 403 {
            let what = format!("{}: the login may not set this up (403)", reply.endpoint);
            return Err(Failure::held(
                what,
                "use an administrator's: --username with --password-file, or --api-key-file",
            ));
        }
        if reply.status >= 300 {
            return Err(self.client.trouble(reply));
        }
        serde_json::from_slice(&reply.body)
            .map_err(|e| Failure::again(format!("{}: an answer cannot be read: {e}", reply.endpoint)))
    }

    /// Installs the policy that rolls over and removes; says what does it.
    async fn retention(&mut self) -> Result<Managed, Failure> {
        let name = template::name(self.config);
        match self.product.flavor {
            Flavor::Serverless => Ok(Managed::Stream),
            Flavor::Elasticsearch => {
                let path = format!("/_ilm/policy/{name}");
                let body = self.ilm();
                let had = self.get(&path).await?.map(|all| all[&name]["policy"]["_meta"].clone());
                if is_current(had.as_ref(), &body["policy"]["_meta"]) {
                    self.done.push(format!("lifecycle policy {name} is up to date"));
                } else {
                    self.put(Method::PUT, &path, &body).await?;
                    self.done.push(format!("lifecycle policy {name} installed: {}", self.days()));
                }
                Ok(Managed::Ilm)
            }
            Flavor::OpenSearch => self.ism(&name).await,
        }
    }

    /// A policy of index state management, where the plug-in is there.
    async fn ism(&mut self, name: &str) -> Result<Managed, Failure> {
        let path = format!("/_plugins/_ism/policies/{name}");
        let reply = self.client.get(&path).await.map_err(|b| b.failure)?;
        let had = match reply.status {
            404 => None,
            // A path that no plug-in takes.
            400 | 405 => {
                self.done.push(match self.config.retention_days {
                    Some(_) => {
                        "this OpenSearch has no index management plug-in: NOTHING removes old records, see to it"
                            .to_owned()
                    }
                    None => "this OpenSearch has no index management plug-in: backing indices are not rolled over"
                        .to_owned(),
                });
                return Ok(Managed::Nothing);
            }
            _ => Some(self.read(&reply)?),
        };
        let body = self.ism_policy();
        let wanted = &body["policy"]["description"];
        let path = match had {
            Some(had) if had["policy"]["description"] == *wanted || newer(&had["policy"]["description"]) => {
                self.done.push(format!("index state policy {name} is up to date"));
                return Ok(Managed::Ism);
            }
            Some(had) => format!("{path}?if_seq_no={}&if_primary_term={}", had["_seq_no"], had["_primary_term"]),
            None => path,
        };
        self.put(Method::PUT, &path, &body).await?;
        self.done.push(format!("index state policy {name} installed: {}", self.days()));
        Ok(Managed::Ism)
    }

    /// Installs the template; says whether it is new.
    async fn template(&mut self, managed: Managed) -> Result<bool, Failure> {
        let name = template::name(self.config);
        let path = format!("/_index_template/{name}");
        let had =
            self.get(&path).await?.and_then(|all| all["index_templates"][0]["index_template"]["version"].as_u64());
        if let Some(version) = had.filter(|version| *version >= VERSION) {
            self.done.push(format!("index template {name} is up to date (version {version})"));
            return Ok(false);
        }
        let settings: Vec<(&str, Value)> = match managed {
            Managed::Ilm => vec![("index.lifecycle.name", json!(name))],
            _ => Vec::new(),
        };
        let lifecycle = (managed == Managed::Stream).then(|| self.lifecycle());
        self.put(Method::PUT, &path, &template::template(self.config, &settings, lifecycle)).await?;
        self.done.push(match had {
            Some(old) => format!("index template {name} raised from version {old} to {VERSION}"),
            None => format!("index template {name} installed (version {VERSION})"),
        });
        Ok(true)
    }

    /// Makes the data stream, or lets it take up what is new.
    async fn data_stream(&mut self, fresh: bool, managed: Managed) -> Result<(), Failure> {
        let stream = &self.config.data_stream;
        let path = format!("/_data_stream/{stream}");
        let is_there = match self.get(&path).await? {
            Some(found) => !found["data_streams"].as_array().is_none_or(Vec::is_empty),
            None => false,
        };
        if !is_there {
            let index = self.client.get(&format!("/{stream}")).await.map_err(|b| b.failure)?;
            if index.status == 200 {
                let what = format!("{}: {stream} is an index, not a data stream", index.endpoint);
                return Err(Failure::held(what, "remove that index, or name another data stream in the policy"));
            }
            self.put(Method::PUT, &path, &Value::Null).await?;
            self.done.push(format!("data stream {stream} made"));
            return Ok(());
        }
        self.done.push(format!("data stream {stream} is there"));
        match managed {
            Managed::Ilm => {
                let body = json!({"index.lifecycle.name": template::name(self.config)});
                self.put(Method::PUT, &format!("/{stream}/_settings"), &body).await?;
            }
            Managed::Ism => {
                let body = json!({"policy_id": template::name(self.config)});
                self.put(Method::POST, &format!("/_plugins/_ism/add/{stream}"), &body).await?;
            }
            Managed::Stream => {
                self.put(Method::PUT, &format!("{path}/_lifecycle"), &self.lifecycle()).await?;
                self.done.push(format!("data stream lifecycle set: {}", self.days()));
            }
            Managed::Nothing => {}
        }
        if fresh {
            self.put(Method::POST, &format!("/{stream}/_rollover"), &Value::Null).await?;
            self.done.push(format!("data stream {stream} rolled over, so that the new template applies"));
        }
        Ok(())
    }

    fn days(&self) -> String {
        let rollover = template::rollover_days(self.config.retention_days);
        match self.config.retention_days {
            Some(days) => format!("a new backing index every {rollover} days, removed {days} days later"),
            None => format!("a new backing index every {rollover} days, nothing is removed (no retentionDays)"),
        }
    }

    fn lifecycle(&self) -> Value {
        match self.config.retention_days {
            Some(days) => json!({"data_retention": format!("{days}d")}),
            None => json!({}),
        }
    }

    fn ilm(&self) -> Value {
        let days = self.config.retention_days;
        let rollover =
            json!({"max_age": format!("{}d", template::rollover_days(days)), "max_primary_shard_size": "50gb"});
        let mut phases = json!({"hot": {"min_age": "0ms", "actions": {"rollover": rollover}}});
        if let Some(days) = days {
            phases["delete"] = json!({"min_age": format!("{days}d"), "actions": {"delete": {}}});
        }
        let meta = json!({"managed_by": "waybill setup", "version": VERSION, "retentionDays": days});
        json!({"policy": {"_meta": meta, "phases": phases}})
    }

    fn ism_policy(&self) -> Value {
        let days = self.config.retention_days;
        let rollover =
            json!({"min_index_age": format!("{}d", template::rollover_days(days)), "min_primary_shard_size": "50gb"});
        let to_delete =
            days.map(|days| json!({"state_name": "delete", "conditions": {"min_rollover_age": format!("{days}d")}}));
        let mut states = vec![json!({
            "name": "hot",
            "actions": [{"rollover": rollover}],
            "transitions": to_delete.into_iter().collect::<Vec<_>>(),
        })];
        if days.is_some() {
            states.push(json!({"name": "delete", "actions": [{"delete": {}}], "transitions": []}));
        }
        let kept = days.map_or_else(|| "for ever".to_owned(), |days| format!("{days} days"));
        json!({"policy": {
            "description": format!("waybill setup, version {VERSION}: records are kept {kept}"),
            "default_state": "hot",
            "ism_template": [{"index_patterns": [self.config.data_stream], "priority": 500}],
            "states": states,
        }})
    }
}

/// Whether a policy that is there is at least as new, and keeps records as long.
fn is_current(had: Option<&Value>, wanted: &Value) -> bool {
    had.is_some_and(|had| {
        had["version"].as_u64().is_some_and(|version| version >= VERSION)
            && had["retentionDays"] == wanted["retentionDays"]
    })
}

/// Whether the description is that of a later version than ours.
fn newer(description: &Value) -> bool {
    let text = description.as_str().unwrap_or_default();
    let version = text.strip_prefix("waybill setup, version ").and_then(|rest| rest.split(':').next());
    version.and_then(|v| v.parse::<u64>().ok()).is_some_and(|version| version > VERSION)
}
