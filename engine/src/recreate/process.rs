//! The process: what runs, as whom, where, with what environment and terminal.

use super::From;
use super::line::{Line, pairs, strings};
use serde_json::Value;

pub(super) fn options(from: &From, line: &mut Line) {
    names(from, line);
    let (config, image) = (from.config, from.image);
    line.text_unless(
        "user",
        &config["User"],
        &[image["User"].as_str().unwrap_or_default()],
    );
    line.text_unless(
        "workdir",
        &config["WorkingDir"],
        &[image["WorkingDir"].as_str().unwrap_or_default()],
    );
    environment(from, line);
    let image_labels = pairs(&image["Labels"]);
    for (key, value) in pairs(&config["Labels"]) {
        if !image_labels.contains(&(key, value)) {
            line.option("label", format!("{key}={value}"));
        }
    }
    terminal(config, line);
    line.text_unless(
        "stop-signal",
        &config["StopSignal"],
        &[image["StopSignal"].as_str().unwrap_or_default()],
    );
    if let Some(seconds) = config["StopTimeout"].as_i64() {
        line.option("stop-timeout", seconds.to_string());
    }
    health(from, line);
    line.switch("rm", &from.host["AutoRemove"]);
    match from.host["Init"].as_bool() {
        Some(true) => line.flag("init"),
        // Said explicitly, since the daemon may have another default.
        Some(false) => line.args.push("--init=false".to_owned()),
        None => {}
    }
    let policy = from.container.restart_policy();
    if policy != "no" {
        line.option("restart", policy);
    }
    if config["NetworkDisabled"] == true {
        line.note("NetworkDisabled was set through the API: docker create has no option for it");
    }
}

fn names(from: &From, line: &mut Line) {
    // The restored process has this name in its UTS namespace: the engine must believe the same.
    // With another container's network or the host's UTS namespace Docker refuses the options.
    let shares =
        from.container.network_mode().starts_with("container:") || from.host["UTSMode"] == "host";
    if shares {
        return;
    }
    line.text("hostname", &from.config["Hostname"]);
    if from.engine.has_domainname_option() {
        line.text("domainname", &from.config["Domainname"]);
    } else if from.config["Domainname"]
        .as_str()
        .is_some_and(|name| !name.is_empty())
    {
        line.note(format!(
            "the destination's {} has no --domainname: {} is dropped",
            from.engine, from.config["Domainname"]
        ));
    }
}

fn environment(from: &From, line: &mut Line) {
    let image = strings(&from.image["Env"]);
    let container = strings(&from.config["Env"]);
    for variable in &container {
        if !image.contains(variable) {
            line.environment.push((*variable).to_owned());
        }
    }
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    for variable in image.iter().map(|variable| name(variable)) {
        if !container.iter().any(|other| name(other) == variable) {
            line.note(format!("the image's variable {variable} was removed; a new start of the container sets it again"));
        }
    }
}

fn terminal(config: &Value, line: &mut Line) {
    line.switch("tty", &config["Tty"]);
    if config["OpenStdin"] != true {
        return;
    }
    line.flag("interactive");
    if config["StdinOnce"] != true {
        line.note("standard input is closed once the first client that attaches to it leaves: docker create -i has it no other way");
    }
}

fn health(from: &From, line: &mut Line) {
    let (check, image) = (&from.config["Healthcheck"], &from.image["Healthcheck"]);
    if check.is_null() || check == image {
        return;
    }
    let test = strings(&check["Test"]);
    match test.as_slice() {
        ["NONE"] => return line.flag("no-healthcheck"),
        _ if check["Test"] == image["Test"] => {}
        ["CMD-SHELL", command] => line.option("health-cmd", *command),
        ["CMD", words @ ..] => {
            let words: Vec<_> = words.iter().map(|word| host::quote(word)).collect();
            line.option("health-cmd", words.join(" "));
            line.note(
                "the health check runs its command through a shell: docker create can't do without",
            );
        }
        _ => {}
    }
    for (name, key) in [
        ("health-interval", "Interval"),
        ("health-timeout", "Timeout"),
        ("health-start-period", "StartPeriod"),
    ] {
        duration(name, &check[key], &image[key], line);
    }
    let start_interval = &check["StartInterval"];
    if from.engine.has_start_interval_option() {
        duration(
            "health-start-interval",
            start_interval,
            &image["StartInterval"],
            line,
        );
    } else if start_interval.as_i64().unwrap_or(0) != 0 {
        line.note(format!(
            "the destination's {} has no --health-start-interval",
            from.engine
        ));
    }
    if check["Retries"] != image["Retries"] {
        line.number("health-retries", &check["Retries"]);
    }
}

fn duration(name: &str, value: &Value, image: &Value, line: &mut Line) {
    let Some(nanoseconds) = value.as_i64().filter(|number| *number != 0) else {
        return;
    };
    if value == image {
        return;
    }
    let (number, unit) = match nanoseconds {
        n if n % 1_000_000_000 == 0 => (n / 1_000_000_000, "s"),
        n if n % 1_000_000 == 0 => (n / 1_000_000, "ms"),
        n => (n, "ns"),
    };
    line.option(name, format!("{number}{unit}"));
}

/// The entrypoint as an option, where it isn't the image's, and the words after the image's name.
pub(super) fn command(from: &From, line: &mut Line) -> Vec<String> {
    let entrypoint = strings(&from.config["Entrypoint"]);
    let command = strings(&from.config["Cmd"]);
    let inherits = entrypoint == strings(&from.image["Entrypoint"]);
    let same = command == strings(&from.image["Cmd"]);
    if inherits && same {
        return Vec::new();
    }
    // A container's own entrypoint switches the image's command off; without one, only words of its own do.
    if inherits && !command.is_empty() {
        return command.into_iter().map(str::to_owned).collect();
    }
    let (first, more) = match entrypoint.split_first() {
        Some((first, more)) => (*first, more),
        None => ("", [].as_slice()),
    };
    line.option("entrypoint", first);
    if !more.is_empty() {
        line.note("the entrypoint has several words, and --entrypoint takes one: the rest becomes part of the command; the process is the same");
    }
    more.iter()
        .chain(&command)
        .map(|word| (*word).to_owned())
        .collect()
}
