//! The service: what is asked of it, and what its errors mean.

use std::time::{Duration, Instant};

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_cloudwatchlogs as logs;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use logs::config::{ProvideCredentials as _, Region};
use logs::error::{ProvideErrorMetadata, SdkError};
use logs::types::InputLogEvent;
use waybill_crds::CloudWatch;

use super::batch::Event;
use super::rejected::Rejected;
use crate::sink::{Failure, tls};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take; behind it the outcome is unknown.
const ANSWER: Duration = Duration::from_secs(60);
/// How often the group's retention is asked for.
const RETENTION_EVERY: Duration = Duration::from_secs(3600);

/// Answers that pass by themselves: those that the SDK calls throttling or transient.
const AGAIN: [&str; 22] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "SlowDown",
    "PriorRequestNotComplete",
    "EC2ThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "InternalFailure",
    "InternalServerError",
    "OperationAbortedException",
    "InvalidSequenceTokenException",
];

/// Answers about who asks.
const WHO: [&str; 12] = [
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "AuthFailure",
];

/// A client with credentials of its own. It is made anew after a failure that a person must mend, so that mended credentials are found.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    sdk: logs::Client,
    server: String,
    group: String,
    wanted_retention: Option<u32>,
    /// Days that the group keeps events; `None` = for ever, or not known.
    retention: Option<i64>,
    asked: Option<Instant>,
}

/// The log group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// There is none.
    Missing,
    /// It keeps events for so many days; `None` = for ever.
    Keeps(Option<i64>),
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The service took it, apart from these.
    Taken(Rejected),
    /// There is no such group or stream.
    Missing,
}

