//! The messages of SoftEther VPN, held against the string tables of the genuine program: every key in every language.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waybill_tests::{agent, skip};

/// The package's archive of texts, installed or fetched by `scripts/tools`.
fn archive() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = std::env::split_paths(&path).map(|folder| folder.join("../usr/share"));
    let places = beside.chain([PathBuf::from("/usr/share")]);
    places.map(|share| share.join("softether-common/hamcore.se2")).find(|file| file.exists())
}

/// The string tables in the archive: `HamCore`, a count, then name, size, compressed size and offset of each file.
fn tables(archive: &[u8]) -> Result<Vec<(String, String)>> {
    let number = |at: usize| -> Result<usize> {
        let bytes = archive.get(at..at + 4).context("the archive is cut")?;
        Ok(u32::from_be_bytes(bytes.try_into()?) as usize)
    };
    ensure!(archive.starts_with(b"HamCore"), "no HamCore archive");
    let mut at = 11;
    let mut found = Vec::new();
    for _ in 0..number(7)? {
        // The length counts a zero byte that is not there.
        let length = number(at)? - 1;
        let name =
            String::from_utf8_lossy(archive.get(at + 4..at + 4 + length).context("the archive is cut")?).into_owned();
        let (compressed, offset) = (number(at + length + 8)?, number(at + length + 12)?);
        at += length + 16;
        if name.ends_with(".stb") {
            let mut text = String::new();
            let packed = archive.get(offset..offset + compressed).context("the archive is cut")?;
            flate2::read::ZlibDecoder::new(packed).read_to_string(&mut text)?;
            found.push((name, text));
        }
    }
    Ok(found)
}

/// The messages of logs: key and text.
fn messages(table: &str) -> Vec<(&str, &str)> {
    let families = ["LS_", "LH_", "LA_", "LP_", "LO_", "LI_", "LE_", "L3_"];
    let lines = table
        .trim_start_matches('\u{feff}')
        .lines()
        .filter(|line| families.iter().any(|family| line.starts_with(family)));
    lines.filter_map(|line| line.split_once(['\t', ' '])).map(|(key, text)| (key, text.trim())).collect()
}

/// No messages, but parts of some: how a login was tried, what stands before messages, and texts that are one value only.
fn is_part(key: &str) -> bool {
    key.contains("_PREFIX")
        || key.contains("_TAG")
        || matches!(
            key,
            "LS_START_2"
                | "LS_START_3"
                | "LH_AUTH_UNKNOWN"
                | "LH_AUTH_ANONYMOUS"
                | "LH_AUTH_PASSWORD"
                | "LH_AUTH_PLAIN_PASSWORD"
                | "LH_AUTH_CERT"
                | "LH_AUTH_TICKET"
                | "LH_AUTH_OPENVPN_CERT"
        )
}

/// Puts a value into every place: digits for numbers, words for texts. Answers the text and the values.
fn filled(text: &str) -> (String, Vec<String>) {
    let (mut out, mut values) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some(percent) = rest.find('%') {
        out.push_str(&rest[..percent]);
        let place = &rest[percent + 1..];
        let width = place.chars().take_while(char::is_ascii_digit).count();
        let place = place[width..].trim_start_matches("I64");
        let value = match place.chars().next() {
            Some('u' | 'd') => (400 + values.len()).to_string(),
            // What a port follows is an address.
            Some('r') => format!("192.0.2.{}", values.len()),
            Some(_) if place[1..].starts_with(":%") => format!("192.0.2.{}", values.len()),
            _ => format!("v{}", values.len()),
        };
        out.push_str(&value);
        values.push(value);
        rest = place.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
    (out, values)
}

fn parse(lines: &str) -> Result<Vec<Value>> {
    let mut waybill = Command::new(agent::binary()?)
        .args(["parse", "--format", "SoftEtherServer", "--time-zone", "UTC"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = waybill.stdin.take().context("no standard input")?;
    let text = lines.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = waybill.wait_with_output()?;
    writer.join().ok().context("the writer panicked")??;
    ensure!(output.status.success(), "waybill parse failed");
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| Ok(serde_json::from_slice(line)?))
        .collect()
}

#[test]
fn every_message_of_the_genuine_program_is_told_by_its_key() -> Result<()> {
    let Some(path) = archive() else {
        return skip::skip("softether_texts", "softether-common is not there: scripts/tools fetches it");
    };
    let tables = tables(&std::fs::read(path)?)?;
    ensure!(tables.len() >= 7, "only {} languages", tables.len());
    for (name, table) in tables {
        let all = messages(&table);
        let by_key: HashMap<&str, &str> = all.iter().copied().collect();
        let mut lines = String::new();
        let mut expected = Vec::new();
        for (key, text) in all.iter().filter(|(key, _)| !is_part(key)) {
            let text = match *key {
                "LH_NODE_INFO" => text.replace("%s", by_key.get("LS_NODE_INFO_TAG").context("no LS_NODE_INFO_TAG")?),
                _ => (*text).to_owned(),
            };
            let untagged = ["LA_CONNECTED_1", "LA_CONNECTED_2", "LA_IP_DENIED", "LA_ERROR", "LA_OK", "LA_RPC_START"];
            let tag = if key.starts_with("LA_") && !untagged.contains(key) {
                format!("{} ", filled(by_key.get("LA_TAG_1").context("no LA_TAG_1")?).0)
            } else {
                String::new()
            };
            let (text, values) = filled(&text);
            lines.extend(["2026-11-21 22:43:13.000 ", &tag, &text, "\r\n"]);
            expected.push((*key, text, values));
        }
        ensure!(expected.len() > 280, "{name}: only {} messages", expected.len());
        let records = parse(&lines)?;
        ensure!(records.len() == expected.len(), "{name}: {} records of {} lines", records.len(), expected.len());
        for (record, (key, text, values)) in records.iter().zip(&expected) {
            let code = record["event"]["code"].as_str().unwrap_or_default();
            // Some tables say two things with one text.
            let same = by_key.get(code).map(|other| filled(other).0) == Some(text.clone());
            ensure!(code == *key || same, "{name}: {key} is taken for {code:?}: {text}");
            ensure!(record["waybill"]["suspect"].is_null(), "{name}: {text}");
            let mut fields = record.clone();
            for (object, member) in [("event", "original"), ("", "message")] {
                let place = if object.is_empty() { &mut fields } else { &mut fields[object] };
                place[member] = Value::Null;
            }
            let written = fields.to_string();
            for value in values {
                ensure!(written.contains(value.as_str()), "{name}: {key}: {value} is lost: {text} {record}");
            }
        }
    }
    Ok(())
}
