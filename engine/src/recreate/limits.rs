//! Limits and weights.

use super::From;
use super::line::{Line, items};

/// What Docker gives a container that asks for no size (64 MiB).
const DEFAULT_SHM: i64 = 64 * 1024 * 1024;

pub(super) fn options(from: &From, line: &mut Line) {
    memory(from, line);
    let host = from.host;
    if let Some(nano) = host["NanoCpus"].as_i64().filter(|nano| *nano != 0) {
        line.option("cpus", decimal(nano));
    }
    for (name, key) in [
        ("cpu-shares", "CpuShares"),
        ("cpu-period", "CpuPeriod"),
        ("cpu-quota", "CpuQuota"),
        ("cpu-rt-period", "CpuRealtimePeriod"),
        ("cpu-rt-runtime", "CpuRealtimeRuntime"),
        ("blkio-weight", "BlkioWeight"),
        ("oom-score-adj", "OomScoreAdj"),
    ] {
        line.number(name, &host[key]);
    }
    line.text("cpuset-cpus", &host["CpusetCpus"]);
    line.text("cpuset-mems", &host["CpusetMems"]);
    for (name, key, value) in [
        ("blkio-weight-device", "BlkioWeightDevice", "Weight"),
        ("device-read-bps", "BlkioDeviceReadBps", "Rate"),
        ("device-write-bps", "BlkioDeviceWriteBps", "Rate"),
        ("device-read-iops", "BlkioDeviceReadIOps", "Rate"),
        ("device-write-iops", "BlkioDeviceWriteIOps", "Rate"),
    ] {
        if value == "Rate" && !items(&host[key]).is_empty() && from.engine.drops_device_rates() {
            line.note(format!(
                "the client of the destination's {} drops --{name} without a word; limit the device by hand, or use 27.1.2 or later",
                from.engine
            ));
        }
        for device in items(&host[key]) {
            let path = device["Path"].as_str().unwrap_or_default();
            line.option(name, format!("{path}:{}", device[value]));
        }
    }
    // 0 and -1 both mean no limit.
    if let Some(most) = host["PidsLimit"].as_i64().filter(|most| *most > 0) {
        line.option("pids-limit", most.to_string());
    }
    for limit in items(&host["Ulimits"]) {
        let name = limit["Name"].as_str().unwrap_or_default();
        line.option(
            "ulimit",
            format!("{name}={}:{}", limit["Soft"], limit["Hard"]),
        );
    }
    line.switch("oom-kill-disable", &host["OomKillDisable"]);
}

fn memory(from: &From, line: &mut Line) {
    let host = from.host;
    let memory = host["Memory"].as_i64().unwrap_or(0);
    line.number("memory", &host["Memory"]);
    // Without a limit for swap the engine allows as much swap again as there is memory.
    if host["MemorySwap"].as_i64() != Some(memory * 2) {
        line.number("memory-swap", &host["MemorySwap"]);
    }
    line.number("memory-reservation", &host["MemoryReservation"]);
    // Old clients send -1 where the user said nothing.
    if let Some(swappiness) = host["MemorySwappiness"]
        .as_i64()
        .filter(|value| *value >= 0)
    {
        line.option("memory-swappiness", swappiness.to_string());
    }
    if from.engine.limits_kernel_memory() {
        line.number("kernel-memory", &host["KernelMemory"]);
    } else if host["KernelMemory"].as_i64().unwrap_or(0) > 0 {
        line.note(format!(
            "the destination's {} has no limit for kernel memory any more",
            from.engine
        ));
    }
    if host["ShmSize"] != DEFAULT_SHM {
        line.number("shm-size", &host["ShmSize"]);
    }
    if host["KernelMemoryTCP"].as_i64().unwrap_or(0) > 0 {
        line.note("the limit for the kernel's TCP buffers was set through the API: docker create has no option for it");
    }
}

/// Billionths as a decimal number.
fn decimal(nano: i64) -> String {
    let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_decimal() {
        assert_eq!(decimal(1_500_000_000), "1.5");
        assert_eq!(decimal(2_000_000_000), "2");
        assert_eq!(decimal(10_000_000), "0.01");
    }
}
