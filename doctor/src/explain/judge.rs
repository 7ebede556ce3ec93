//! From what a log says to causes: which signs hold, in which order, and what is ruled out.

use super::rule::{Component, Confidence, Known, NOISE, RULES, Rank, Rule, Sign};
use super::scan::Scan;
use super::versions::Holds;
use super::{Diagnosis, Evidence, RuledOut};

/// Lines shown per diagnosis.
const EVIDENCE: usize = 5;

/// A rule with the sign that speaks for it.
struct Case {
    rule: &'static Rule,
    rank: Rank,
    weight: i32,
    confidence: Confidence,
    lines: Vec<usize>,
}

impl Case {
    fn first(&self) -> usize {
        self.lines[0]
    }
}

/// What one sign says about a log.
enum Says {
    Nothing,
    Yes(Case),
    No(String),
}

/// Diagnoses, best first, and what looked alike but is not it.
pub(super) fn judge(scan: &Scan) -> (Vec<Diagnosis>, Vec<RuledOut>) {
    let mut ruled_out = Vec::new();
    let mut cases = Vec::new();
    for rule in RULES {
        let (mut best, mut why): (Option<Case>, Option<String>) = (None, None);
        for sign in rule.signs {
            match ask(rule, sign, scan) {
                Says::Nothing => {}
                Says::No(reason) => why = why.or(Some(reason)),
                Says::Yes(case) => {
                    if best.as_ref().is_none_or(|b| order(&case) < order(b)) {
                        best = Some(case);
                    }
                }
            }
        }
        match (best, why) {
            (Some(case), _) => cases.push(case),
            (None, Some(why)) => ruled_out.push(out(rule, why)),
            (None, None) => {}
        }
    }
    explained(&mut cases, &mut ruled_out);
    cases.sort_by_key(order);
    let succeeded = scan.succeeded && !scan.failed;
    let first = cases.first().map(Case::first);
    let diagnoses = cases
        .into_iter()
        .map(|case| diagnosis(case, first, succeeded, scan))
        .collect();
    (diagnoses, ruled_out)
}

/// Best first: a named cause before a symptom before a hint; then weight; then what came first in the log, since
/// later errors follow from earlier ones.
fn order(case: &Case) -> (Rank, bool, i32, usize, u8) {
    (
        case.rank,
        case.confidence == Confidence::Low,
        -case.weight,
        case.first(),
        match case.confidence {
            Confidence::High => 0,
            Confidence::Medium => 1,
            Confidence::Low => 2,
        },
    )
}

fn ask(rule: &'static Rule, sign: &Sign, scan: &Scan) -> Says {
    let mut lines: Vec<usize> = sign
        .any
        .iter()
        .flat_map(|p| scan.hits(*p))
        .copied()
        .collect();
    if lines.is_empty() || sign.all.iter().any(|p| scan.hits(*p).is_empty()) {
        return Says::Nothing;
    }
    lines.sort_unstable();
    let mut confidence = sign.confidence;
    let mut weight = sign.weight;
    for (component, range) in sign.need {
        match scan.versions.holds(*component, range) {
            Holds::Yes => {}
            Holds::Unknown => return Says::Nothing,
            Holds::No(why) => return Says::No(why),
        }
    }
    let mut unknown = false;
    for (component, range) in sign.with {
        match scan.versions.holds(*component, range) {
            Holds::Yes => weight += 1,
            Holds::Unknown => unknown = true,
            Holds::No(why) => return Says::No(why),
        }
    }
    if unknown {
        confidence = confidence.lower();
    }
    if let Some(line) = sign.none.iter().find_map(|p| scan.hits(*p).first()) {
        return Says::No(format!(
            "line {line} speaks against it: {}",
            scan.text(*line)
        ));
    }
    // The place of a case is where its own line is; lines that must be there too are shown after it.
    lines.truncate(EVIDENCE);
    for pattern in sign.all {
        lines.extend(scan.hits(*pattern).first());
    }
    let mut seen = Vec::new();
    lines.retain(|l| {
        !seen.contains(l) && (seen.len() < EVIDENCE) && {
            seen.push(*l);
            true
        }
    });
    Says::Yes(Case {
        rule,
        rank: sign.rank,
        weight,
        confidence,
        lines,
    })
}

