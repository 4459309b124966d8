//! The file that tells `xl create` what a domU is made of (xl.cfg(5)).

use std::fmt::Write;

use anyhow::{Result, bail};

use crate::addresses;
use crate::kind::Kind;

/// What the toolstack does when a domain has ended in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnEnd {
    /// The domain is removed.
    Destroy,
    /// The domain is built again.
    Restart,
    /// The domain is kept for inspection and does not run.
    Preserve,
}

impl OnEnd {
    fn word(self) -> &'static str {
        match self {
            Self::Destroy => "destroy",
            Self::Restart => "restart",
            Self::Preserve => "preserve",
        }
    }
}

/// A domU with at most one network interface.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the domain is built as.
    pub kind: Kind,
    /// The domain's name; it also names the console log.
    pub name: String,
    /// Path of the kernel image.
    pub kernel: String,
    /// Path of the initial ramdisk, for Linux.
    pub ramdisk: Option<String>,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The command line.
    pub cmdline: String,
    /// The bridge that the interface is in.
    pub bridge: &'static str,
    /// The last byte of the MAC address, or `None` for a domain without a network.
    pub mac: Option<u8>,
    /// What follows a poweroff.
    pub on_poweroff: OnEnd,
    /// What follows a reboot.
    pub on_reboot: OnEnd,
    /// What follows a crash.
    pub on_crash: OnEnd,
}

impl Config {
    /// Returns the file's text. A double quote, a backslash or a line break in a value is an error,
    /// because xl's syntax cannot express it.
    pub fn text(&self) -> Result<String> {
        let mut text = format!("type = \"{}\"\n", self.kind.name());
        text.push_str(self.kind.settings());
        for (key, value) in [
            ("name", &self.name),
            ("kernel", &self.kernel),
            ("extra", &self.cmdline),
        ] {
            quoted(&mut text, key, value)?;
        }
        if let Some(ramdisk) = &self.ramdisk {
            quoted(&mut text, "ramdisk", ramdisk)?;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "memory = {}\nvcpus = 1", self.memory_mib);
        if let Some(last) = self.mac {
            let mac = addresses::mac(last).map(|byte| format!("{byte:02x}"));
            let mac = mac.join(":");
            let _ = writeln!(
                text,
                "vif = [\"bridge={},script=vif-bridge,mac={mac}\"]",
                self.bridge
            );
        }
        for (key, end) in [
            ("on_poweroff", self.on_poweroff),
            ("on_reboot", self.on_reboot),
            ("on_crash", self.on_crash),
        ] {
            quoted(&mut text, key, end.word())?;
        }
        Ok(text)
    }
}

fn quoted(text: &mut String, key: &str, value: &str) -> Result<()> {
    if value.contains(['"', '\n', '\\']) {
        bail!("{key}: a quote, a backslash or a line break cannot be passed to xl: {value:?}");
    }
    let _ = writeln!(text, "{key} = \"{value}\"");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Config, OnEnd};
    use crate::addresses::BRIDGE;
    use crate::kind::Kind;

    fn config() -> Config {
        Config {
            kind: Kind::Pv,
            name: "echo".into(),
            kernel: "/lab/images/echo".into(),
            ramdisk: None,
            memory_mib: 8,
            cmdline: "ip=10.0.0.2/24".into(),
            bridge: BRIDGE,
            mac: Some(2),
            on_poweroff: OnEnd::Destroy,
            on_reboot: OnEnd::Restart,
            on_crash: OnEnd::Preserve,
        }
    }

    #[test]
    fn every_setting_is_in_the_file() {
        let text = config().text().expect("nothing to refuse");
        let expected = "type = \"pv\"\n\
            name = \"echo\"\n\
            kernel = \"/lab/images/echo\"\n\
            extra = \"ip=10.0.0.2/24\"\n\
            memory = 8\n\
            vcpus = 1\n\
            vif = [\"bridge=xenbr0,script=vif-bridge,mac=00:16:3e:ca:00:02\"]\n\
            on_poweroff = \"destroy\"\n\
            on_reboot = \"restart\"\n\
            on_crash = \"preserve\"\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_pvh_domain_reads_the_processors_own_counter() {
        let config = Config {
            kind: Kind::Pvh,
            ..config()
        };
        let text = config.text().expect("nothing to refuse");
        assert!(text.starts_with("type = \"pvh\"\ntsc_mode = \"native\"\nname = \"echo\"\n"));
    }

    #[test]
    fn what_cannot_be_quoted_is_refused() {
        for bad in ["a\"b", "a\nb", "a\\b"] {
            let mut config = config();
            config.cmdline = bad.into();
            assert!(config.text().is_err(), "{bad:?}");
        }
    }
}
