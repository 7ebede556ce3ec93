//! Runtime, logs, annotations, and whatever nobody foresaw.

use super::From;
use super::line::{Line, pairs};
use crate::differences::is_unset;

/// Keys of `HostConfig` that are carried, or that mean nothing for a new container.
const KNOWN: &[&str] = &[
    "Annotations",
    "AutoRemove",
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeight",
    "BlkioWeightDevice",
    "CapAdd",
    "CapDrop",
    "CgroupParent",
    "CgroupnsMode",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpuShares",
    "CpusetCpus",
    "CpusetMems",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "GroupAdd",
    "Init",
    "IpcMode",
    "Isolation",
    "KernelMemory",
    "KernelMemoryTCP",
    "Links",
    "LogConfig",
    "Memory",
    "MemoryReservation",
    "MemorySwap",
    "MemorySwappiness",
    "Mounts",
    "NanoCpus",
    "NetworkMode",
    "OomKillDisable",
    "OomScoreAdj",
    "PidMode",
    "PidsLimit",
    "PortBindings",
    "Privileged",
    "PublishAllPorts",
    "ReadonlyRootfs",
    "RestartPolicy",
    "Runtime",
    "SecurityOpt",
    "ShmSize",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "UTSMode",
    "Ulimits",
    "UsernsMode",
    "VolumeDriver",
    "VolumesFrom",
    // The defaults of the engine's version; an empty list is `systempaths=unconfined`.
    "MaskedPaths",
    "ReadonlyPaths",
    // Where the client wrote the id, and the size of the terminal that it ran in.
    "ContainerIDFile",
    "ConsoleSize",
];

pub(super) fn options(from: &From, line: &mut Line) {
    runtime(from, line);
    logs(from, line);
    let annotations = pairs(&from.host["Annotations"]);
    if from.engine.has_annotation_option() {
        line.map("annotation", &from.host["Annotations"]);
    } else if !annotations.is_empty() {
        line.note(format!(
            "the destination's {} has no --annotation",
            from.engine
        ));
    }
    for (key, value) in from.host.as_object().into_iter().flatten() {
        if !KNOWN.contains(&key.as_str()) && !is_unset(value) {
            line.note(format!("HostConfig.{key} is not carried: {value}"));
        }
    }
}

fn runtime(from: &From, line: &mut Line) {
    let runtime = from.container.runtime();
    if runtime.is_empty() || (runtime == "runc" && from.engine.default_runtime() == "runc") {
        return;
    }
    line.runtime = Some(runtime.to_owned());
    if !from.engine.creates_with(runtime) {
        line.note(format!("the destination's engine has no runtime {runtime}"));
    }
}

fn logs(from: &From, line: &mut Line) {
    let config = &from.host["LogConfig"];
    line.text_unless("log-driver", &config["Type"], &[from.engine.log_driver()]);
    line.map("log-opt", &config["Config"]);
}
