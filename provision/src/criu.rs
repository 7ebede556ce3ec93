//! Which CRIU fits a host: the doctor judges.

use crate::plan::Refusal;
use crate::profile::{CriuSource, Release};
use doctor::check::{Status, Subject};
use host::Facts;
use host::facts::tools::{Criu, Tool};

/// What the doctor holds against a version of CRIU on this host; empty where it fits.
pub(crate) fn objections(facts: &Facts, version: &str) -> Vec<String> {
    let mut facts = facts.clone();
    let known = host::version::lenient(version);
    let tool = Tool {
        path: "/usr/sbin/criu".to_owned(),
        text: Some(format!("Version: {version}")),
        version: known,
    };
    facts.criu = Some(Criu {
        tool,
        library: None,
        package: Some(version.to_owned()),
        configuration: Default::default(),
        cache: None,
    });
    facts.packages.insert("criu".to_owned(), version.to_owned());
    let subject = Subject {
        name: "HOST",
        facts: &facts,
        criu: None,
    };
    doctor::check::host(&subject)
        .verdicts()
        .filter(|verdict| verdict.status == Status::Fail && verdict.id.starts_with("criu."))
        .map(|verdict| {
            format!(
                "{}: {}",
                verdict.id,
                verdict
                    .needed_because
                    .as_deref()
                    .unwrap_or(&verdict.sentence)
            )
        })
        .collect()
}

/// The version of the CRIU that is installed: its package's, which tells of mended faults, else its own.
pub(crate) fn installed(facts: &Facts) -> Option<String> {
    let criu = facts.criu.as_ref()?;
    let own = criu.tool.version.as_ref().map(ToString::to_string);
    match (&criu.package, own) {
        // A program that was built by hand lies before the package's in PATH.
        (Some(package), Some(own)) => {
            let same = host::version::lenient(package).map(|v| v.to_string()) == Some(own.clone());
            Some(if same { package.clone() } else { own })
        }
        (package, own) => own.or_else(|| package.clone()),
    }
}

/// The first source whose CRIU fits the running kernel.
///
/// # Errors
/// Where none fits, with what stands against each.
pub(crate) fn source<'r>(facts: &Facts, release: &'r Release) -> Result<&'r CriuSource, Refusal> {
    let mut against = Vec::new();
    for source in &release.criu {
        let objections = objections(facts, &source.offers);
        if objections.is_empty() || source.unjudged.is_some() {
            return Ok(source);
        }
        against.push(format!(
            "{} ({}): {}",
            source.offers,
            source.why,
            objections.join("; ")
        ));
    }
    let kernel = facts
        .kernel
        .as_ref()
        .map_or("of this host", |kernel| kernel.release.as_str());
    Err(Refusal {
        what: format!("no CRIU that is packaged for {} fits Linux {kernel}: {}", release.codename, against.join("; ")),
        fix: vec![
            "build a newer CRIU from its sources into /usr/local/sbin, then run this again: it will be used".to_owned(),
            format!("or boot the kernel that {} came with", release.codename),
        ],
    })
}
