//! What the destination lacks for a container.

use super::{Inmate, count, files, some};
use crate::check::catalogue::{Check, meta};
use crate::check::subject::Subject;
use crate::check::verdict::{Group, Outcome};
use engine::{Container as Inspected, Network};
use host::facts::container::Destination;
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn checks<'p>() -> Vec<Check<Inmate<'p>>> {
    vec![
        Check::new(
            meta(
                "container.name-free",
                Group::Container,
                "Its name is free at the destination",
                "whether the destination's engine knows a container of that name. It fails where it does",
                "names are unique, and the container is created anew there",
                "`transship migrate CONTAINER --from SOURCE --to DESTINATION --name NEW`, or remove the other one",
            ),
            |inmate| at(inmate, name),
        ),
        Check::new(
            meta(
                "container.image",
                Group::Container,
                "Its image is at the destination with the same content",
                "the image's id on both hosts. It warns where the image is missing or another one has its name: modes `copy` and `post-copy` bring it along, mode `tarball` does not",
                "a restored program maps its files again and must find them as they were",
                "`docker save IMAGE | ssh DESTINATION docker load`",
            ),
            |inmate| at(inmate, image),
        ),
        Check::new(
            meta(
                "container.mounts",
                Group::Container,
                "What is mounted into it is at the destination",
                "files and folders that are mounted from the host, and volumes by their names. It fails where a file or folder is missing, and warns for a volume, which is created empty",
                "CRIU mounts them again, and open files in them must be there",
                "copy the data there, or mount the same network file system",
            ),
            |inmate| at(inmate, mounts),
        ),
        Check::new(
            meta(
                "container.changed-files",
                Group::Container,
                "Open files in mounts are as large at the destination",
                "open regular files below bind mounts, and their size there. It fails where one is missing or of another size",
                "CRIU compares the size of each open file, and refuses a file that changed",
                "copy the files (`rsync -a`) as the last step before the migration",
            ),
            |inmate| at(inmate, changed),
        ),
        Check::new(
            meta(
                "container.ports",
                Group::Container,
                "Its ports are free at the destination",
                "what listens on the destination. It fails where a published port is in use, or in the host's own network one that the container listens at",
                "the engine publishes the same ports there, and a port has one listener",
                "`ss -lptn` on the destination names who listens; end it, or publish other ports",
            ),
            |inmate| at(inmate, ports),
        ),
        Check::new(
            meta(
                "container.networks",
                Group::Container,
                "Its networks are at the destination, and addresses that it needs are free",
                "user-defined networks by name, and containers in them that have the same address. It fails where a network is missing, or where an address is taken that the container was given by hand or that its sockets are bound to",
                "the container joins the same networks, and open connections need the same address",
                "`docker network create --subnet SUBNET NAME` on the destination, as on the source",
            ),
            |inmate| at(inmate, networks),
        ),
    ]
}

type Ask = fn(&Inmate<'_>, &Inspected, &Subject<'_>, &Destination) -> Outcome;

fn at(inmate: &Inmate<'_>, ask: Ask) -> Outcome {
    let Some(inspected) = inmate.inspected else {
        return Outcome::skip("there is no such container");
    };
    let Some((host, answers)) = &inmate.destination else {
        return Outcome::skip("no destination was named");
    };
    if !answers.engine {
        return Outcome::skip("the destination lacks the container's engine, see pair.engine");
    }
    ask(inmate, inspected, host, answers)
}

fn name(inmate: &Inmate<'_>, _: &Inspected, host: &Subject<'_>, answers: &Destination) -> Outcome {
    if !answers.name_taken {
        return Outcome::ok(format!("no container is called {} there", inmate.name));
    }
    let fix = if inmate.podman() {
        format!(
            "ssh {} podman rename {1} {1}-before",
            host::quote(host.name),
            inmate.name
        )
    } else {
        format!(
            "transship migrate {0} --from {1} --to {2} --name {0}-2",
            inmate.name,
            host::quote(inmate.source.name),
            host::quote(host.name)
        )
    };
    Outcome::fail(format!(
        "a container called {} is there already",
        inmate.name
    ))
    .found(format!("{} knows one", host.name))
    .fix(fix)
}

