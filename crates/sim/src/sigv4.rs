//! AWS Signature Version 4, checked: the signature of a request is computed once more from the secret and compared.
//!
//! Source: "Create a signed AWS API request", AWS Identity and Access Management user guide.

use crate::config::AwsKey;
use crate::error::SimError;
use contracts::Timestamp;
use http::{HeaderMap, Method};
use sha2::{Digest, Sha256};
use std::fmt::Write;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "bedrock";
/// How far a signature's time may be from ours, in seconds.
const SKEW: i64 = 300;

/// What a signature covers.
#[derive(Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a Method,
    /// Path as it was sent.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

/// The parts of an `authorization` header.
#[derive(Debug, PartialEq, Eq)]
struct Authorization<'a> {
    access_key_id: &'a str,
    /// Date, region and service of the scope.
    scope: [&'a str; 3],
    signed_headers: &'a str,
    signature: &'a str,
}

/// Refuses a request whose signature is not in the right form or, where there is a `key`, not the right one.
pub(crate) fn check(request: &Signed<'_>, key: Option<&AwsKey>, now: Timestamp) -> Result<(), SimError> {
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    let given = header("authorization").ok_or_else(|| refused("Missing Authentication Token"))?;
    let authorization = parse(given).ok_or_else(|| {
        refused("Authorization header requires 'Credential', 'SignedHeaders' and 'Signature'.")
    })?;
    let time = header("x-amz-date").ok_or_else(|| refused("Missing X-Amz-Date"))?;
    let [date, region, service] = authorization.scope;
    if service != SERVICE || !time.starts_with(date) {
        return Err(refused("Credential should be scoped to the date of the request and to bedrock."));
    }
    let signed: Vec<&str> = authorization.signed_headers.split(';').collect();
    if !signed.contains(&"host") || !signed.contains(&"x-amz-date") {
        return Err(refused("'Host' and 'X-Amz-Date' must be signed."));
    }
    let Some(key) = key else { return Ok(()) };
    if authorization.access_key_id != key.access_key_id || region != key.region {
        return Err(refused("The security token included in the request is invalid."));
    }
    let seconds = unix_seconds(time).ok_or_else(|| refused("X-Amz-Date is not a time."))?;
    if (now.unix_seconds() - seconds).abs() > SKEW {
        return Err(refused("Signature expired."));
    }
    let payload = match header("x-amz-content-sha256") {
        Some("UNSIGNED-PAYLOAD") => "UNSIGNED-PAYLOAD".to_owned(),
        _ => hex(&Sha256::digest(request.body)),
    };
    let canonical = canonical(request, &signed, &payload);
    let hashed = hex(&Sha256::digest(canonical));
    let to_sign = format!("{ALGORITHM}\n{time}\n{date}/{region}/{service}/aws4_request\n{hashed}");
    let secret = format!("AWS4{}", key.secret_access_key);
    let key = [date, region, service, "aws4_request"]
        .iter()
        .fold(secret.into_bytes(), |key, part| hmac(&key, part.as_bytes()).to_vec());
    if hex(&hmac(&key, to_sign.as_bytes())) == authorization.signature {
        Ok(())
    } else {
        Err(refused("The request signature we calculated does not match the signature you provided."))
    }
}

fn refused(message: &str) -> SimError {
    SimError { status: 403, param: None, ..SimError::invalid("", message) }
}

fn parse(header: &str) -> Option<Authorization<'_>> {
    let rest = header.strip_prefix(ALGORITHM)?;
    let field =
        |name: &str| rest.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
    let credential: Vec<&str> = field("Credential")?.split('/').collect();
    let [access_key_id, date, region, service, "aws4_request"] = credential[..] else { return None };
    Some(Authorization {
        access_key_id,
        scope: [date, region, service],
        signed_headers: field("SignedHeaders")?,
        signature: field("Signature")?,
    })
}

