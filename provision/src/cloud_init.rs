//! The same plan as user-data for cloud-init.

use crate::change::Action;
use crate::plan::{Plan, Refusal, Wanted, plan};
use crate::profile::{Choice, Name, Release, SUITE_SOURCE};
use crate::state::{Mirror, State, Survey};
use host::Facts;
use serde_json::{Value, json};

/// What cloud-init puts in the place of the mirror that it has chosen.
const MIRROR: &str = "$MIRROR";
/// Debian's keys, which every Debian image has.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// User-data that prepares a fresh host of a profile's first release. It is YAML, which JSON is part of.
///
/// # Errors
/// Where the profile cannot be planned for a fresh host.
pub fn cloud_init(choice: &Choice) -> Result<String, Refusal> {
    let choice = match choice {
        Choice::Auto => &Choice::Named(Name::Docker),
        other => other,
    };
    let (profile, _) = choice.for_host(&Facts::parse(""));
    let Some(release) = profile.release.first() else {
        return Err(Refusal {
            what: format!(
                "profile {} names no release of a distribution",
                profile.name
            ),
            fix: vec!["give it a [[release]]".to_owned()],
        });
    };
    let wanted = Wanted {
        choice: choice.clone(),
        binary: None,
        docker_users: Vec::new(),
    };
    let plan = plan(&fresh(release), &wanted)?;
    let document = render(&plan, release);
    let body = serde_json::to_string_pretty(&document).expect("strings and lists are JSON");
    Ok(format!(
        "#cloud-config\n# transship, profile {}, for {} {}. {}\n# transship itself comes with: transship provision HOST\n{body}\n",
        plan.profile, release.id, release.version, profile.about
    ))
}

/// A host of which only the system is known: nothing is there yet.
fn fresh(release: &Release) -> Survey {
    Survey {
        facts: release.facts(None),
        state: State {
            mirror: Some(Mirror {
                uri: MIRROR.to_owned(),
                signed_by: Some(KEYRING.to_owned()),
            }),
            ..State::default()
        },
    }
}

fn render(plan: &Plan, release: &Release) -> Value {
    let mut files = Vec::new();
    // The commands are one script: the first that fails ends it.
    let right = format!(
        ". /etc/os-release; test \"$ID $VERSION_ID\" = \"{} {}\"",
        release.id, release.version
    );
    let mut commands = vec![json!("set -e"), json!(["sh", "-c", right])];
    let mut sources = serde_json::Map::new();
    for change in &plan.changes {
        for action in &change.actions {
            match action {
                // cloud-init alone knows the mirror.
                Action::Write(file) if file.path == SUITE_SOURCE => {
                    let name = file.path.rsplit('/').next().unwrap_or_default();
                    sources.insert(
                        name.to_owned(),
                        json!({ "source": file.contents.trim_end() }),
                    );
                }
                Action::Write(file) => files.push(json!({
                    "path": file.path,
                    "permissions": format!("0{:o}", file.mode),
                    "content": file.contents,
                })),
                Action::Run(cmd) => {
                    let environment = cmd
                        .env
                        .iter()
                        .map(|(name, value)| format!("{name}={value}"));
                    let mut words: Vec<String> = Vec::new();
                    if !cmd.env.is_empty() {
                        words.push("env".to_owned());
                        words.extend(environment);
                    }
                    words.push(cmd.program.clone());
                    words.extend(cmd.args.iter().cloned());
                    commands.push(json!(words));
                }
            }
        }
    }
    let mut document = json!({ "write_files": files, "runcmd": commands });
    if !sources.is_empty() {
        document["apt"] = json!({ "sources": sources });
    }
    document
}
