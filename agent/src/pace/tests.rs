use super::*;

/// A chunk of MiB.
const CHUNK: usize = 1 << 20;
/// What the kernel takes at once, before anything has left.
const BUFFERED: f64 = 4e6;

/// A link of so many bytes a second behind a buffer, and a compressor.
struct Simulated {
    link: f64,
    compressor: f64,
    /// Bytes of a byte.
    left: f64,
    buffered: f64,
    /// Seconds since the beginning.
    now: f64,
    packed: usize,
    plain: usize,
}

impl Simulated {
    fn new(link: f64, compressor: f64, left: f64) -> Self {
        Simulated {
            link,
            compressor,
            left,
            buffered: 0.0,
            now: 0.0,
            packed: 0,
            plain: 0,
        }
    }

    fn pass(&mut self, seconds: f64) {
        self.now += seconds;
        self.buffered = (self.buffered - seconds * self.link).max(0.0);
    }

    /// Writes, and says how long that took.
    fn write(&mut self, bytes: f64) -> Duration {
        let copied = bytes / 5e9;
        self.pass(copied);
        let over = (self.buffered + bytes - BUFFERED).max(0.0);
        let waited = over / self.link;
        self.pass(waited);
        self.buffered += bytes;
        Duration::from_secs_f64(copied + waited)
    }

    fn run(&mut self, pace: &mut Pace, chunks: usize) {
        self.run_with(pace, chunks, CHUNK);
    }

    fn run_with(&mut self, pace: &mut Pace, chunks: usize, size: usize) {
        (self.packed, self.plain) = (0, 0);
        for _ in 0..chunks {
            match pace.next() {
                How::Plain => {
                    let took = self.write(size as f64);
                    pace.plain(size, took);
                    self.plain += 1;
                }
                How::Packed => {
                    let compressing = size as f64 / self.compressor;
                    self.pass(compressing);
                    let packed = size as f64 * self.left;
                    let took = self.write(packed);
                    let compressing = Duration::from_secs_f64(compressing);
                    pace.packed(size, packed as usize, compressing, took);
                    self.packed += 1;
                }
            }
        }
    }
}

#[test]
fn a_link_slower_than_the_compressor_is_given_less() {
    for link in [1.25e6, 12.5e6, 50e6, 110e6] {
        let (mut pace, mut world) = (Pace::new(), Simulated::new(link, 400e6, 0.3));
        world.run(&mut pace, 1024);
        let alone = 1024.0 * CHUNK as f64 / link;
        assert!(
            world.now < alone * 0.5,
            "{link}: {} s instead of {alone}",
            world.now
        );
    }
}

#[test]
fn a_quick_link_is_left_alone() {
    for link in [600e6, 1.2e9, 4e9] {
        let (mut pace, mut world) = (Pace::new(), Simulated::new(link, 400e6, 0.3));
        world.run(&mut pace, 1024);
        let alone = 1024.0 * CHUNK as f64 / link;
        assert!(
            world.now < alone * 1.08 + 0.02,
            "{link}: {} s, without any trial {alone}",
            world.now
        );
    }
}

#[test]
fn on_a_slow_link_little_goes_uncompressed() {
    // Zigbee, Bluetooth, a telephone line.
    for link in [31e3, 250e3, 1.25e6] {
        let mut world = Simulated::new(link, 400e6, 0.3);
        // Its kernel's buffer is full.
        world.buffered = BUFFERED;
        let mut pace = Pace::new();
        world.run_with(&mut pace, 64, 64 << 10);
        assert!(world.plain <= 16, "{link}: {} of 64", world.plain);
    }
}

#[test]
fn what_the_kernels_buffers_take_before_anything_is_known_is_compressed() {
    for link in [31e3, 600e6] {
        let (mut pace, mut world) = (Pace::new(), Simulated::new(link, 400e6, 0.3));
        world.run_with(&mut pace, EARLY >> 16, 64 << 10);
        assert_eq!(world.plain, 0, "{link}");
    }
}

#[test]
fn above_a_gigabit_nothing_is_tried_but_at_the_beginning() {
    for link in [160e6, 600e6, 4e9] {
        let (mut pace, mut world) = (Pace::new(), Simulated::new(link, 400e6, 0.1));
        world.run(&mut pace, 1024);
        assert_eq!(world.packed, EARLY / CHUNK, "{link}");
    }
}

#[test]
fn noise_goes_as_it_is_and_costs_no_more() {
    for link in [12.5e6, 110e6, 1.2e9] {
        let (mut pace, mut world) = (Pace::new(), Simulated::new(link, 400e6, 1.0));
        world.run(&mut pace, 512);
        let alone = 512.0 * CHUNK as f64 / link;
        assert!(
            world.now < alone * 1.08 + 0.02,
            "{link}: {} instead of {alone}",
            world.now
        );
    }
}

#[test]
fn it_follows_when_data_or_link_change() {
    let (mut pace, mut world) = (Pace::new(), Simulated::new(50e6, 400e6, 0.3));
    world.run(&mut pace, 256);
    assert!(world.packed > 200, "{}", world.packed);
    world.left = 1.0;
    world.run(&mut pace, 256);
    assert!(world.plain > 200, "noise: {}", world.plain);
    world.left = 0.3;
    world.run(&mut pace, 256);
    assert!(world.packed > 200, "text again: {}", world.packed);
    // Others leave the link to us.
    world.link = 2e9;
    world.run(&mut pace, 2048);
    assert!(world.plain > 1500, "quick now: {}", world.plain);
    world.link = 20e6;
    world.run(&mut pace, 256);
    assert!(world.packed > 200, "slow again: {}", world.packed);
}
