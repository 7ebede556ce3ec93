//! Files: volumes, mounts, tmpfs, the container's own layer.

use super::From;
use super::line::{Line, fields, items, keys, pairs, strings};
use serde_json::Value;

pub(super) fn options(from: &From, line: &mut Line) {
    let binds = strings(&from.host["Binds"]);
    for bind in &binds {
        line.option("volume", *bind);
    }
    for mount in items(&from.host["Mounts"]) {
        let value = self::mount(from, mount, line);
        line.option("mount", value);
    }
    let image = keys(&from.image["Volumes"]);
    let bound: Vec<&str> = binds
        .iter()
        .filter_map(|bind| bind.split(':').nth(1))
        .collect();
    for volume in keys(&from.config["Volumes"]) {
        if !image.contains(&volume) && !bound.contains(&volume) {
            line.option("volume", volume);
        }
    }
    line.text("volume-driver", &from.host["VolumeDriver"]);
    for other in strings(&from.host["VolumesFrom"]) {
        line.option("volumes-from", other);
        let other = other.split(':').next().unwrap_or(other);
        line.need(format_args!("container {other}, whose volumes it uses,"));
    }
    for (path, options) in pairs(&from.host["Tmpfs"]) {
        let options = if options.is_empty() {
            String::new()
        } else {
            format!(":{options}")
        };
        line.option("tmpfs", format!("{path}{options}"));
    }
    line.switch("read-only", &from.host["ReadonlyRootfs"]);
    line.map("storage-opt", &from.host["StorageOpt"]);
}

/// A mount as the value of `--mount`.
fn mount(from: &From, mount: &Value, line: &mut Line) -> String {
    let kind = mount["Type"].as_str().unwrap_or("volume");
    let mut list = vec![format!("type={kind}")];
    let mut field = |name: &str, value: &Value| {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            list.push(format!("{name}={text}"));
        }
    };
    field("source", &mount["Source"]);
    field("target", &mount["Target"]);
    if mount["Consistency"] != "default" {
        field("consistency", &mount["Consistency"]);
    }
    if mount["ReadOnly"] == true {
        list.push("readonly".to_owned());
    }
    bind_fields(from, &mount["BindOptions"], &mut list, line);
    volume_fields(from, &mount["VolumeOptions"], &mut list, line);
    let tmpfs = &mount["TmpfsOptions"];
    if let Some(size) = tmpfs["SizeBytes"].as_i64().filter(|size| *size != 0) {
        list.push(format!("tmpfs-size={size}"));
    }
    if let Some(mode) = tmpfs["Mode"].as_i64().filter(|mode| *mode != 0) {
        list.push(format!("tmpfs-mode={mode:o}"));
    }
    if !items(&tmpfs["Options"]).is_empty() {
        line.note(format!(
            "options of the tmpfs at {} were set through the API: --mount has no field for them",
            mount["Target"]
        ));
    }
    if let Some(path) = mount["ImageOptions"]["Subpath"]
        .as_str()
        .filter(|path| !path.is_empty())
    {
        list.push(format!("image-subpath={path}"));
        known(
            from,
            from.engine.has_image_subpath_field(),
            "image-subpath",
            line,
        );
    }
    fields(&list)
}

fn bind_fields(from: &From, options: &Value, list: &mut Vec<String>, line: &mut Line) {
    if let Some(propagation) = options["Propagation"]
        .as_str()
        .filter(|text| !text.is_empty())
    {
        list.push(format!("bind-propagation={propagation}"));
    }
    let recursive = from.engine.has_bind_recursive_field();
    if options["NonRecursive"] == true {
        let field = if recursive {
            "bind-recursive=disabled"
        } else {
            "bind-nonrecursive=true"
        };
        list.push(field.to_owned());
        known(
            from,
            recursive || from.engine.has_bind_nonrecursive_field(),
            field,
            line,
        );
    }
    for (key, value) in [
        ("ReadOnlyNonRecursive", "writable"),
        ("ReadOnlyForceRecursive", "readonly"),
    ] {
        if options[key] == true {
            if recursive {
                list.push(format!("bind-recursive={value}"));
            } else {
                known(from, false, &format!("bind-recursive={value}"), line);
            }
        }
    }
    if options["CreateMountpoint"] == true {
        line.note("a bind mount was to make its folder on the host if missing, set through the API: make it on the destination");
    }
}

/// Notes a field that the destination does not know. Most are given all the same: that Docker refuses the container is
/// better than another mount than before.
fn known(from: &From, known: bool, field: &str, line: &mut Line) {
    if !known {
        line.note(format!(
            "the destination's {} has no {field} in --mount",
            from.engine
        ));
    }
}

fn volume_fields(from: &From, options: &Value, list: &mut Vec<String>, line: &mut Line) {
    if options["NoCopy"] == true {
        list.push("volume-nocopy".to_owned());
    }
    if let Some(path) = options["Subpath"].as_str().filter(|path| !path.is_empty()) {
        list.push(format!("volume-subpath={path}"));
        known(
            from,
            from.engine.has_volume_subpath_field(),
            "volume-subpath",
            line,
        );
    }
    for (key, value) in pairs(&options["Labels"]) {
        list.push(format!("volume-label={key}={value}"));
    }
    let driver = &options["DriverConfig"];
    if let Some(name) = driver["Name"].as_str().filter(|name| !name.is_empty()) {
        list.push(format!("volume-driver={name}"));
    }
    for (key, value) in pairs(&driver["Options"]) {
        list.push(format!("volume-opt={key}={value}"));
    }
}
