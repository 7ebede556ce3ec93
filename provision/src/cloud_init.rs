//! The same plan as user-data for cloud-init.

use crate::binary::hash;
use crate::change::{Action, File, JOURNAL, WRITTEN};
use crate::choice::{Choice, Name};
use crate::plan::{Plan, Refusal, Wanted, plan};
use crate::profile::{Profile, Release, SUITE_SOURCE};
use crate::state::{Mirror, State, Survey};
use host::{Cmd, Facts};
use serde_json::{Value, json};

/// What cloud-init puts in the place of the mirror that it has chosen.
const MIRROR: &str = "$MIRROR";
/// Debian's keys, which every Debian image has.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// User-data that prepares a fresh host of a release (`ubuntu-24.04`), the profile's first without one. It is
/// YAML, which JSON is part of.
///
/// # Errors
/// Where the profile does not know the release, or cannot be planned for a fresh host.
pub fn cloud_init(choice: &Choice, release: Option<&str>) -> Result<String, Refusal> {
    let profiles = match choice {
        Choice::Auto => vec![Name::Docker.profile(), Name::Docker1709.profile()],
        other => vec![other.for_host(&Facts::parse("")).0],
    };
    let known =
        |profile: &Profile| -> Vec<String> { profile.release.iter().map(Release::name).collect() };
    let found = profiles.iter().find_map(|profile| {
        let mut releases = profile.release.iter();
        let found = releases.find(|one| release.is_none_or(|name| one.name() == name))?;
        Some((profile, found))
    });
    let Some((profile, release)) = found else {
        let asked = release.unwrap_or("any release of a distribution");
        let names: Vec<String> = profiles.iter().flat_map(known).collect();
        return Err(Refusal {
            what: format!("profile {} does not know {asked}", profiles[0].name),
            fix: vec![format!("--release one of: {}", names.join(", "))],
        });
    };
    let choice = match choice {
        Choice::Own(profile) => Choice::Own(profile.clone()),
        _ => profile.name.parse().expect("the profiles' names read back"),
    };
    let wanted = Wanted {
        choice,
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
    // For undo: the machine is new, so each file is ours alone.
    let (mut journal, mut written) = (String::new(), String::new());
    for change in &plan.changes {
        for action in &change.actions {
            match action {
                Action::Write(file) => {
                    journal.push_str(&format!("created {}\n", file.path));
                    if file.path == SUITE_SOURCE {
                        // cloud-init alone knows the mirror.
                        let name = file.path.rsplit('/').next().unwrap_or_default();
                        sources.insert(
                            name.to_owned(),
                            json!({ "source": file.contents.trim_end() }),
                        );
                        continue;
                    }
                    if !file.encoded() {
                        written.push_str(&format!("{}  {}\n", hash(&file.contents), file.path));
                    }
                    if file.path.starts_with("/etc/apt/sources.list.d/") {
                        // Not before apt can read it.
                        let write = r#"printf '%s' "$1" >"$2""#;
                        commands.push(json!(["sh", "-c", write, "sh", file.contents, file.path]));
                    } else {
                        files.push(write_file(file));
                    }
                }
                Action::Run(cmd) => commands.push(command(cmd)),
            }
        }
    }
    for (path, lines) in [(JOURNAL, journal), (WRITTEN, written)] {
        if !lines.is_empty() {
            files.push(json!({ "path": path, "content": lines, "append": true }));
        }
    }
    let mut document = json!({ "write_files": files, "runcmd": commands });
    if !sources.is_empty() {
        document["apt"] = json!({ "sources": sources });
    }
    document
}

fn write_file(file: &File) -> Value {
    let mut value = json!({
        "path": file.path,
        "permissions": format!("0{:o}", file.mode),
        "content": file.contents,
    });
    if file.encoded() {
        value["encoding"] = json!("b64");
    }
    value
}

/// At its first boot a machine may look for updates by itself, which locks apt's index.
const AGAIN: &str =
    r#"tries=0; until "$@"; do tries=$((tries + 1)); [ $tries -lt 12 ] || exit 1; sleep 10; done"#;

fn command(cmd: &Cmd) -> Value {
    let mut words: Vec<&str> = Vec::new();
    if cmd.args.last().is_some_and(|last| last == "update") {
        words.extend(["sh", "-c", AGAIN, "sh"]);
    }
    let environment: Vec<String> = cmd
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if !environment.is_empty() {
        words.push("env");
        words.extend(environment.iter().map(String::as_str));
    }
    words.push(&cmd.program);
    words.extend(cmd.args.iter().map(String::as_str));
    json!(words)
}
