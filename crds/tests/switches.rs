//! Kill switches of documents that are broken elsewhere.

use waybill_crds::{KillSwitch, KillSwitchMode, Switches, read};

fn switches(spec: &str) -> Switches {
    read(&format!("apiVersion: waybill.dev/v1alpha1\nkind: AuditPolicy\nmetadata: {{name: a}}\nspec:\n{spec}")).switches
}

fn engaged(mode: KillSwitchMode) -> KillSwitch {
    KillSwitch { engaged: true, mode, reason: "leak".to_owned(), requested_by: "me".to_owned() }
}

#[test]
fn they_are_read_before_a_syntax_error() {
    let read = switches(
        "  killSwitch: {engaged: true, mode: Discard, reason: leak, requestedBy: me}
  sources:
    - name: one
      killSwitch: {engaged: true, reason: leak, requestedBy: me}
    - name: two
      killSwitch: {engaged: false}
  sinks:
    - name: three
      killSwitch:
        engaged: true
        reason: leak
        requestedBy: me
      kafka: {brokers: [unclosed
   }
",
    );
    assert_eq!(read.policy, Some(engaged(KillSwitchMode::Discard)));
    let two = KillSwitch::default();
    assert_eq!(read.sources, [("one".to_owned(), engaged(KillSwitchMode::Hold)), ("two".to_owned(), two)]);
    assert_eq!(read.sinks, [("three".to_owned(), engaged(KillSwitchMode::Hold))]);
    assert!(read.any_engaged());
}

#[test]
fn they_are_read_from_entries_that_are_skipped_or_wrong() {
    let read = switches(
        "  sources:
    - {name: one, format: NextYear, killSwitch: {engaged: true, reason: leak, requestedBy: me}}
    - {name: two, format: 17, killSwitch: {engaged: true, reason: leak, requestedBy: me}}
",
    );
    assert_eq!(read.sources.len(), 2);
    assert!(read.sources.iter().all(|(_, switch)| *switch == engaged(KillSwitchMode::Hold)));
}

#[test]
fn an_unreadable_mode_holds() {
    for mode in ["Burn", "discard", "[Discard]", "5", "null", "{}"] {
        let read = switches(&format!("  killSwitch: {{engaged: true, mode: {mode}, reason: leak, requestedBy: me}}\n"));
        assert_eq!(read.policy, Some(engaged(KillSwitchMode::Hold)), "{mode}");
    }
}

#[test]
fn a_switch_is_better_thrown_than_missed() {
    for (text, thrown) in [
        ("{engaged: true}", Some(true)),
        ("{engaged: yes}", Some(true)),
        ("{engaged: \"on\"}", Some(true)),
        ("{engaged: off}", Some(false)),
        ("{mode: Hold}", Some(false)),
        ("true", Some(true)),
        ("{engaged: false, engaged: true}", Some(true)),
        ("{engaged: true}\n  killSwitch: {engaged: false}", Some(true)),
        ("{engaged: maybe}", None),
        ("{engaged: [true]}", None),
        ("[engaged]", None),
    ] {
        let read = switches(&format!("  killSwitch: {text}\n"));
        assert_eq!(read.policy.map(|switch| switch.engaged), thrown, "{text}");
    }
}

#[test]
fn a_switch_that_is_cut_off_is_not_guessed() {
    assert_eq!(switches("  killSwitch: {mode: Hold, reason: \"x").policy, None);
    let cut = switches("  killSwitch: {engaged: true, reason: \"x");
    assert!(cut.any_engaged());
}

#[test]
fn a_document_that_is_too_long_still_has_its_switch() {
    let filler = "  # filler\n".repeat(200_000);
    let read =
        switches(&format!("  killSwitch: {{engaged: true, reason: leak, requestedBy: me}}\n{filler}  sources: [\n"));
    assert_eq!(read.policy, Some(engaged(KillSwitchMode::Hold)));
}
