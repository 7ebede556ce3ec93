//! So many bytes over one TCP connection, unencrypted: what the link takes at best.

use host::{Cmd, Host};
use migrate::Failure;
use std::io::Read;
use std::time::Duration;

const SLOW: Duration = Duration::from_secs(1800);

/// Listens at one address, takes so many bytes from the second that connects, and says so with a line: the
/// first only tries whether it can. perl is part of every Debian and Ubuntu.
const TAKE: &str = r#"use Socket; use IO::Socket::IP;
my ($address, $bytes) = @ARGV;
$| = 1; alarm 10;
my $listen = IO::Socket::IP->new(LocalHost => $address, LocalPort => 0, Listen => 2, Type => SOCK_STREAM) or die "$!\n";
print $listen->sockport, "\n";
$listen->accept or die "$!\n";
my $from = $listen->accept or die "$!\n";
alarm 1800;
my $buffer;
while ($bytes > 0) { my $read = sysread $from, $buffer, 1 << 20 or die "it ended early\n"; $bytes -= $read }
syswrite $from, "done\n";"#;

/// Sends them, and waits for the word that all have come. bash 5 has a clock that costs no process. A firewall
/// that drops packets costs three seconds.
const GIVE: &str = r#"[ -n "$EPOCHREALTIME" ] || { echo "bash is older than 5" >&2; exit 1; }
timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" && exec 3<>"/dev/tcp/$1/$2" || exit
begin=${EPOCHREALTIME/[.,]/}
head -c "$3" /dev/zero >&3
read -r said <&3
end=${EPOCHREALTIME/[.,]/}
[ "$said" = done ] && echo "tcp $((end - begin))000""#;

/// Prints `tcp` and nanoseconds.
pub(crate) fn carry(
    source: &dyn Host,
    destination: &dyn Host,
    address: &str,
    bytes: u64,
) -> Result<String, Failure> {
    let bytes = bytes.to_string();
    let take = Cmd::reads("perl").args(["-e", TAKE, address, &bytes]);
    let mut take = destination.open(&take.timeout(SLOW))?;
    let mut port = Vec::new();
    let mut byte = [0];
    while port.len() < 6 && matches!(take.read(&mut byte), Ok(1)) && byte[0] != b'\n' {
        port.push(byte[0]);
    }
    let port = String::from_utf8_lossy(&port).into_owned();
    let said = if port.parse::<u16>().is_ok() {
        let words = ["-c", GIVE, "send-bytes", address, &port, &bytes];
        source.text(&Cmd::reads("bash").args(words).timeout(SLOW))
    } else {
        Ok(String::new())
    };
    let taken = take.finish()?;
    if taken.status != 0 {
        let why = taken.stderr_text().trim().to_owned();
        let what = format!("taking {bytes} bytes at {address}: {why}");
        said?;
        return Err(Failure::failed(destination.name(), what));
    }
    Ok(said? + "\n")
}