impl Client {
    /// Looks for credentials, the usual chain through: environment, shared files, web identity, container, instance.
    pub fn new(plan: &CloudWatch) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::again(format!("failed to start the client: {e}")))?;
        let server = if plan.endpoint.is_empty() {
            format!("CloudWatch Logs in {}", plan.region)
        } else {
            plan.endpoint.clone()
        };
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_timeout(ANSWER).build();
        let sdk = runtime.block_on(async {
            let shared = aws_config::defaults(BehaviorVersion::latest())
                .region(Region::new(plan.region.clone()))
                .http_client(http)
                // The sink tries again itself: between two tries it asks whether the records may still go out.
                .retry_config(RetryConfig::disabled())
                .timeout_config(timeouts)
                .load()
                .await;
            let Some(provider) = shared.credentials_provider() else {
                return Err(without_credentials(&server, "there is no provider of them"));
            };
            if let Err(error) = provider.provide_credentials().await {
                return Err(without_credentials(&server, &chain(&error)));
            }
            let mut config = logs::config::Builder::from(&shared);
            if !plan.endpoint.is_empty() {
                // Of the logs alone: credentials come from where they always come from.
                config = config.endpoint_url(&plan.endpoint);
            }
            Ok(logs::Client::from_conf(config.build()))
        })?;
        Ok(Self {
            runtime,
            sdk,
            server,
            group: plan.log_group.clone(),
            wanted_retention: plan.retention_days,
            retention: None,
            asked: None,
        })
    }

    /// Days that the group keeps events, asked for now and then. Without the right to ask, none are known.
    pub fn retention(&mut self) -> Result<Option<i64>, Failure> {
        if self.asked.is_some_and(|at| at.elapsed() < RETENTION_EVERY) {
            return Ok(self.retention);
        }
        match self.describe() {
            Ok(Group::Keeps(days)) => self.retention = days,
            Ok(Group::Missing) => self.retention = self.wanted_retention.map(i64::from),
            Err(Denied::NoRight(_)) => {
                tracing::debug!(group = self.group, "no right to ask what the log group keeps");
                self.retention = self.wanted_retention.map(i64::from);
            }
            Err(Denied::Other(failure)) => return Err(failure),
        }
        self.asked = Some(Instant::now());
        Ok(self.retention)
    }

    /// Asks for the group's retention again before the next request.
    pub fn forget_retention(&mut self) {
        self.asked = None;
    }

    /// Whether the retention that was last told is taken as known.
    pub fn knows_retention(&self) -> bool {
        self.asked.is_some()
    }

    /// Looks the group up.
    pub fn describe(&self) -> Result<Group, Denied> {
        let asked = self.sdk.describe_log_groups().log_group_name_prefix(&self.group).send();
        match self.runtime.block_on(asked) {
            Ok(answer) => {
                let groups = answer.log_groups();
                let found = groups.iter().find(|g| g.log_group_name() == Some(self.group.as_str()));
                Ok(found.map_or(Group::Missing, |g| Group::Keeps(g.retention_in_days().map(i64::from))))
            }
            Err(error) if code(&error).is_some_and(is_about_rights) => {
                Err(Denied::NoRight(self.failure("logs:DescribeLogGroups", &error)))
            }
            Err(error) => Err(Denied::Other(self.failure("logs:DescribeLogGroups", &error))),
        }
    }

    /// Makes the stream, and the group with its retention if there is none.
    pub fn make(&mut self, stream: &str) -> Result<(), Failure> {
        if self.make_stream(stream)? {
            return Ok(());
        }
        let made = self.runtime.block_on(self.sdk.create_log_group().log_group_name(&self.group).send());
        match made {
            Ok(_) => {
                tracing::info!(group = self.group, "made the log group");
                self.set_retention();
            }
            Err(error) if code(&error) == Some("ResourceAlreadyExistsException") => {}
            Err(error) => return Err(self.failure("logs:CreateLogGroup", &error)),
        }
        self.asked = None;
        if self.make_stream(stream)? {
            return Ok(());
        }
        Err(Failure::again(format!("{}: the log group {} is not there yet", self.server, self.group)))
    }

    /// `false`: there is no group.
    fn make_stream(&self, stream: &str) -> Result<bool, Failure> {
        let made = self.sdk.create_log_stream().log_group_name(&self.group).log_stream_name(stream).send();
        match self.runtime.block_on(made) {
            Ok(_) => Ok(true),
            Err(error) => match code(&error) {
                Some("ResourceAlreadyExistsException") => Ok(true),
                Some("ResourceNotFoundException") => Ok(false),
                _ => Err(self.failure("logs:CreateLogStream", &error)),
            },
        }
    }

    /// Sets what a group that we made keeps. Groups of others are left as they are: to shorten what one keeps is to delete.
    fn set_retention(&self) {
        let Some(days) = self.wanted_retention.and_then(|days| i32::try_from(days).ok()) else { return };
        let asked = self.sdk.put_retention_policy().log_group_name(&self.group).retention_in_days(days).send();
        if let Err(error) = self.runtime.block_on(asked) {
            let failure = self.failure("logs:PutRetentionPolicy", &error);
            tracing::warn!(
                group = self.group,
                days,
                "the log group keeps events for ever, for that could not be set: {failure}"
            );
        }
    }

    /// Sends events, which are within every limit.
    pub fn put(&self, stream: &str, events: &[Event]) -> Result<Outcome, Failure> {
        let mut inputs = Vec::with_capacity(events.len());
        for event in events {
            let input = InputLogEvent::builder().timestamp(event.time).message(&event.message).build();
            inputs.push(input.map_err(|e| self.unknown(&e.to_string()))?);
        }
        let asked = self.sdk.put_log_events().log_group_name(&self.group).log_stream_name(stream);
        match self.runtime.block_on(asked.set_log_events(Some(inputs)).send()) {
            Ok(answer) => {
                Ok(Outcome::Taken(answer.rejected_log_events_info().map_or_else(Rejected::default, |info| Rejected {
                    too_new_from: info.too_new_log_event_start_index(),
                    too_old_to: info.too_old_log_event_end_index(),
                    expired_to: info.expired_log_event_end_index(),
                })))
            }
            Err(error) => match code(&error) {
                Some("ResourceNotFoundException") => Ok(Outcome::Missing),
                Some("DataAlreadyAcceptedException") => Ok(Outcome::Taken(Rejected::default())),
                _ => Err(self.failure("logs:PutLogEvents", &error)),
            },
        }
    }

    fn unknown(&self, what: &str) -> Failure {
        Failure::held(
            format!("{}: {what}", self.server),
            "look at the name of the log group and stream; if they are right, report this with the agent's version",
        )
    }

    /// What an error means. Only what is known to pass by itself is tried again without calling for a person.
    fn failure<E>(&self, right: &str, error: &SdkError<E>) -> Failure
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let server = &self.server;
        match error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let code = answer.err().code().unwrap_or_default();
                // One line: behind it the service may repeat the request, with the session's token in it.
                let text = answer.err().message().and_then(|text| text.lines().next()).unwrap_or_default();
                let said = format!("{server}: {} {}", if code.is_empty() { "status" } else { code }, status);
                let said = if text.is_empty() { said } else { format!("{said}: {text}") };
                if WHO.contains(&code) {
                    Failure::held(said, "renew the credentials, and look at this node's clock")
                } else if is_about_rights(code) || matches!(status, 401 | 403) {
                    Failure::held(
                        said,
                        format!("give the credentials the right {right} on the log group {}", self.group),
                    )
                } else if AGAIN.contains(&code) || status == 429 || status >= 500 {
                    Failure::again(said)
                } else {
                    Failure::held(said, format!("look at the region, the endpoint and the log group {}", self.group))
                }
            }
            // The outcome is not known: it goes again under the same ids.
            SdkError::TimeoutError(_) => Failure::again(format!("{server}: no answer within {} s", ANSWER.as_secs())),
            SdkError::ResponseError(_) => {
                Failure::again(format!("{server}: the answer is cut or garbled: {}", chain(error)))
            }
            _ => match tls::find(error) {
                Some(error) => tls::explain(error, server),
                None if chain(error).contains("credentials") => without_credentials(server, &chain(error)),
                None => unreachable_server(server, &chain(error)),
            },
        }
    }
}

/// Why something was not told.
#[derive(Debug)]
pub enum Denied {
    /// The right is missing.
    NoRight(Failure),
    /// Anything else.
    Other(Failure),
}

/// What a connection means that was not made. The same sentences as the other sinks'.
fn unreachable_server(server: &str, why: &str) -> Failure {
    let plain = why.to_lowercase();
    if plain.contains("refused") {
        return Failure::again(format!("{server}: nothing listens there; correct the port in cloudWatch.endpoint"));
    }
    if plain.contains("dns error") || plain.contains("lookup") {
        return Failure::again(format!(
            "{server}: the host name is not known; correct cloudWatch.region or endpoint, or look at the name service"
        ));
    }
    Failure::again(format!("{server}: cannot be reached; look at routes, firewalls and the VPC endpoint: {why}"))
}

fn without_credentials(server: &str, why: &str) -> Failure {
    // What follows is a list of all the places where none were found.
    let why = why.split("Attempted:").next().unwrap_or(why).trim_end_matches([' ', '.']);
    Failure::held(
        format!("{server}: there are no credentials that can be used: {why}"),
        "give the agent a role (web identity), or an access key in the environment or in a shared credentials file",
    )
}

fn is_about_rights(code: &str) -> bool {
    matches!(
        code,
        "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" | "NotAuthorized" | "OptInRequired"
    )
}

fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// An error with all that it says of its causes, on one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}
