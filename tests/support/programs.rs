//! An image with real programs, made of Debian packages without their scripts.

use crate::packages::{CACHE, closure, fetch, sh};
use crate::support::Lab;
use std::path::{Path, PathBuf};

const SUITE: &str = "trixie";

/// Name of the image.
pub const IMAGE: &str = "programs:latest";

const WANTED: [&str; 6] = [
    "busybox-static",
    "nginx-light",
    "postgresql-17",
    "prometheus-pushgateway",
    "python3-minimal",
    "redis-server",
];

/// What these need only when they are installed, or for what no test does.
const NOT_NEEDED: [&str; 9] = [
    "perl",
    "libllvm",
    "libz3",
    "locales",
    "libc-l10n",
    "fonts-",
    "javascript-",
    "libjs-",
    "-common",
];

/// Fills the folder `$1` from the packages after it.
///
/// In a lab whose root lacks CAP_SYS_RESOURCE, CRIU can dump root's processes alone, and PostgreSQL refuses
/// root: `not-root.so` makes it believe that it is another user.
const BUILD: &str = r#"
root=$1; shift
mkdir -p "$root"/usr/{bin,sbin,lib,lib64} "$root"/{etc,proc,sys,dev,run,var/log,var/lib/nginx} "$root/usr/share/postgresql-common"
mkdir -m 1777 "$root/tmp"; mkdir -m 700 "$root/root"
for name in bin sbin lib lib64; do ln -s usr/$name "$root/$name"; done
for package; do
    dpkg-deb --fsys-tarfile "$package" | tar -C "$root" -x --keep-directory-symlink --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*'
done
printf '%s\n' root:x:0:0:root:/root:/bin/sh daemon:x:1:1::/:/bin/sh www-data:x:33:33::/:/bin/sh postgres:x:70:70::/var/lib/postgresql:/bin/sh >"$root/etc/passwd"
printf '%s\n' root:x:0: daemon:x:1: www-data:x:33: postgres:x:70: >"$root/etc/group"
rm -f "$root/usr/bin/sh"
chroot "$root" /usr/bin/busybox --install -s /usr/bin
ln -sf python3.13 "$root/usr/bin/python3"
mkdir -p "$root/var/lib/postgresql"
echo 'unsigned getuid(void) { return 70; } unsigned geteuid(void) { return 70; }' |
    gcc -shared -fPIC -nostdlib -o "$root/usr/lib/not-root.so" -x c -
"#;

/// The image's files as a tar: from the cache, or built now.
fn archive() -> PathBuf {
    // A name that changes whenever the recipe does.
    let key = sh(
        r#"printf '%s' "$*" | sha256sum | cut -c 1-12"#,
        &[&[SUITE, BUILD], &WANTED[..], &NOT_NEEDED[..]].concat(),
    );
    let done = Path::new(CACHE).join(format!("programs-{}.tar", key.trim()));
    if done.exists() {
        return done;
    }
    let packages = closure(SUITE, &WANTED);
    let packages: Vec<&str> = packages
        .iter()
        .map(String::as_str)
        .filter(|package| !NOT_NEEDED.iter().any(|part| package.contains(part)))
        .collect();
    let packages = fetch(SUITE, &packages);
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    let files = root.path().join("root");
    let mut args = vec![files.to_str().unwrap()];
    args.extend(packages.iter().map(|package| package.to_str().unwrap()));
    sh(BUILD, &args);
    sh(
        r#"tar -C "$1" -cf "$2.half" . && mv "$2.half" "$2""#,
        &[files.to_str().unwrap(), done.to_str().unwrap()],
    );
    done
}

/// The image is on host a; the first migration takes it to the other.
pub fn import(lab: &Lab) {
    let archive = archive();
    let tag = format!(
        "{}:{}",
        IMAGE.trim_end_matches(":latest"),
        archive.file_stem().unwrap().to_str().unwrap()
    );
    let there = lab.sh("a", &format!("docker image inspect {tag} >/dev/null 2>&1"));
    if there.code != 0 {
        let script = r#"exec "$0" -q lab exec --lab "$1" a -- docker import -c 'ENV PATH=/usr/sbin:/usr/bin:/usr/lib/postgresql/17/bin' - "$2" <"$3""#;
        let output = std::process::Command::new("bash")
            .args([
                "-c",
                script,
                env!("CARGO_BIN_EXE_transship"),
                lab.name,
                &tag,
                archive.to_str().unwrap(),
            ])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    lab.ok("a", &format!("docker tag {tag} {IMAGE}"));
}
