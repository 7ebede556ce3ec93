//! Whether a container that was made anew is the same as before.

use crate::Container;
use serde_json::{Map, Value};

/// One thing that `docker inspect` tells differently of two containers.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Where, as keys with slashes between (`HostConfig/Memory`).
    pub path: String,
    /// Value of the first container.
    pub before: Value,
    /// Value of the second container.
    pub after: Value,
    /// Why this is no loss; none where configuration was lost.
    pub allowed: Option<&'static str>,
}

/// Compares all that `docker inspect` tells of two containers, and says of each difference whether it's one that
/// two containers of the same configuration may have. An engine writes "not set" in many ways (null, an empty list
/// or text, 0, false, or no key at all): where they mean the same, they count as equal.
#[must_use]
pub fn differences(before: &Container, after: &Container) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(
        &comparable(before),
        &comparable(after),
        &mut Vec::new(),
        &mut found,
    );
    let same_words = words(before) == words(after);
    let same_image = before.image_id() == after.image_id();
    let shares = |container: &Container| container.network_mode().starts_with("container:");
    let share = shares(before) && shares(after);
    for difference in &mut found {
        difference.allowed = match difference.path.as_str() {
            "Config/Entrypoint" | "Config/Cmd" if same_words => {
                Some("the same words, divided otherwise")
            }
            "Config/Image" if same_image => Some("another name for the same image"),
            "Config/Hostname" if share => Some("that of the container whose network it shares"),
            "Config/Hostname" if before.host_config()["UTSMode"] == "host" => {
                Some("unused: it has the host's UTS namespace")
            }
            "Config/StdinOnce" if difference.before == false => {
                Some("docker create -i always attaches standard input")
            }
            path if path.starts_with("Mounts/") => own_volume(before, path),
            path => allowed(path, &difference.before, &difference.after),
        };
    }
    found
}

/// Keys under which null and 0 or false are not the same.
const EXACT: &[&str] = &["StopTimeout", "Init", "MaskedPaths", "ReadonlyPaths"];

/// Trees that tell of one container's life and place, not of its configuration.
const OWN: &[(&str, &str)] = &[
    ("Id", "each container has its own"),
    ("Name", "the caller's choice"),
    ("Created", "a time"),
    ("State", "state, not configuration"),
    ("RestartCount", "state, not configuration"),
    ("ExecIDs", "state, not configuration"),
    ("ResolvConfPath", "a file of this container"),
    ("HostnamePath", "a file of this container"),
    ("HostsPath", "a file of this container"),
    ("LogPath", "a file of this container"),
    ("StaticDir", "a folder of this container"),
    ("OCIConfigPath", "a file of this container"),
    ("ConmonPidFile", "a file of this container"),
    ("PidFile", "a file of this container"),
    ("lockNumber", "given by the host"),
    ("GraphDriver", "the folders of its own layer"),
    ("Storage", "the folders of its own layer"),
    ("SizeRw", "size, not configuration"),
    ("SizeRootFs", "size, not configuration"),
    ("ImageManifestDescriptor", "how this host stores the image"),
    ("Driver", "the host's storage driver"),
    ("MountLabel", "given by the host"),
    ("ProcessLabel", "given by the host"),
    ("AppArmorProfile", "given by the host at the start"),
    ("Config/CreateCommand", "the command line that created it"),
    (
        "Config/AttachStdin",
        "what the client that created it was attached to",
    ),
    (
        "Config/AttachStdout",
        "what the client that created it was attached to",
    ),
    (
        "Config/AttachStderr",
        "what the client that created it was attached to",
    ),
    (
        "HostConfig/ConsoleSize",
        "the terminal of the client that created it",
    ),
    (
        "HostConfig/ContainerIDFile",
        "a file of the client that created it",
    ),
];

/// What a user configures about an endpoint; all else in it, the engine gives.
const ENDPOINT: &[&str] = &["IPAMConfig", "Links", "Aliases", "DriverOpts", "GwPriority"];

fn allowed(path: &str, before: &Value, after: &Value) -> Option<&'static str> {
    let under = |tree: &str| {
        path == tree
            || path
                .strip_prefix(tree)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    if let Some((_, why)) = OWN.iter().find(|(tree, _)| under(tree)) {
        return Some(why);
    }
    if under("NetworkSettings") {
        let configured = path
            .split('/')
            .nth(3)
            .map_or(under("NetworkSettings/Networks"), |key| {
                ENDPOINT.contains(&key)
            });
        return (!configured).then_some("given by the engine while it runs");
    }
    let both_lists = |value: &Value| value.as_array().is_some_and(|list| !list.is_empty());
    match path {
        "HostConfig/NetworkMode" => {
            let default = |mode: &Value| ["", "default", "bridge"].iter().any(|name| mode == name);
            (default(before) && default(after)).then_some("names of the default network")
        }
        "HostConfig/MaskedPaths" | "HostConfig/ReadonlyPaths" if both_lists(after) => {
            (before.is_null() || both_lists(before))
                .then_some("the default of the engine's version")
        }
        "HostConfig/IpcMode" | "HostConfig/CgroupnsMode" | "HostConfig/Runtime"
            if is_unset(before) =>
        {
            Some("the engine's default, spelled out")
        }
        _ => None,
    }
}

