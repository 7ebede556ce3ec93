//! Known faults of kernels, CRIU and C libraries together: data, one check each.

use super::catalogue::{Check, Meta};
use super::subject::Subject;
use super::verdict::{Group, Outcome};
use host::facts::kernel::Setting;
use semver::Version;
use serde::Deserialize;

const KNOWN: &str = include_str!("../../data/known.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    fault: Vec<Fault>,
}

/// A range of versions: from the first, below the second.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    from: Option<String>,
    below: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Warn,
    Fail,
}

/// One fault; the file says what its conditions mean.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    id: String,
    title: String,
    kernel: Option<Range>,
    criu: Option<Range>,
    glibc: Option<Range>,
    arch: Option<String>,
    like: Option<String>,
    flag: Option<String>,
    cgroup: Option<u32>,
    setting: Option<String>,
    lsm: Option<String>,
    apparmor: Option<bool>,
    iptables_nft: Option<bool>,
    no_ipv6: Option<bool>,
    release: Option<String>,
    unless_package: Option<(String, String)>,
    status: Severity,
    why: String,
    fix: String,
    source: String,
}

/// Whether a condition holds; `Err` says what is not known.
type Holds = Result<bool, &'static str>;

impl Range {
    fn holds(&self, version: Option<&Version>, what: &'static str) -> Holds {
        let version = version.ok_or(what)?;
        let end = |text: &Option<String>| text.as_deref().and_then(host::version::lenient);
        // Pre-releases belong to what they precede: 6.13-rc2 has 6.13's faults.
        let plain = Version::new(version.major, version.minor, version.patch);
        Ok(end(&self.from).is_none_or(|from| from <= plain)
            && end(&self.below).is_none_or(|below| plain < below))
    }

    fn text(&self, what: &str) -> String {
        match (&self.from, &self.below) {
            (Some(from), Some(below)) => format!("{what} from {from} and before {below}"),
            (Some(from), None) => format!("{what} {from} or later"),
            (None, Some(below)) => format!("{what} before {below}"),
            (None, None) => format!("any {what}"),
        }
    }
}

impl Fault {
    /// All conditions, the cheap and certain ones first: one that does not hold settles it, even
    /// where another is not known.
    fn holds(&self, subject: &Subject<'_>) -> Holds {
        let facts = subject.facts;
        let libc = facts.libc.as_ref().filter(|libc| libc.name == "glibc");
        let conditions: [Option<Holds>; 14] = [
            self.arch.as_ref().map(|arch| {
                let machine = subject.machine().ok_or("the architecture is not known")?;
                Ok(machine == arch)
            }),
            self.like.as_ref().map(|id| {
                let os = facts.os.as_ref().ok_or("the distribution is not known")?;
                Ok(os.is_like(id))
            }),
            self.release
                .as_ref()
                .map(|part| Ok(subject.release().contains(part))),
            self.kernel
                .as_ref()
                .map(|range| range.holds(subject.kernel(), "the kernel's version is not known")),
            self.flag.as_ref().map(|flag| {
                let cpu = facts.cpu.as_ref().ok_or("the processor is not known")?;
                Ok(cpu.flags.contains(flag))
            }),
            self.cgroup.map(|number| {
                let cgroup = subject.cgroup().ok_or("the cgroup version is not known")?;
                Ok(cgroup.number() == number)
            }),
            self.setting.as_ref().map(|option| match subject.setting(option) {
                Setting::Unknown => Err("the kernel's configuration is found nowhere"),
                setting => Ok(setting != Setting::Off),
            }),
            self.lsm
                .as_ref()
                .map(|name| Ok(facts.lsm.active.contains(name))),
            self.apparmor.map(|wanted| {
                let on = facts.lsm.apparmor.as_ref();
                Ok(on.is_some_and(|apparmor| apparmor.enabled) == wanted)
            }),
            self.iptables_nft.map(|wanted| {
                let iptables = facts.tools.get("iptables").and_then(|tool| tool.text.as_ref());
                Ok(iptables.is_some_and(|text| text.contains("nf_tables")) == wanted)
            }),
            self.no_ipv6.map(|wanted| {
                let off = subject.sysctl("net.ipv6.conf.all.disable_ipv6") != Some(0);
                Ok(off == wanted)
            }),
            self.glibc.as_ref().map(|range| match (&facts.libc, libc) {
                (Some(_), None) => Ok(false),
                (_, libc) => range.holds(
                    libc.and_then(|libc| libc.version.as_ref()),
                    "the C library's version is not known",
                ),
            }),
            self.criu
                .as_ref()
                .map(|range| range.holds(subject.criu_version(), "CRIU is not installed")),
            self.unless_package.as_ref().map(|(name, part)| {
                let mended = facts.packages.get(name);
                Ok(!mended.is_some_and(|version| version.contains(part)))
            }),
        ];
        let mut unknown = None;
        for holds in conditions.into_iter().flatten() {
            match holds {
                Ok(false) => return Ok(false),
                Ok(true) => {}
                Err(what) => unknown = Some(what),
            }
        }
        unknown.map_or(Ok(true), Err)
    }

