mod common;
use common::*;
#[test]
fn look() {
    for (name, report) in [("trixie", judged_with_criu(&[])), ("trixie-nocriu", judged(TRIXIE, &[])), ("xenial", judged(XENIAL, &[])), ("client", judged(CLIENT, &[]))] {
        println!("== {name} {} {:?}", report.headline, report.counts);
        for v in report.verdicts() { println!("{:?} {} | {} | {:?} | {:?} | {:?}", v.status, v.id, v.sentence, v.found, v.needed_because, v.fix); }
    }
}
