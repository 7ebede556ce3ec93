//! CRIU itself.

use crate::check::catalogue::{Check, meta};
use crate::check::subject::Subject;
use crate::check::verdict::{Group, Outcome};
use semver::Version;

pub(super) fn checks<'s>() -> Vec<Check<Subject<'s>>> {
    vec![
        Check::new(
            meta(
                "criu.present",
                Group::Criu,
                "CRIU is installed",
                "whether `criu` is in PATH and says its version. It fails where it does not, and below 3.11, the least that Podman and runc's configuration file need",
                "Docker, Podman and transship have CRIU make and restore every checkpoint",
                "`transship provision HOST`",
            ),
            present,
        ),
        Check::new(
            meta(
                "criu.works",
                Group::Criu,
                "CRIU works on this kernel",
                "`criu check`, which tries what every checkpoint needs. It fails where that fails, and where CRIU hangs or cannot be asked",
                "what it finds missing here would be missing in the middle of a migration",
                "read what it says; most often CRIU is too old for the kernel: `transship provision HOST`",
            ),
            works,
        ),
        Check::new(
            meta(
                "criu.cache",
                Group::Criu,
                "What CRIU remembers of the kernel is up to date",
                "whether /run/criu.kdat is older than the program. It warns where it is and `criu check` fails",
                "CRIU writes down what the kernel can and believes it afterwards; another CRIU on the same boot may then judge wrongly",
                "`rm /run/criu.kdat` (CRIU writes it anew)",
            ),
            cache,
        ),
        Check::new(
            meta(
                "criu.configuration",
                Group::Criu,
                "CRIU's configuration leaves transship its options",
                "/etc/criu/runc.conf and /etc/criu/default.conf. It warns where they hold options that contradict a migration",
                "runc has CRIU read runc.conf for every container, and what stands there wins over what is asked for",
                "take the option out of the file",
            ),
            configuration,
        ),
    ]
}

fn present(subject: &Subject<'_>) -> Outcome {
    let Some(criu) = &subject.facts.criu else {
        return Outcome::fail("CRIU is not installed").found("no program criu in PATH");
    };
    match &criu.tool.version {
        Some(version) if *version < Version::new(3, 11, 0) => {
            Outcome::fail(format!("CRIU {} is too old", subject.criu_text()))
                .found(format!("CRIU {} in {}", subject.criu_text(), criu.tool.path))
                .because("Podman and runc's configuration file need CRIU 3.11; 3.17 and later know what new C libraries do")
        }
        Some(_) => Outcome::ok(format!("CRIU {} is installed", subject.criu_text())),
        None => Outcome::fail("CRIU does not say its version")
            .found(
                criu.tool
                    .text
                    .clone()
                    .unwrap_or_else(|| "`criu --version` printed nothing".to_owned()),
            ),
    }
}

fn works(subject: &Subject<'_>) -> Outcome {
    if subject.facts.criu.is_none() {
        return Outcome::skip("CRIU is not installed");
    }
    if let Some(why) = subject.criu.and_then(|criu| criu.unanswered.as_ref()) {
        return Outcome::fail("CRIU does not answer")
            .found(why)
            .fix("criu check -v4")
            .fix(subject.provision());
    }
    let Some(check) = subject.criu.and_then(|criu| criu.check.as_ref()) else {
        return Outcome::skip("CRIU was not asked");
    };
    if check.good && subject.criu.is_some_and(|criu| criu.version.is_none()) {
        return Outcome::skip("what says yes is no CRIU that is known, see criu.present");
    }
    if check.good {
        return Outcome::ok("`criu check` says that it looks good");
    }
    if subject.facts.identity.uid != Some(0) {
        return Outcome::skip("`criu check` needs root, see system.root");
    }
    // The first error is the cause; what follows are consequences.
    let errors = check.text.lines().find(|line| line.contains("Error"));
    Outcome::fail("`criu check` failed")
        .found(errors.unwrap_or(&check.text).trim().to_owned())
        .fix("criu check -v4")
        .fix(subject.provision())
}

fn cache(subject: &Subject<'_>) -> Outcome {
    let Some(criu) = &subject.facts.criu else {
        return Outcome::skip("CRIU is not installed");
    };
    match criu.cache {
        // CRIU throws away the cache of another build; of the same one only a failure makes it suspect.
        Some((written, Some(installed)))
            if written < installed
                && subject
                    .criu
                    .and_then(|criu| criu.check.as_ref())
                    .is_some_and(|check| !check.good) =>
        {
            Outcome::warn("CRIU's cache is older than CRIU")
                .found("/run/criu.kdat was written before the program was installed")
                .fix("rm /run/criu.kdat")
        }
        Some(_) => Outcome::ok("CRIU's cache is of this CRIU"),
        None => Outcome::ok("CRIU has no cache yet"),
    }
}

/// Options that break a migration when they stand in a file that wins over the caller's.
const HARMFUL: [&str; 5] = [
    "images-dir",
    "work-dir",
    "leave-running",
    "stream",
    "page-server",
];

/// The command that takes a line out of a file.
fn without(line: &str, path: &str) -> String {
    let mut pattern = String::new();
    for letter in line.chars() {
        if "/.*[]^$\\".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    let script = format!("/^[[:space:]]*{pattern}[[:space:]]*$/d");
    format!("sed -i {} {path}", host::quote(&script))
}

fn configuration(subject: &Subject<'_>) -> Outcome {
    let Some(criu) = &subject.facts.criu else {
        return Outcome::skip("CRIU is not installed");
    };
    for (path, lines) in &criu.configuration {
        let harmful = lines.iter().find(|line| {
            let option = line.trim_start_matches('-');
            let name = option.split([' ', '=']).next().unwrap_or_default();
            HARMFUL.contains(&name)
        });
        if let Some(line) = harmful {
            return Outcome::warn("CRIU's configuration contradicts a migration")
                .found(format!("{path} has `{line}`"))
                .fix(without(line, path));
        }
    }
    Outcome::ok(if criu.configuration.is_empty() {
        "CRIU has no configuration files".to_owned()
    } else {
        let files: Vec<&String> = criu.configuration.keys().collect();
        format!(
            "{} {} no option that contradicts a migration",
            crate::check::subject::list(&files),
            if files.len() == 1 { "has" } else { "have" }
        )
    })
}
