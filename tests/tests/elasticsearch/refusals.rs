//! Records that the server refuses, letters that are sent again, and kill switches in between; against the strict double.

use std::time::Duration;

use anyhow::{Result, ensure};
use waybill_tests::elasticsearch::Elasticsearch;
use waybill_tests::face;
use waybill_tests::room::{self, Room};
use waybill_tests::shipment::{SOON, Shipment};
use waybill_tests::wait::{await_true, holds_for};

use super::STREAM;

/// Longer than it takes the sink to look for letters twice.
const QUIET: Duration = Duration::from_secs(3);

fn with_double(name: &str, test: impl FnOnce(&Room, &Elasticsearch, Shipment) -> Result<()>) -> Result<()> {
    room::within(name, |room| {
        let double = Elasticsearch::start()?;
        double.cluster().make(STREAM);
        let shipment = Shipment::new(room, super::sink(&[double.url()]))?;
        test(room, &double, shipment)
    })
}

fn requests(double: &Elasticsearch, to: &str) -> usize {
    double.cluster().requests.iter().filter(|request| request.contains(to)).count()
}

/// So many lines, a quarter of them with a word that the double refuses.
fn write(shipment: &mut Shipment, lines: usize) -> Result<()> {
    let line = |n: usize| if n.is_multiple_of(4) { format!("line {n} is bad") } else { format!("line {n}") };
    shipment.lines(&(0..lines).map(line).collect::<Vec<_>>())
}

#[test]
fn many_refusals_among_successes_hold_no_lane_and_neither_do_unmended_letters() -> Result<()> {
    with_double("es-refusals", |room, double, mut shipment| {
        double.cluster().refused_text = Some("is bad".to_owned());
        write(&mut shipment, 2_000)?;
        shipment.agent.start()?;
        shipment.settle()?;
        ensure!(shipment.refused()? == 500, "{} are refused", shipment.refused()?);
        ensure!(requests(double, "/_bulk") < 200, "it took {} requests", requests(double, "/_bulk"));
        // Nothing was mended: all are refused again, and delivery goes on.
        let before = requests(double, "/_bulk");
        shipment.agent.retry_dead_letters("search")?;
        await_true("the letters were sent again", SOON, || Ok(requests(double, "/_bulk") > before))?;
        write(&mut shipment, 400)?;
        shipment.settle()?;
        ensure!(shipment.refused()? == 600, "{} are refused", shipment.refused()?);
        ensure!(shipment.status()?["trouble"].is_null(), "{}", shipment.status()?);
        // Letters stay under any switch that is about what they may hold.
        double.cluster().refused_text = None;
        let policy = Shipment::policy(room, super::sink(&[double.url()]));
        policy.clone().engaged("Hold", "drill").write(&room.policy())?;
        await_true("the switch is entered", SOON, || {
            Ok(shipment.agent.asker().status()?["switches"].to_string().contains("drill"))
        })?;
        let before = requests(double, "/_bulk");
        shipment.agent.retry_dead_letters("search")?;
        let bad = || double.documents(STREAM).iter().filter(|(_, d)| d.to_string().contains("is bad")).count();
        holds_for("no letter goes out", QUIET, || Ok(bad() == 0))?;
        println!("{} requests of the control stream", requests(double, "/_bulk") - before);
        policy.lifted("drill over").write(&room.policy())?;
        await_true("the letters arrive", SOON, || Ok(bad() == 600))?;
        shipment.agent.stop()?;
        ensure!(double.cluster().offences.is_empty(), "{:?}", double.cluster().offences);
        Ok(())
    })
}

#[test]
fn a_switch_that_is_thrown_while_it_looks_for_repeats_stops_the_request_behind_it() -> Result<()> {
    with_double("es-look-up", |room, double, mut shipment| {
        double.cluster().delay = QUIET;
        shipment.write(100)?;
        shipment.agent.start()?;
        await_true("it looks for what an earlier run may have sent", SOON, || {
            Ok(requests(double, "GET /_data_stream/") > 0)
        })?;
        let mut sink = super::sink(&[double.url()]);
        sink["killSwitch"] = waybill_tests::policy::switch(true, "Hold", "drill");
        Shipment::policy(room, sink).write(&room.policy())?;
        await_true("the switch is entered", SOON, || {
            Ok(shipment.agent.asker().status()?["switches"].to_string().contains("drill"))
        })?;
        ensure!(requests(double, "/_bulk") == 0, "it was sent before the switch was thrown: nothing is proved");
        holds_for("nothing is sent", 2 * QUIET, || Ok(requests(double, "/_bulk") == 0))?;
        double.cluster().delay = Duration::ZERO;
        Shipment::policy(room, super::sink(&[double.url()])).write(&room.policy())?;
        shipment.settle()?;
        shipment.agent.stop()?;
        ensure!(face::lanes(&shipment.agent.inspect()?)?.iter().all(|lane| lane.term("lost").bytes == 0), "lost");
        Ok(())
    })
}
