//! Privileges, devices and namespaces.

use super::From;
use super::line::{Line, fields, items, pairs, strings};
use serde_json::Value;

pub(super) fn options(from: &From, line: &mut Line) {
    let host = from.host;
    line.switch("privileged", &host["Privileged"]);
    line.each("cap-add", &host["CapAdd"]);
    line.each("cap-drop", &host["CapDrop"]);
    security_opt(from, line);
    paths(from, line);
    for device in items(&host["Devices"]) {
        line.option("device", self::device(device));
    }
    line.each("device-cgroup-rule", &host["DeviceCgroupRules"]);
    for request in items(&host["DeviceRequests"]) {
        device_request(from, request, line);
    }
    line.each("group-add", &host["GroupAdd"]);
    line.map("sysctl", &host["Sysctls"]);
    // `private` is the default since 18.06; 17.09's `shareable` is said explicitly.
    line.text_unless("ipc", &host["IpcMode"], &["private"]);
    for (name, key) in [
        ("pid", "PidMode"),
        ("uts", "UTSMode"),
        ("userns", "UsernsMode"),
    ] {
        line.text(name, &host[key]);
    }
    for key in ["IpcMode", "PidMode"] {
        if let Some(other) = host[key]
            .as_str()
            .and_then(|mode| mode.strip_prefix("container:"))
        {
            line.need(format_args!(
                "container {other}, whose namespace it shares ({key}),"
            ));
        }
    }
    if from.engine.has_cgroupns_option() {
        line.text_unless(
            "cgroupns",
            &host["CgroupnsMode"],
            &[from.engine.default_cgroupns()],
        );
    } else if host["CgroupnsMode"] == "private" {
        line.note(format!(
            "the destination's {} gives no container a cgroup namespace of its own",
            from.engine
        ));
    }
    line.text("cgroup-parent", &host["CgroupParent"]);
    line.text_unless("isolation", &host["Isolation"], &["default"]);
}

fn security_opt(from: &From, line: &mut Line) {
    // The engine itself writes label=disable into these.
    let implied = from.host["Privileged"] == true
        || from.host["IpcMode"] == "host"
        || from.host["PidMode"] == "host";
    for option in strings(&from.host["SecurityOpt"]) {
        let profile = option
            .strip_prefix("seccomp=")
            .or_else(|| option.strip_prefix("seccomp:"));
        match profile {
            // The client has put the profile itself in place of its file's name.
            Some(profile) if profile.trim_start().starts_with('{') => {
                line.option("security-opt", "seccomp=/proc/self/fd/0");
                line.stdin = profile.as_bytes().to_vec();
            }
            _ if implied && option == "label=disable" => {}
            _ => line.option("security-opt", option),
        }
    }
}

/// `--security-opt systempaths=unconfined` is kept as two empty lists.
fn paths(from: &From, line: &mut Line) {
    let (masked, readonly) = (&from.host["MaskedPaths"], &from.host["ReadonlyPaths"]);
    let empty = |list: &Value| list.as_array().is_some_and(Vec::is_empty);
    if !(empty(masked) && empty(readonly)) || from.host["Privileged"] == true {
        return;
    }
    if from.engine.has_systempaths_option() {
        line.option("security-opt", "systempaths=unconfined");
    } else {
        line.note(format!(
            "the destination's {} can't leave system paths unmasked",
            from.engine
        ));
    }
}

fn device(device: &Value) -> String {
    let text = |key: &str| device[key].as_str().unwrap_or_default();
    let (outside, inside, may) = (
        text("PathOnHost"),
        text("PathInContainer"),
        text("CgroupPermissions"),
    );
    match (outside == inside, may == "rwm") {
        (true, true) => outside.to_owned(),
        (false, true) => format!("{outside}:{inside}"),
        (_, false) => format!("{outside}:{inside}:{may}"),
    }
}

fn device_request(from: &From, request: &Value, line: &mut Line) {
    let ids = strings(&request["DeviceIDs"]);
    if request["Driver"] == "cdi" {
        ids.iter().for_each(|id| line.option("device", *id));
        return;
    }
    if !from.engine.has_gpus_option() {
        line.note(format!("the destination's {} has no --gpus", from.engine));
        return;
    }
    let mut list = Vec::new();
    if let Some(driver) = request["Driver"]
        .as_str()
        .filter(|driver| !driver.is_empty())
    {
        list.push(format!("driver={driver}"));
    }
    match request["Count"].as_i64().unwrap_or(0) {
        0 => {}
        -1 => list.push("count=all".to_owned()),
        count => list.push(format!("count={count}")),
    }
    if !ids.is_empty() {
        list.push(format!("device={}", ids.join(",")));
    }
    // The client itself adds `gpu`.
    let abilities: Vec<&str> = items(&request["Capabilities"])
        .first()
        .map(strings)
        .unwrap_or_default();
    let abilities: Vec<&str> = abilities
        .into_iter()
        .filter(|ability| *ability != "gpu")
        .collect();
    if !abilities.is_empty() {
        list.push(format!("capabilities={}", abilities.join(",")));
    }
    let options: Vec<String> = pairs(&request["Options"])
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if !options.is_empty() {
        list.push(format!("options={}", fields(&options)));
    }
    line.option("gpus", fields(&list));
}
