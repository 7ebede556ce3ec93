//! Links between the hosts that are cut in mode copy: exactly one copy of the container runs, and it went on.

mod support;

use support::Lab;
use support::copy::{Before, fresh};
use support::pages::{settle, sever, severed};

with_each_engine! {
    a_link_that_is_cut_at_each_phase
}

const MODE: [&str; 2] = ["--mode", "copy"];
/// Links are given up soon.
const SOON: [&str; 4] = ["--mode", "copy", "--link-timeout", "5"];

fn a_link_that_is_cut_at_each_phase(engine: &str) {
    let lab = if engine == "podman" {
        Lab::up("tcpp", "10.122.0.0/24", engine)
    } else {
        Lab::up("auto", "10.105.0.0/24", engine)
    };
    let Some(lab) = lab else { return };
    sever(&lab, false);
    let name = "severed";
    fresh(&lab, name);
    lab.counter(name, "0.05", "");
    let mut before = Before::of(&lab);
    let mut cut = |mode: &[&str], phase: &str, seconds: Option<u64>, codes: &[i32]| {
        let what = format!("{phase}, {seconds:?} s");
        let (ran, _) = severed(&lab, name, mode, phase, seconds);
        assert!(codes.contains(&ran.code), "{what}: {ran:?}");
        settle(&lab, name, &ran, &mut before, &what);
    };
    // What is back within some seconds is survived.
    cut(&MODE, "files", Some(5), &[0]);
    cut(&MODE, "freeze", Some(5), &[0]);
    // It does not stand frozen for longer than was allowed, though the link would come back; or it was through before
    // the link was cut.
    cut(&SOON, "freeze", Some(20), &[0, 6]);
    // For good; once all has arrived the link is not needed any more.
    cut(&SOON, "move", None, &[0, 6]);
    cut(&SOON, "restore", None, &[0]);
    fresh(&lab, name);
}