/// Takes out the causes that another one of at least their rank explains.
fn explained(cases: &mut Vec<Case>, ruled_out: &mut Vec<RuledOut>) {
    let by: Vec<(&'static str, Rank, &'static str)> = cases
        .iter()
        .filter(|c| c.confidence > Confidence::Low)
        .flat_map(|c| c.rule.over.iter().map(|o| (*o, c.rank, c.rule.id)))
        .collect();
    cases.retain(|case| {
        let explains =
            |(id, rank, _): &&(&str, Rank, &str)| *id == case.rule.id && *rank <= case.rank;
        let Some((_, _, cause)) = by.iter().find(explains) else {
            return true;
        };
        ruled_out.push(out(case.rule, format!("its lines follow from {cause}")));
        false
    });
}

fn diagnosis(case: Case, first: Option<usize>, succeeded: bool, scan: &Scan) -> Diagnosis {
    let mut confidence = case.confidence;
    if case.rank == Rank::Hint {
        let most = if scan.failed {
            Confidence::Low
        } else {
            Confidence::Medium
        };
        confidence = confidence.min(most);
    }
    if first.is_some_and(|first| case.first() > first) {
        confidence = confidence.min(Confidence::Medium);
    }
    if succeeded {
        confidence = Confidence::Low;
    }
    let mut lines = case.lines;
    lines.sort_unstable();
    Diagnosis {
        id: case.rule.id,
        title: case.rule.title,
        cause: case.rule.cause,
        fix: case.rule.fix.to_vec(),
        confidence,
        evidence: lines.into_iter().map(|l| evidence(scan, l)).collect(),
        source: case.rule.source.join(", "),
    }
}

pub(super) fn evidence(scan: &Scan, line: usize) -> Evidence {
    Evidence {
        line,
        text: scan.text(line).to_owned(),
    }
}

fn out(rule: &Rule, why: String) -> RuledOut {
    RuledOut {
        id: rule.id,
        title: rule.title,
        why,
    }
}

/// What to fetch where the log does not say enough.
pub(super) fn collect(scan: &Scan) -> Vec<String> {
    let mut list = Vec::new();
    match &scan.log_path {
        Some(path) => list.push(format!(
            "sudo cat {path} | transship doctor explain -   # the engine removes this file soon: copy it at once"
        )),
        None if !scan.criu_log => list.push(
            "CRIU's own log: dump.log or restore.log in the runtime's work folder, for Docker `sudo find /run/containerd /var/lib/docker /run/docker -name '*dump.log' -o -name restore.log`".to_owned(),
        ),
        None => list.push(
            "the whole log from its first line, not only its end: the first error is the cause".to_owned(),
        ),
    }
    if !scan.criu_log {
        list.push(
            "if it is gone (Docker removes restore.log at once): echo 'log-file /var/log/criu.log' | sudo tee -a /etc/criu/runc.conf, repeat the run, then transship doctor explain --host HOST --container NAME".to_owned(),
        );
    }
    if scan.criu_log {
        list.push("the same run with `log-level 4` in /etc/criu/runc.conf".to_owned());
    }
    if !scan.versions.knows(Component::Criu) {
        list.push("criu --version; give it as --criu".to_owned());
    }
    if !scan.versions.knows(Component::Kernel) {
        list.push("uname -r; give it as --kernel".to_owned());
    }
    if scan.versions.engine().is_none() {
        list.push("the engine and its version; give them as --engine NAME=VERSION".to_owned());
    }
    list.push("sudo criu check --all".to_owned());
    list.push("transship doctor HOST".to_owned());
    list
}

/// Error lines that no rule knows.
pub(super) fn unexplained(scan: &Scan) -> Vec<Evidence> {
    scan.unexplained
        .iter()
        .map(|l| evidence(scan, *l))
        .collect()
}

/// Why lines that look like errors are none.
pub(super) fn noise(scan: &Scan) -> Vec<RuledOut> {
    let of = |n: &'static Known| {
        let line = scan.hits(n.pattern).first()?;
        Some(RuledOut {
            id: "noise",
            title: "A line that successful runs print too",
            why: format!("line {line}: {}", n.why),
        })
    };
    NOISE.iter().filter_map(of).collect()
}
