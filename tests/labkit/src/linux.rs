//! The lab's Linux domU: Debian's kernel, an echo service on port 7 and iperf3. Once it is
//! [equipped](Linux::equip), it also carries out commands and runs this program.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::addresses::{self, BRIDGE, DOM0};
use crate::deadline::Deadline;
use crate::domain::Domain;
use crate::domain::config::{Config, OnEnd};
use crate::lab::Lab;
use crate::lines;
use crate::net::stream::connect;
use crate::protocol::IMAGE_FOLDER;

/// The domU's memory in MiB. Debian's kernel cannot be loaded into less.
pub const MEMORY_MIB: u64 = 128;

/// The port of the shell that [`Linux::equip`] starts.
const SHELL: u16 = 4243;

/// The path of this program in the domU.
pub const AGENT: &str = "/tmp/agent";

/// A running Linux domU.
#[derive(Debug)]
pub struct Linux {
    /// The domain.
    pub domain: Domain,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Milliseconds from the end of `xl create` until it served.
    pub ready_ms: f64,
}

impl Linux {
    /// Boots the domU at 10.0.0.`number`; returns `None` if its kernel is not in dom0.
    pub fn boot(lab: &Lab, number: u8) -> Result<Option<Self>> {
        let folder = format!("{IMAGE_FOLDER}/linux");
        if !Path::new(&folder).exists() {
            return Ok(None);
        }
        let ip = addresses::ipv4(number);
        let domain = Domain::create(&Config {
            kind: lab.job.guest,
            name: format!("{}-linux-{number}", lab.part),
            kernel: format!("{folder}/vmlinuz"),
            ramdisk: Some(format!("{folder}/initrd")),
            memory_mib: MEMORY_MIB,
            cmdline: format!("console=hvc0 quiet ip={ip}/24 gw={DOM0}"),
            bridge: BRIDGE,
            mac: Some(number),
            on_poweroff: OnEnd::Destroy,
            on_reboot: OnEnd::Destroy,
            on_crash: OnEnd::Destroy,
        })?;
        domain
            .console()
            .wait_for(&lines::LINUX_READY, Deadline::seconds(180))?;
        let ready_ms = domain.created.elapsed().as_secs_f64() * 1000.0;
        Ok(Some(Self {
            domain,
            ip,
            ready_ms,
        }))
    }

    /// Returns the address of one of its ports.
    pub fn port(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.ip), port)
    }

    /// Starts a shell that takes commands, copies this program into the domU, and starts its
    /// services (`agent peer`).
    pub fn equip(&self) -> Result<()> {
        // The domU's init ends in a shell on the console.
        let shell = format!("socat TCP-LISTEN:{SHELL},fork,reuseaddr EXEC:/bin/sh,nofork &");
        self.domain.type_line(&shell)?;
        let deadline = Deadline::seconds(60);
        deadline.poll(Duration::from_millis(100), "the domU's shell", || {
            let up = self.command("echo shell is up", deadline);
            Ok(up.is_ok_and(|text| text.contains("up")).then_some(()))
        })?;
        let program = std::fs::read(std::env::current_exe()?).context("this program")?;
        let size = program.len();
        let listener = TcpListener::bind((IpAddr::V4(DOM0), 0))?;
        let port = listener.local_addr()?.port();
        let sender = thread::spawn(move || -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            Ok(stream.write_all(&program)?)
        });
        let fetch = format!("socat -u TCP:{DOM0}:{port} CREATE:{AGENT}; wc -c <{AGENT}");
        let got = self.command(&fetch, deadline)?;
        if got.trim() != size.to_string() {
            bail!("{} of {size} bytes of this program arrived", got.trim());
        }
        sender
            .join()
            .map_err(|_| anyhow!("the sender panicked"))??;
        let serve = format!("chmod 755 {AGENT}; {AGENT} peer serve >/dev/null 2>&1 &");
        self.command(&serve, deadline)?;
        deadline.poll(Duration::from_millis(50), "agent peer serve", || {
            Ok(connect(self.port(crate::peer::ECHO), deadline).ok())
        })?;
        Ok(())
    }

    /// Runs `command` in the domU's shell; returns its standard output.
    pub fn command(&self, command: &str, deadline: Deadline) -> Result<String> {
        let mut stream = connect(self.port(SHELL), deadline)?;
        // The command must not read the shell's own input.
        stream.write_all(format!("{{ {command}\n}} </dev/null; exit\n").as_bytes())?;
        let mut text = String::new();
        stream
            .read_to_string(&mut text)
            .with_context(|| format!("the domU's answer to {command:?}"))?;
        Ok(text)
    }
}
