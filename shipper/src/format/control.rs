//! Ledger entries as canonical records.

use xxhash_rust::xxh3::Xxh3;

use super::ecs::{Line, Writer};
use super::object::key;
use super::record::{Field, Record};
use super::settings::Outcome;
use super::{Frame, StreamInfo};

/// Appends one ledger entry as a canonical record and a newline.
///
/// `fields` is a JSON object that the caller has rendered; it becomes `waybill.control`. The record's source is `waybill`,
/// whatever `info` says. The last part of its id is a hash of action, message and fields.
#[expect(
    clippy::too_many_arguments,
    reason = "an entry has that many parts, and no two of one type and kind side by side"
)]
pub fn encode_control(
    info: &StreamInfo,
    seq: u64,
    offset: u64,
    time: i64,
    action: &str,
    outcome: Outcome,
    message: &str,
    fields: &[u8],
    out: &mut Vec<u8>,
) {
    let mut writer = Writer::new(&StreamInfo { source: "waybill".to_owned(), ..info.clone() });
    let mut hash = Xxh3::new();
    for part in [action.as_bytes(), b"\0", message.as_bytes(), b"\0", fields] {
        hash.update(part);
    }
    let frame = Frame {
        text: &[],
        seq,
        offset,
        hash: hash.digest(),
        observed: time,
        envelope: None,
        fragment: None,
        partial: false,
    };
    let mut record = Record::new("waybill", "waybill.control");
    record.parsed = true;
    record.outcome = Some(outcome);
    record.set(Field::EventAction, action.as_bytes());
    record.set(Field::Message, message.as_bytes());
    let mut detail = vec![b','];
    key(&mut detail, "control");
    detail.extend_from_slice(if fields.is_empty() { b"{}" } else { fields });
    let line = Line { frame: &frame, original: None, secrets: &[], members: &[], detail: &detail };
    writer.write(out, time, &record, &line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_entry_is_a_canonical_record() {
        let info = StreamInfo { policy: "gateways".to_owned(), ..StreamInfo::default() };
        let mut out = Vec::new();
        encode_control(
            &info,
            3,
            7,
            0,
            "kill-switch-engaged",
            Outcome::Success,
            "by \"ops\"\n",
            br#"{"mode":"Hold"}"#,
            &mut out,
        );
        let record: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(record["event"]["dataset"], "waybill.control");
        assert_eq!(record["event"]["action"], "kill-switch-engaged");
        assert_eq!(record["message"], "by \"ops\"\n");
        assert_eq!(record["waybill"]["control"]["mode"], "Hold");
        assert_eq!(record["waybill"]["source"], "waybill");
        assert_eq!((&record["waybill"]["seq"], &record["waybill"]["offset"]), (&3.into(), &7.into()));
    }
}