fn image(
    inmate: &Inmate<'_>,
    inspected: &Inspected,
    host: &Subject<'_>,
    answers: &Destination,
) -> Outcome {
    let bare = |id: &str| id.trim_start_matches("sha256:").to_owned();
    let wanted = inspected.image_id();
    let image = inspected.image_ref();
    let fix = format!(
        "{0} save {1} | ssh {2} {0} load",
        inmate.engine(),
        host::quote(image),
        host::quote(host.name)
    );
    match &answers.image {
        Some(id) if bare(id) == bare(wanted) => Outcome::ok(format!("{image} is there, the same")),
        Some(id) => Outcome::warn(format!(
            "{image} is another image there: mode tarball needs this one, modes that copy bring it along under that name"
        ))
        .found(format!("{wanted} at the source, {id} at the destination"))
        .fix(fix),
        None => Outcome::warn(format!(
            "{image} is not there: mode tarball needs it, modes that copy bring it along"
        ))
        .found(format!("{} has no image of that name", host.name))
        .fix(fix),
    }
}

fn mounts(
    _: &Inmate<'_>,
    inspected: &Inspected,
    host: &Subject<'_>,
    answers: &Destination,
) -> Outcome {
    let mut missing = Vec::new();
    let mut binds = 0;
    for mount in inspected
        .mounts()
        .iter()
        .filter(|mount| mount.kind == "bind")
    {
        binds += 1;
        if !matches!(answers.paths.get(&mount.source), Some(Some(_))) {
            missing.push(format!(
                "{}, mounted at {}",
                mount.source, mount.destination
            ));
        }
    }
    if !missing.is_empty() {
        return Outcome::fail("something mounted into the container is missing at the destination")
            .found(some(&missing))
            .fix("transship migrate --copy-bind ...   # copies folders along")
            .fix(format!(
                "or copy it there: rsync -a FOLDER/ {}:FOLDER/",
                host.name
            ));
    }
    let empty: Vec<String> = answers
        .volumes
        .iter()
        .filter(|(_, there)| !**there)
        .map(|(name, _)| format!("volume {name}"))
        .collect();
    if !empty.is_empty() {
        return Outcome::warn("a volume is not at the destination and would be empty there")
            .found(some(&empty));
    }
    Outcome::ok(format!(
        "{} and {}, all there",
        count(binds, "bind mount"),
        count(answers.volumes.len(), "volume")
    ))
}

fn changed(
    inmate: &Inmate<'_>,
    inspected: &Inspected,
    host: &Subject<'_>,
    answers: &Destination,
) -> Outcome {
    let opened = files::on_binds(inmate.container, inspected);
    let differing: Vec<String> = opened
        .iter()
        .filter_map(|(path, size)| match answers.paths.get(path)? {
            Some((there, _)) if there == size => None,
            Some((there, _)) => Some(format!(
                "{path} has {size} bytes, and {there} on {}",
                host.name
            )),
            None => Some(format!("{path} is missing on {}", host.name)),
        })
        .collect();
    if differing.is_empty() {
        return Outcome::ok(format!(
            "{} in mounts, all alike",
            count(opened.len(), "open file")
        ));
    }
    Outcome::fail("an open file is another one at the destination").found(some(&differing))
}

fn ports(
    inmate: &Inmate<'_>,
    inspected: &Inspected,
    host: &Subject<'_>,
    answers: &Destination,
) -> Outcome {
    let bindings = inspected.raw()["HostConfig"]["PortBindings"].as_object();
    let mut published = 0;
    let mut taken = Vec::new();
    for (inner, list) in bindings.into_iter().flatten() {
        let udp = inner.ends_with("/udp");
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        for binding in list {
            let port = binding["HostPort"]
                .as_str()
                .and_then(|port| port.parse().ok());
            let Some(port) = port.filter(|port| *port != 0) else {
                continue;
            };
            published += 1;
            if answers.listens(port, udp) {
                taken.push(format!("port {port} for {inner}"));
            }
        }
    }
    // In the host's own network nothing is published: the program listens there itself.
    if inspected.raw()["HostConfig"]["NetworkMode"].as_str() == Some("host") {
        let own = inmate.container.own_sockets();
        let listening = own.iter().filter(|socket| socket.listens());
        let ports: BTreeSet<u16> = listening.map(|socket| socket.port).collect();
        published += ports.len();
        let ports = ports
            .into_iter()
            .filter(|port| answers.listens(*port, false));
        taken.extend(ports.map(|port| format!("port {port}, where it listens itself")));
    }
    if taken.is_empty() {
        return Outcome::ok(format!("{}, all free there", count(published, "port")));
    }
    Outcome::fail("a port of the container is in use at the destination")
        .found(some(&taken))
        .fix(format!("ssh {} ss -lptn", host::quote(host.name)))
}

