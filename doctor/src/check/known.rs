//! Known faults of kernels, CRIU and C libraries together: data, one check each.

use super::catalogue::{Check, Meta};
use super::subject::Subject;
use super::verdict::{Group, Outcome};
use host::facts::kernel::Setting;
use semver::Version;
use serde::Deserialize;

const KNOWN: &str = include_str!(concat!(env!("OUT_DIR"), "/known.json"));

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
    lsm_before_apparmor: Option<String>,
    #[serde(default)]
    apparmor: bool,
    #[serde(default)]
    iptables_nft: bool,
    #[serde(default)]
    no_ipv6: bool,
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

/// One condition of a fault.
#[derive(Clone, Copy)]
enum Condition<'f> {
    Arch(&'f str),
    Like(&'f str),
    Release(&'f str),
    Kernel(&'f Range),
    Flag(&'f str),
    Cgroup(u32),
    Setting(&'f str),
    LsmFirst(&'f str),
    AppArmor,
    IptablesNft,
    NoIpv6,
    Glibc(&'f Range),
    Criu(&'f Range),
    Unless(&'f str, &'f str),
}

impl Condition<'_> {
    /// Who is hit, in words.
    fn words(self) -> String {
        match self {
            Condition::Arch(name) => name.to_owned(),
            Condition::Like(id) => format!("{id} and what derives from it"),
            Condition::Release(part) => format!("Linux *{part}*"),
            Condition::Kernel(range) => range.text("Linux"),
            Condition::Flag(flag) => format!("a processor with {flag}"),
            Condition::Cgroup(number) => format!("cgroup v{number}"),
            Condition::Setting(option) => format!("a kernel with CONFIG_{option}"),
            Condition::LsmFirst(name) => {
                format!("a host with the security module {name} before AppArmor")
            }
            Condition::AppArmor => "a host with AppArmor".to_owned(),
            Condition::IptablesNft => "iptables that writes nftables rules".to_owned(),
            Condition::NoIpv6 => "a host without IPv6".to_owned(),
            Condition::Glibc(range) => range.text("glibc"),
            Condition::Criu(range) => range.text("CRIU"),
            Condition::Unless(name, part) => format!("any package {name} but {part}"),
        }
    }

    fn holds(self, subject: &Subject<'_>) -> Holds {
        let facts = subject.facts;
        match self {
            Condition::Arch(name) => {
                let machine = subject.machine().ok_or("the architecture is not known")?;
                Ok(machine == name)
            }
            Condition::Like(id) => {
                let os = facts.os.as_ref().ok_or("the distribution is not known")?;
                Ok(os.is_like(id))
            }
            Condition::Release(part) => Ok(subject.release().contains(part)),
            Condition::Kernel(range) => {
                range.holds(subject.kernel(), "the kernel's version is not known")
            }
            Condition::Flag(flag) => {
                let cpu = facts.cpu.as_ref().ok_or("the processor is not known")?;
                Ok(cpu.flags.contains(flag))
            }
            Condition::Cgroup(number) => {
                let cgroup = subject.cgroup().ok_or("the cgroup version is not known")?;
                Ok(cgroup.number() == number)
            }
            Condition::Setting(option) => match subject.setting(option) {
                Setting::Unknown => Err("the kernel's configuration is found nowhere"),
                setting => Ok(setting != Setting::Off),
            },
            Condition::LsmFirst(name) => {
                let place =
                    |module: &str| facts.lsm.active.iter().position(|active| active == module);
                Ok(place(name) < place("apparmor") && place(name).is_some())
            }
            Condition::AppArmor => {
                let apparmor = facts.lsm.apparmor.as_ref();
                Ok(apparmor.is_some_and(|apparmor| apparmor.enabled))
            }
            Condition::IptablesNft => {
                let iptables = facts.tools.get("iptables");
                let text = iptables.and_then(|tool| tool.text.as_ref());
                Ok(text.is_some_and(|text| text.contains("nf_tables")))
            }
            Condition::NoIpv6 if facts.sysctls.is_empty() => Err("/proc/sys could not be read"),
            Condition::NoIpv6 => Ok(subject.sysctl("net.ipv6.conf.all.disable_ipv6") != Some(0)),
            Condition::Glibc(range) => {
                let libc = facts.libc.as_ref();
                if libc.is_some_and(|libc| libc.name != "glibc") {
                    return Ok(false);
                }
                range.holds(
                    libc.and_then(|libc| libc.version.as_ref()),
                    "the C library's version is not known",
                )
            }
            Condition::Criu(range) => range.holds(subject.criu_version(), "CRIU is not installed"),
            Condition::Unless(name, part) => {
                let package = facts.packages.get(name);
                Ok(!package.is_some_and(|version| version.contains(part)))
            }
        }
    }
}

impl Fault {
    /// All conditions; what a host cannot change comes first, since a verdict names the first
    /// that does not hold.
    fn conditions(&self) -> Vec<Condition<'_>> {
        let unless = self.unless_package.as_ref();
        [
            self.arch.as_deref().map(Condition::Arch),
            self.like.as_deref().map(Condition::Like),
            self.release.as_deref().map(Condition::Release),
            self.kernel.as_ref().map(Condition::Kernel),
            self.flag.as_deref().map(Condition::Flag),
            self.cgroup.map(Condition::Cgroup),
            self.setting.as_deref().map(Condition::Setting),
            self.lsm_before_apparmor.as_deref().map(Condition::LsmFirst),
            self.apparmor.then_some(Condition::AppArmor),
            self.iptables_nft.then_some(Condition::IptablesNft),
            self.no_ipv6.then_some(Condition::NoIpv6),
            self.glibc.as_ref().map(Condition::Glibc),
            self.criu.as_ref().map(Condition::Criu),
            unless.map(|(name, part)| Condition::Unless(name, part)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The conditions in words, for the check's page.
    fn what(&self) -> String {
        let words: Vec<String> = self
            .conditions()
            .into_iter()
            .map(Condition::words)
            .collect();
        let verb = match self.status {
            Severity::Warn => "warns",
            Severity::Fail => "fails",
        };
        format!(
            "it {verb} where all of these come together: {}",
            words.join("; ")
        )
    }

    fn judge(&self, subject: &Subject<'_>) -> Outcome {
        let mut unknown = None;
        // One condition that does not hold settles it, even where another is not known.
        for condition in self.conditions() {
            match (condition.holds(subject), condition) {
                (Ok(true), _) => {}
                (Ok(false), Condition::Criu(_) | Condition::Unless(..)) => {
                    return Outcome::ok(self.title.clone());
                }
                (Ok(false), other) => {
                    return Outcome::ok(format!("a fault of {} only", other.words()));
                }
                (Err(what), _) => unknown = Some(what),
            }
        }
        if let Some(what) = unknown {
            return Outcome::skip(what);
        }
        let sentence = "a known fault hits this host".to_owned();
        let outcome = match self.status {
            Severity::Warn => Outcome::warn(sentence),
            Severity::Fail => Outcome::fail(sentence),
        };
        outcome.found(self.found(subject))
    }

    /// The facts that the conditions looked at.
    fn found(&self, subject: &Subject<'_>) -> String {
        let facts = subject.facts;
        let mut words: Vec<String> = Vec::new();
        for condition in self.conditions() {
            let word = match condition {
                Condition::Kernel(_) | Condition::Release(_) => {
                    format!("Linux {}", subject.release())
                }
                Condition::Criu(_) => format!("CRIU {}", subject.criu_text()),
                Condition::Glibc(_) => match &facts.libc {
                    Some(libc) => libc.text.clone(),
                    None => continue,
                },
                Condition::Like(_) => match &facts.os {
                    Some(os) => os.name.clone(),
                    None => continue,
                },
                Condition::Unless(..) => continue,
                other => other.words(),
            };
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words.join(", ")
    }
}

fn faults() -> Vec<Fault> {
    let table: Table = serde_json::from_str(KNOWN).expect("data/known.toml is read by the tests");
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
                what: fault.what().into(),
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
            assert!(!fault.conditions().is_empty(), "{}", fault.id);
            let ends = ranges.into_iter().flatten();
            for text in ends.flat_map(|range| [&range.from, &range.below]).flatten() {
                let version = host::version::lenient(text);
                assert!(version.is_some(), "{}: {text}", fault.id);
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