/// The request in the one form that both sides hash.
fn canonical(request: &Signed<'_>, signed: &[&str], payload: &str) -> String {
    let mut query: Vec<(&str, &str)> = request
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    query.sort_unstable();
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut lines = format!("{}\n{}\n{}\n", request.method, encode(request.path), query.join("&"));
    for name in signed {
        let values = request.headers.get_all(*name).iter().filter_map(|value| value.to_str().ok());
        let values: Vec<String> =
            values.map(|value| value.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        lines.push_str(name);
        lines.push(':');
        lines.push_str(&values.join(","));
        lines.push('\n');
    }
    lines.push('\n');
    lines.push_str(&signed.join(";"));
    lines.push('\n');
    lines.push_str(payload);
    lines
}

/// The path encoded once more, as all services but S3 want it.
fn encode(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len() + 8);
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => {
                // Writing to a string does not fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// Seconds since the epoch of a time such as `20150830T123600Z`.
fn unix_seconds(time: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| time.get(range)?.parse::<i64>().ok();
    if time.len() != 16 || !time.ends_with('Z') {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    // Days from civil: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// HMAC-SHA256 (RFC 2104).
pub(crate) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    let short: &[u8] = if key.len() > 64 { &Sha256::digest(key) } else { key };
    for (place, byte) in block.iter_mut().zip(short) {
        *place = *byte;
    }
    let inner = Sha256::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_rfc_4231s() {
        let tag = hmac(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex(&tag), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let tag = hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex(&tag), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    /// Signed by botocore 1.44 with `SigV4Auth`, for a model whose name must be encoded.
    const SIGNED: &str = include_str!("../tests/signed_by_botocore.json");

    #[derive(serde::Deserialize)]
    struct Example {
        path: String,
        headers: Vec<(String, String)>,
        body: String,
        access_key_id: String,
        secret_access_key: String,
        region: String,
    }

    fn example() -> (Example, HeaderMap, AwsKey) {
        let example: Example = serde_json::from_str(SIGNED).unwrap();
        let headers = example.headers.iter().map(|(name, value)| {
            (http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
        });
        let headers = headers.collect();
        let key = AwsKey {
            access_key_id: example.access_key_id.clone(),
            secret_access_key: example.secret_access_key.clone(),
            region: example.region.clone(),
        };
        (example, headers, key)
    }

    fn verdict(path: &str, headers: &HeaderMap, body: &str, key: &AwsKey, late: i64) -> Result<(), String> {
        let time = unix_seconds(headers["x-amz-date"].to_str().unwrap()).unwrap();
        let request = Signed { method: &Method::POST, path, query: "", headers, body: body.as_bytes() };
        check(&request, Some(key), Timestamp::from_unix_seconds(time + late)).map_err(|error| error.message)
    }

    #[test]
    fn a_signature_by_the_official_client_holds_and_an_altered_request_does_not() {
        let (example, headers, key) = example();
        assert_eq!(verdict(&example.path, &headers, &example.body, &key, 60), Ok(()));
        let wrong = "does not match";
        assert!(verdict(&example.path, &headers, "{}", &key, 0).unwrap_err().contains(wrong));
        assert!(
            verdict("/model/other/converse", &headers, &example.body, &key, 0).unwrap_err().contains(wrong)
        );
        let other = AwsKey { secret_access_key: "other".to_owned(), ..key.clone() };
        assert!(verdict(&example.path, &headers, &example.body, &other, 0).unwrap_err().contains(wrong));
        assert!(verdict(&example.path, &headers, &example.body, &key, 301).unwrap_err().contains("expired"));
        let mut unsigned = headers.clone();
        unsigned.remove("authorization");
        assert!(verdict(&example.path, &unsigned, &example.body, &key, 0).unwrap_err().contains("Missing"));
        unsigned.insert("authorization", "AWS4-HMAC-SHA256 Credential=a/b".parse().unwrap());
        assert!(verdict(&example.path, &unsigned, &example.body, &key, 0).unwrap_err().contains("requires"));
    }

    #[test]
    fn times_are_read() {
        assert_eq!(unix_seconds("20150830T123600Z"), Some(1_440_938_160));
        assert_eq!(unix_seconds("20240229T000000Z"), Some(1_709_164_800));
        assert_eq!(unix_seconds("yesterday"), None);
    }
}
