//! Two network namespaces with one TUN device each.

use std::{
    fs::{File, OpenOptions},
    os::fd::AsFd,
    process::Command,
};

use rustix::{
    ioctl::{Setter, ioctl, opcode},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::emulator::Path;

const DEVICE: &[u8] = b"path";
/// TUN, and packets without a header of the driver's.
const FLAGS: u16 = 0x0001 | 0x1000;
/// `TUNSETIFF` of linux/if_tun.h.
const SET_DEVICE: rustix::ioctl::Opcode = opcode::write::<i32>(b'T', 202);

/// `struct ifreq` of net/if.h, as far as TUNSETIFF reads it.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// The namespaces and what joins them.
pub(crate) struct Lab {
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) path: Path,
}

/// Deleted when it is dropped.
pub(crate) struct Namespace(pub(crate) String);

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

pub(crate) const ADDRS: [&str; 2] = ["10.77.0.1", "10.77.0.2"];

impl Lab {
    /// Says what is missing where the machine does not allow it.
    pub(crate) fn new() -> Result<Self, String> {
        let mut namespaces = Vec::new();
        let mut devices = Vec::new();
        for (number, (own, peer)) in [(ADDRS[0], ADDRS[1]), (ADDRS[1], ADDRS[0])].into_iter().enumerate() {
            let name = format!("arion-bench-{}-{number}", std::process::id());
            ip(&["netns", "add", &name])?;
            let namespace = Namespace(name.clone());
            let entered = name.clone();
            let device = std::thread::spawn(move || open_device(&entered)).join().unwrap()?;
            ip(&["-n", &name, "addr", "add", own, "peer", peer, "dev", "path"])?;
            ip(&["-n", &name, "link", "set", "path", "mtu", "1500", "txqueuelen", "10000", "up"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            // TCP has room for the whole path in its buffers.
            for setting in
                ["net.ipv4.tcp_rmem=4096 131072 67108864", "net.ipv4.tcp_wmem=4096 131072 67108864"]
            {
                ip(&["netns", "exec", &name, "sysctl", "-qw", setting])?;
            }
            namespaces.push(namespace);
            devices.push(device);
        }
        let (Some(other), Some(one)) = (devices.pop(), devices.pop()) else {
            return Err("two devices were opened".into());
        };
        let path = Path::between(one, other);
        Ok(Self { namespaces, path })
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| format!("ip: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            Err(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
        }
    }
}

/// Runs on a thread of its own, which stays in the namespace.
fn open_device(namespace: &str) -> Result<File, String> {
    let place =
        File::open(format!("/run/netns/{namespace}")).map_err(|error| format!("namespace: {error}"))?;
    move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| format!("setns: {error}"))?;
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .map_err(|error| format!("/dev/net/tun: {error}"))?;
    let mut request = InterfaceRequest { name: [0; 16], flags: FLAGS, rest: [0; 22] };
    request.name[..DEVICE.len()].copy_from_slice(DEVICE);
    // SAFETY: TUNSETIFF reads one `struct ifreq`, 40 bytes, which `InterfaceRequest` is.
    unsafe { ioctl(&device, Setter::<SET_DEVICE, InterfaceRequest>::new(request)) }
        .map_err(|error| format!("TUNSETIFF: {error}"))?;
    Ok(device)
}