fn networks(
    inmate: &Inmate<'_>,
    inspected: &Inspected,
    host: &Subject<'_>,
    answers: &Destination,
) -> Outcome {
    let (mut bad, mut fixes) = (Vec::new(), Vec::new());
    for network in inspected.networks() {
        let there = match answers.networks.get(&network.name) {
            None => continue,
            Some(None) => {
                bad.push(format!("{} has no network {}", host.name, network.name));
                fixes.push(create(inmate, &network, host));
                continue;
            }
            Some(Some(there)) => there,
        };
        let Some(address) = network
            .ip
            .as_ref()
            .filter(|ip| needed(inmate, &network, ip))
        else {
            continue;
        };
        if let Some(other) = owner(there, address) {
            bad.push(format!("{address} belongs to {other} there"));
            fixes.push(format!(
                "ssh {} {} network disconnect {} {other}",
                host::quote(host.name),
                inmate.engine(),
                host::quote(&network.name)
            ));
        }
    }
    if bad.is_empty() {
        return Outcome::ok("its networks are there, and the addresses that it needs are free");
    }
    let outcome = Outcome::fail("a network is missing at the destination, or an address is taken")
        .found(some(&bad));
    fixes.into_iter().fold(outcome, Outcome::fix)
}

/// How to make a network that the destination lacks.
fn create(inmate: &Inmate<'_>, network: &Network, host: &Subject<'_>) -> String {
    let subnet = network.ip.as_ref().and_then(|ip| {
        let prefix = u8::try_from(network.prefix).ok()?;
        let net = ipnet::Ipv4Net::new(ip.parse().ok()?, prefix).ok()?;
        Some(format!("--subnet {} ", net.trunc()))
    });
    format!(
        "ssh {} {} network create {}{}",
        host::quote(host.name),
        inmate.engine(),
        subnet.unwrap_or_default(),
        host::quote(&network.name)
    )
}

/// Whether the container must get the same address again: it was given by the user, or a socket of
/// its own is bound to it. Another is as good otherwise.
fn needed(inmate: &Inmate<'_>, network: &Network, address: &str) -> bool {
    let Some(inspected) = inmate.inspected else {
        return false;
    };
    let endpoint = &inspected.raw()["NetworkSettings"]["Networks"][&network.name];
    let given = endpoint["IPAMConfig"]["IPv4Address"].as_str() == Some(address);
    // Podman keeps the command instead: `--ip ADDRESS` or `--ip=ADDRESS`.
    let command = inspected.raw()["Config"]["CreateCommand"].as_array();
    let typed = command.into_iter().flatten().any(|word| {
        let word = word.as_str().unwrap_or_default();
        word.rsplit('=').next() == Some(address)
    });
    let sockets = inmate.container.own_sockets();
    given || typed || sockets.iter().any(|socket| socket.local == address)
}

/// The container that has an address in a network, as Docker or Podman describes it.
fn owner<'n>(network: &'n Value, address: &str) -> Option<&'n str> {
    let is = |text: Option<&str>| text.and_then(|text| text.split('/').next()) == Some(address);
    let docker = network["Containers"].as_object().into_iter().flatten();
    let docker = docker
        .filter(|(_, one)| is(one["IPv4Address"].as_str()))
        .map(|(id, one)| one["Name"].as_str().unwrap_or(id));
    let podman = network["containers"].as_object().into_iter().flatten();
    let podman = podman
        .filter(|(_, one)| {
            let interfaces = one["interfaces"].as_object().into_iter().flatten();
            let mut subnets =
                interfaces.flat_map(|(_, one)| one["subnets"].as_array().into_iter().flatten());
            subnets.any(|subnet| is(subnet["ipnet"].as_str()))
        })
        .map(|(id, one)| one["name"].as_str().unwrap_or(id));
    docker.chain(podman).next()
}
