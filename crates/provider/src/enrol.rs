//! Enrolment: a one-time code becomes a machine that the exchange knows by its key.

use std::path::Path;

use ed25519_dalek::{Signer, SigningKey};
use tls::Trust;
use tls::rustls::ClientConfig;
use wire::{Enrolled, ErrorBody};

use crate::ProviderError;
use crate::state::{Enrolment, State};

/// A parsed join string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Join {
    /// Without a trailing slash.
    pub url: String,
    pub code: String,
}

impl Join {
    pub(crate) fn parse(text: &str) -> Result<Self, ProviderError> {
        let refuse = |problem| ProviderError::JoinString { text: text.to_owned(), problem };
        let url = reqwest::Url::parse(text.trim()).map_err(|_| refuse("it is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("it begins neither with https:// nor with http://"));
        }
        let code = url
            .fragment()
            .and_then(|fragment| fragment.strip_prefix("join="))
            .filter(|code| !code.is_empty())
            .ok_or_else(|| refuse("it has no code: `#join=CODE` is lacking"))?
            .to_owned();
        let mut url = url;
        url.set_fragment(None);
        Ok(Join { url: url.as_str().trim_end_matches('/').to_owned(), code })
    }
}

/// The enrolment of the directory, made now if a join string was given and none is there.
pub(crate) async fn enrolment(
    state: &State,
    key: &SigningKey,
    name: &str,
    join: Option<&str>,
    ca: Option<&Path>,
) -> Result<Enrolment, ProviderError> {
    let join = join.map(Join::parse).transpose()?;
    let known = state.enrolment()?.map(|known| Enrolment {
        // The exchange may have moved to another authority since.
        ca: ca.map(Path::to_owned).or(known.ca),
        ..known
    });
    match (known, join) {
        (Some(enrolment), None) => Ok(enrolment),
        (Some(enrolment), Some(join)) if enrolment.url == join.url => {
            tracing::info!("already enrolled with {}: the join code is left unused", join.url);
            Ok(enrolment)
        }
        (Some(enrolment), Some(join)) => Err(ProviderError::OtherExchange {
            data: state.root().to_owned(),
            enrolled: enrolment.url,
            asked: join.url,
        }),
        (None, None) => Err(ProviderError::NotEnrolled { data: state.root().to_owned() }),
        (None, Some(join)) => {
            let enrolment = enrol(&join, key, name, ca).await?;
            state.save_enrolment(&enrolment)?;
            tracing::info!("enrolled with {} as {}", enrolment.url, enrolment.machine);
            Ok(enrolment)
        }
    }
}

async fn enrol(
    join: &Join,
    key: &SigningKey,
    name: &str,
    ca: Option<&Path>,
) -> Result<Enrolment, ProviderError> {
    let public_key = key.verifying_key().to_bytes();
    let signature = key.sign(&wire::enrolment_bytes(&join.code, &public_key));
    let body = wire::Enrolment {
        code: join.code.clone(),
        public_key: wire::hex(&public_key),
        signature: wire::hex(&signature.to_bytes()),
        name: name.to_owned(),
    };
    let unreachable = |source: reqwest::Error| ProviderError::Unreachable {
        url: join.url.clone(),
        source: source.into(),
    };
    let trust = Trust::of(&join.url, ca)?;
    let response = http(reqwest::Client::builder(), &trust)
        .build()
        .map_err(unreachable)?
        .post(format!("{}/v1/machines", join.url))
        .json(&body)
        .send()
        .await
        .map_err(unreachable)?;
    let status = response.status();
    let bytes = response.bytes().await.map_err(unreachable)?;
    if status.is_success() {
        let enrolled: Enrolled = serde_json::from_slice(&bytes).map_err(|source| {
            ProviderError::Unreachable { url: join.url.clone(), source: source.into() }
        })?;
        return Ok(Enrolment {
            url: join.url.clone(),
            exchange: enrolled.exchange,
            machine: enrolled.machine,
            account: enrolled.account,
            token: enrolled.token,
            ca: ca.map(Path::to_owned),
        });
    }
    // Something that answers without an error body of ours is not an exchange.
    let refused = serde_json::from_slice::<ErrorBody>(&bytes).unwrap_or_else(|_| ErrorBody {
        code: "not_an_exchange".to_owned(),
        message: format!("it answered {status} without an error of an exchange"),
        details: Default::default(),
    });
    Err(ProviderError::EnrolmentRefused {
        url: join.url.clone(),
        code: refused.code,
        message: refused.message,
    })
}

/// A client's beginnings, with whom it trusts.
pub(crate) fn http(builder: reqwest::ClientBuilder, trust: &Trust) -> reqwest::ClientBuilder {
    match trust.config() {
        Some(config) => builder.use_preconfigured_tls(ClientConfig::clone(config)),
        None => builder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn join_strings() {
        let join = Join::parse("http://127.0.0.1:7480/#join=abc-def").unwrap();
        assert_eq!(join.url, "http://127.0.0.1:7480");
        assert_eq!(join.code, "abc-def");
        assert_eq!(Join::parse("https://host/#join=x").unwrap().url, "https://host");
        for (bad, problem) in [
            ("abc-def", "not a URL"),
            ("ftp://host/#join=x", "begins neither"),
            ("http://host/", "no code"),
            ("http://host/#join=", "no code"),
        ] {
            let error = Join::parse(bad).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains(problem), "{error}");
        }
    }
}
