//! Recorded hosts as they were, bare, and after a plan.

use host::Facts;
use provision::{Action, Binary, Choice, Plan, State, Survey, Wanted};
use std::collections::BTreeMap;

pub(crate) const TRIXIE: &str =
    include_str!("../../../host/tests/transcripts/trixie-docker-podman.facts.txt");
pub(crate) const BOOKWORM: &str =
    include_str!("../../../host/tests/transcripts/bookworm-docker-client.facts.txt");
pub(crate) const XENIAL: &str =
    include_str!("../../../host/tests/transcripts/xenial-docker-17.09.1.facts.txt");

pub(crate) const DAEMON_JSON: &str = "/etc/docker/daemon.json";

pub(crate) fn this_program() -> Binary {
    Binary::new(b"this program".to_vec())
}

pub(crate) fn wanted(choice: Choice) -> Wanted {
    Wanted {
        choice,
        binary: None,
        docker_users: Vec::new(),
    }
}

pub(crate) fn survey(text: &str) -> Survey {
    let mut state = State::parse(
        "@@transship state 1 @@0\n@@0 begin sources\n# transship file /etc/apt/sources.list\n\
         deb http://m.example/debian stable main\n\n@@0 end sources 0\n",
    )
    .unwrap();
    let facts = Facts::parse(text);
    if let Some(text) = facts
        .docker
        .as_ref()
        .and_then(|docker| docker.configuration.as_ref())
    {
        state.files.insert(DAEMON_JSON.to_owned(), text.to_string());
    }
    Survey { facts, state }
}

pub(crate) fn bare(text: &str) -> Survey {
    let mut survey = survey(text);
    let facts = &mut survey.facts;
    (facts.docker, facts.podman, facts.criu) = (None, None, None);
    (facts.runc, facts.crun) = (None, None);
    facts.packages.clear();
    survey.state.files.clear();
    survey
}

/// The host after the plan: what it writes and installs is there.
pub(crate) fn after(survey: &Survey, plan: &Plan) -> Survey {
    let mut survey = survey.clone();
    for action in plan.changes.iter().flat_map(|change| &change.actions) {
        match action {
            Action::Write(file) => {
                survey
                    .state
                    .files
                    .insert(file.path.clone(), file.contents.clone());
            }
            Action::Run(cmd) if cmd.program == "apt-get" => {
                for package in cmd.args.iter().skip_while(|arg| *arg != "install").skip(1) {
                    let (name, version) = package.split_once('=').unwrap_or((package, "1"));
                    survey
                        .state
                        .packages
                        .insert(name.to_owned(), version.to_owned());
                }
            }
            Action::Run(cmd) if cmd.program == "apt-mark" => {
                survey.state.holds.extend(cmd.args[1..].iter().cloned());
            }
            Action::Run(cmd) if cmd.program == "add-apt-repository" => {
                survey.state.sources.push_str("criu/ppa");
            }
            Action::Run(cmd) if cmd.program == "sysctl" => {
                let (name, value) = cmd.args.last().unwrap().split_once('=').unwrap();
                survey
                    .facts
                    .sysctls
                    .insert(name.to_owned(), value.to_owned());
            }
            Action::Run(cmd) if cmd.args.iter().any(|arg| arg == "transship-docker-daemon") => {
                survey.state.files.remove("/etc/transship/pending");
                if survey.facts.docker.is_none() {
                    survey.facts.docker = Facts::parse(TRIXIE).docker;
                }
                let server = survey.facts.docker.as_mut().unwrap().server.as_mut();
                if survey.state.files[DAEMON_JSON].contains("transship-runtime") {
                    let runtimes = &mut server.unwrap().runtimes;
                    runtimes.insert("transship".to_owned(), None);
                }
            }
            Action::Run(cmd) if cmd.args.iter().any(|arg| arg == "transship-link") => {
                let program = cmd.args.iter().find(|arg| arg.ends_with("/transship"));
                let folder = program.unwrap().split('/').nth(5).unwrap();
                survey.state.versions.insert(folder.to_owned());
                survey.state.binary = Some(this_program().hash);
                survey.state.runtime |= cmd.args.iter().any(|arg| arg.ends_with("-runtime"));
            }
            Action::Run(cmd) if cmd.program == "dpkg" => survey.state.interrupted = false,
            Action::Run(_) => {}
        }
    }
    survey
}

pub(crate) fn steps(plan: &Plan) -> Vec<&str> {
    plan.changes.iter().map(|change| change.step).collect()
}

pub(crate) fn lines(plan: &Plan) -> Vec<String> {
    let actions = plan.changes.iter().flat_map(|change| &change.actions);
    actions
        .filter_map(|action| match action {
            Action::Run(cmd) => Some(cmd.line()),
            Action::Write(_) => None,
        })
        .collect()
}

pub(crate) fn files(plan: &Plan) -> BTreeMap<&str, &str> {
    let actions = plan.changes.iter().flat_map(|change| &change.actions);
    actions
        .filter_map(|action| match action {
            Action::Write(file) => Some((file.path.as_str(), file.contents.as_str())),
            Action::Run(_) => None,
        })
        .collect()
}