/// A volume that nobody named is another one, by another name and at another place.
fn own_volume(before: &Container, path: &str) -> Option<&'static str> {
    let (destination, key) = path.strip_prefix("Mounts/")?.rsplit_once('/')?;
    let mounts = before.mounts();
    let mount = mounts
        .iter()
        .find(|mount| mount.destination.replace('/', "|") == destination)?;
    (mount.anonymous && ["Name", "Source"].contains(&key))
        .then_some("a volume that nobody named: a new one")
}

/// All the words of the container's command line.
fn words(container: &Container) -> (Option<&Value>, Option<&Value>) {
    (container.raw().get("Path"), container.raw().get("Args"))
}

/// Sorts a list of texts, without a prefix that some of them may have.
fn sort(list: &mut Value, prefix: &str) {
    let Some(texts) = list.as_array() else {
        return;
    };
    let texts = texts.iter().filter_map(Value::as_str);
    let mut texts: Vec<&str> = texts
        .map(|text| text.strip_prefix(prefix).unwrap_or(text))
        .collect();
    texts.sort_unstable();
    *list = texts.into();
}

/// The engine's JSON, brought into a form in which equal configuration is equal.
fn comparable(container: &Container) -> Value {
    let mut raw = container.raw().clone();
    sort(&mut raw["Config"]["Env"], "");
    if let Some(mounts) = raw.get_mut("Mounts").map(Value::take) {
        let list = mounts.as_array().cloned().unwrap_or_default();
        let by_destination: Map<String, Value> = list
            .into_iter()
            .map(|mount| {
                (
                    mount["Destination"]
                        .as_str()
                        .unwrap_or_default()
                        .replace('/', "|"),
                    mount,
                )
            })
            .collect();
        raw["Mounts"] = Value::Object(by_destination);
    }
    let host = &mut raw["HostConfig"];
    // The client puts them in no order, and engines write capabilities with or without the prefix.
    for key in ["Binds", "CapAdd", "CapDrop"] {
        sort(&mut host[key], if key == "Binds" { "" } else { "CAP_" });
    }
    if host["Isolation"] == "default" {
        host["Isolation"] = "".into();
    }
    // "No limit", as old clients write it.
    for key in ["MemorySwappiness", "PidsLimit"] {
        if host[key] == -1 {
            host[key] = Value::Null;
        }
    }
    if host["RestartPolicy"]["Name"] == "no" {
        host["RestartPolicy"]["Name"] = "".into();
    }
    let labels = ["Privileged"].iter().any(|key| host[*key] == true)
        || ["IpcMode", "PidMode"]
            .iter()
            .any(|key| host[*key] == "host");
    if let (true, Some(options)) = (labels, host["SecurityOpt"].as_array_mut()) {
        // The engine adds it by itself.
        options.retain(|option| option != "label=disable");
    }
    let id = container.id().to_owned();
    let networks = raw
        .pointer_mut("/NetworkSettings/Networks")
        .and_then(Value::as_object_mut);
    for (_, endpoint) in networks.into_iter().flatten() {
        if let Some(aliases) = endpoint["Aliases"].as_array_mut() {
            // Up to 24.0 the engine adds the short id.
            aliases.retain(|alias| alias.as_str().is_some_and(|alias| !id.starts_with(alias)));
        }
    }
    raw
}

fn walk(before: &Value, after: &Value, path: &mut Vec<String>, found: &mut Vec<Difference>) {
    if let (Value::Object(one), Value::Object(other)) = (before, after) {
        let mut keys: Vec<&String> = one.keys().collect();
        keys.extend(other.keys().filter(|key| !one.contains_key(*key)));
        for key in keys {
            path.push(key.clone());
            let missing = Value::Null;
            walk(
                one.get(key).unwrap_or(&missing),
                other.get(key).unwrap_or(&missing),
                path,
                found,
            );
            path.pop();
        }
        return;
    }
    if let (Value::Array(one), Value::Array(other)) = (before, after)
        && one.len() == other.len()
        && one.iter().chain(other).all(Value::is_object)
    {
        for (number, (one, other)) in one.iter().zip(other).enumerate() {
            path.push(number.to_string());
            walk(one, other, path, found);
            path.pop();
        }
        return;
    }
    let exact = path.last().is_some_and(|key| EXACT.contains(&key.as_str()));
    // A network without settings is still a network.
    let exact =
        exact || path.len() == 3 && path[1] == "Networks" || path.len() == 2 && path[0] == "Mounts";
    if before == after || (!exact && is_unset(before) && is_unset(after)) {
        return;
    }
    found.push(Difference {
        path: path.join("/"),
        before: before.clone(),
        after: after.clone(),
        allowed: None,
    });
}

/// Whether a value is what an engine reports for something never set.
pub(crate) fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.iter().all(is_unset),
        Value::Object(map) => map.values().all(is_unset),
    }
}