    /// The conditions in words, for the check's page.
    fn conditions(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.kernel.as_ref().map(|range| range.text("Linux")));
        words.extend(self.criu.as_ref().map(|range| range.text("CRIU")));
        words.extend(self.glibc.as_ref().map(|range| range.text("glibc")));
        words.extend(self.arch.as_ref().map(|arch| format!("on {arch}")));
        words.extend(self.like.as_ref().map(|id| format!("on {id} and what derives from it")));
        words.extend(self.release.as_ref().map(|part| format!("a kernel named *{part}*")));
        words.extend(self.flag.as_ref().map(|flag| format!("a processor with {flag}")));
        words.extend(self.cgroup.map(|number| format!("cgroup v{number}")));
        words.extend(self.setting.as_ref().map(|option| format!("CONFIG_{option}")));
        words.extend(self.lsm.as_ref().map(|name| format!("the security module {name}")));
        words.extend(self.apparmor.map(|_| "AppArmor".to_owned()));
        words.extend(self.iptables_nft.map(|_| "iptables that writes nftables rules".to_owned()));
        words.extend(self.no_ipv6.map(|_| "IPv6 switched off".to_owned()));
        let unless = self.unless_package.as_ref();
        words.extend(unless.map(|(name, part)| format!("and not the package {name} {part}")));
        let verb = match self.status {
            Severity::Warn => "warns",
            Severity::Fail => "fails",
        };
        format!("it {verb} where all of these come together: {}", words.join("; "))
    }

    fn judge(&self, subject: &Subject<'_>) -> Outcome {
        match self.holds(subject) {
            Ok(false) => Outcome::ok(self.title.clone()),
            Err(unknown) => Outcome::skip(unknown),
            Ok(true) => {
                let sentence = "a known fault hits this host".to_owned();
                let outcome = match self.status {
                    Severity::Warn => Outcome::warn(sentence),
                    Severity::Fail => Outcome::fail(sentence),
                };
                outcome.found(self.found(subject))
            }
        }
    }

    /// The facts that the conditions looked at.
    fn found(&self, subject: &Subject<'_>) -> String {
        let mut words = Vec::new();
        if self.kernel.is_some() || self.release.is_some() {
            words.push(format!("Linux {}", subject.release()));
        }
        if let (Some(_), Some(version)) = (&self.criu, subject.criu_version()) {
            words.push(format!("CRIU {version}"));
        }
        if let (Some(_), Some(libc)) = (&self.glibc, &subject.facts.libc) {
            words.push(libc.text.clone());
        }
        words.extend(self.flag.as_ref().map(|flag| format!("a processor with {flag}")));
        words.extend(self.cgroup.map(|number| format!("cgroup v{number}")));
        words.extend(self.arch.clone().filter(|_| words.is_empty()));
        if self.iptables_nft == Some(true) {
            words.push("iptables that writes nftables rules".to_owned());
        }
        if self.no_ipv6 == Some(true) {
            words.push("IPv6 is off".to_owned());
        }
        words.join(", ")
    }
}

fn faults() -> Vec<Fault> {
    let table: Table = toml::from_str(KNOWN).expect("data/known.toml is read by the tests");
    table.fault
}

/// One check for each known fault.
pub(super) fn checks<'s>() -> Vec<Check<Subject<'s>>> {
    faults()
        .into_iter()
        .map(|fault| {
            let group = match fault.id.split('.').next() {
                Some("kernel") => Group::Kernel,
                _ => Group::Criu,
            };
            let meta = Meta {
                id: fault.id.clone().into(),
                group,
                title: fault.title.clone().into(),
                what: fault.conditions().into(),
                why: fault.why.clone().into(),
                fix: fault.fix.clone().into(),
                source: fault.source.clone().into(),
            };
            Check::new(meta, move |subject| fault.judge(subject))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_in_the_file_reads() {
        for fault in faults() {
            let ranges = [&fault.kernel, &fault.criu, &fault.glibc];
            assert!(!fault.conditions().ends_with(": "), "{}", fault.id);
            for text in ranges.into_iter().flatten().flat_map(|range| [&range.from, &range.below]) {
                if let Some(text) = text {
                    assert!(host::version::lenient(text).is_some(), "{}: {text}", fault.id);
                }
            }
        }
    }

    #[test]
    fn a_release_candidate_has_the_faults_of_its_release() {
        let range = Range {
            from: Some("6.13".to_owned()),
            below: None,
        };
        let version = host::version::lenient("6.13.0-rc2").unwrap();
        assert_eq!(range.holds(Some(&version), "x"), Ok(true));
        assert_eq!(range.holds(None, "x"), Err("x"));
    }
}
