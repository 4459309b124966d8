//! `cargo lab …`: the commands and what they need.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use labkit::Share;
use labkit::parameters::ParameterValue;
use labkit::protocol::Job;
use serde_json::{Map, Value, json};

use crate::base::{Base, libvirt};
use crate::counts::Ended;
use crate::emulator::QemuRelease;
use crate::order::{MachineArguments, Order};
use crate::overlay::Overlay;
use crate::plan::Plan;
use crate::shell::Shell;
use crate::{appliance, images, listing, paths, run, shell, suite, tools};

/// Boots real Xen in QEMU and runs scenarios on it.
#[derive(Parser)]
#[command(name = "cargo lab", bin_name = "cargo lab")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the scenarios with what they can be told; of one, its cases too.
    List {
        /// The scenario's name.
        scenario: Option<String>,
    },
    /// Boot one image as a domU and show its console.
    Boot(Boot),
    /// Open a shell in dom0 (images, if given, are in /lab/images).
    Shell(ShellArguments),
    /// Run every test, on the host and in the lab; the last line is the count.
    Suite {
        /// Repeat what the tests do for some hours instead.
        #[arg(long)]
        soak: bool,
    },
    /// Make sure that the programs of `make check` are there.
    Tools,
    /// Run the scenario of this name (see `list`).
    #[command(external_subcommand)]
    Scenario(Vec<String>),
}

#[derive(Args)]
struct Boot {
    /// A kernel, ELF or bzImage; `linux` is the lab's own Linux domU.
    image: PathBuf,
    /// The domU's memory in MiB.
    #[arg(long, default_value_t = 16)]
    memory: u64,
    /// The domU's command line.
    #[arg(long, default_value = "")]
    cmdline: String,
    /// How long to watch it, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    #[command(flatten)]
    machine: MachineArguments,
}

#[derive(Args)]
struct ShellArguments {
    /// Files to put into /lab/images.
    images: Vec<PathBuf>,
    /// Run this script in bash and power off, in place of a shell.
    #[arg(long)]
    command: Option<String>,
    /// The limit for a script, in seconds from power-on.
    #[arg(long, default_value_t = 600)]
    limit: u64,
    /// Add libvirt with its Xen driver, and start its daemon.
    #[arg(long)]
    libvirt: bool,
    #[command(flatten)]
    machine: MachineArguments,
}

/// Carries out the command line; returns whether all went well.
///
/// # Errors
/// The command could not be carried out.
pub(crate) fn run() -> Result<bool> {
    match CommandLine::parse().command {
        Command::List { scenario } => {
            print!("{}", listing::of(scenario.as_deref())?);
            Ok(true)
        }
        Command::Boot(arguments) => closing_line(boot(arguments)?),
        Command::Shell(arguments) => open_shell(arguments),
        Command::Suite { soak } => {
            suite::run(if soak { &suite::SOAK } else { &suite::TEST }, run_scenario)
        }
        Command::Tools => {
            tools::ensure_for_check()?;
            Ok(true)
        }
        Command::Scenario(words) => {
            let ended = run_scenario(&words).map_err(|error| {
                // clap's own errors, and its help, print themselves.
                match error.downcast::<clap::Error>() {
                    Ok(error) => error.exit(),
                    Err(error) => error,
                }
            });
            closing_line(ended?)
        }
    }
}

/// Ends a scenario's output with its counts alone on a line; returns whether nothing failed.
fn closing_line(ended: Ended) -> Result<bool> {
    println!("{}", ended.counts);
    Ok(ended.counts.failed == 0)
}

/// Builds what the scenario named by the first of `words` needs and runs it.
fn run_scenario(words: &[String]) -> Result<Ended> {
    let order = Order::parse(words)?;
    let scenario = order.scenario;
    let scratch = paths::scratch(&paths::cache())?;
    let names: Vec<_> = scenario.images.iter().map(|image| image.name()).collect();
    let built = images::images(&names)?;
    let images = built
        .iter()
        .zip(names)
        .map(|(built, name)| {
            Ok((
                name.to_owned(),
                images::stripped(built, name, scratch.path())?,
            ))
        })
        .collect::<Result<_>>()?;
    let mut overlay = Overlay {
        images,
        linux_domu: scenario.wants_linux(&order.parameters),
        ..Overlay::default()
    };
    if scenario.from_docs {
        appliance::add(&mut overlay, scratch.path())?;
    }
    with_agent(order, overlay)
}

fn boot(arguments: Boot) -> Result<Ended> {
    let scenario = agent::scenario("boot").context("the table has no boot")?;
    let mut parameters = Map::from_iter([
        ("memory_mib".to_owned(), json!(arguments.memory)),
        ("cmdline".to_owned(), json!(arguments.cmdline)),
        ("seconds".to_owned(), json!(arguments.seconds)),
    ]);
    let linux = arguments.image.as_os_str() == "linux";
    if linux {
        parameters.insert("image".into(), "linux/vmlinuz".into());
        parameters.insert("ramdisk".into(), "linux/initrd".into());
    } else {
        let name = file_name(&arguments.image)?;
        parameters.insert("image".into(), name.into());
    }
    let order = Order::new(scenario, parameters, arguments.machine, None)?;
    let scratch = paths::scratch(&paths::cache())?;
    let mut overlay = Overlay {
        linux_domu: linux,
        ..Overlay::default()
    };
    if !linux {
        let name = file_name(&arguments.image)?;
        let file = images::stripped(&arguments.image, &name, scratch.path())?;
        overlay.images.push((name, file));
    }
    with_agent(order, overlay)
}

/// What Xen needs beside its domains' memory, in MiB.
const XEN_MIB: u32 = 512;

/// Carries out `order`; adds the agent and its job to `overlay`.
fn with_agent(order: Order, mut overlay: Overlay) -> Result<Ended> {
    tools::ensure_for_run()?;
    let Order {
        scenario,
        parameters,
        machine,
        second_xen,
    } = order;
    let share = parameters.get("share").and_then(Share::read);
    // A guest of the size that was asked for, beside dom0 and what Xen needs for both.
    let guest_mib = parameters.get("memory_mib").and_then(Value::as_u64);
    let guest_mib = guest_mib.and_then(|guest| u32::try_from(guest).ok());
    let asked = guest_mib.map_or(0, |guest| guest + scenario.dom0_mib + XEN_MIB);
    overlay.agent = Some(images::agent()?);
    overlay.job = Some(Job {
        scenario: scenario.name.to_owned(),
        params: parameters,
        virtual_time: machine.virtual_time,
        guest: machine.guest.into(),
    });
    if scenario.libvirt {
        overlay.libvirt = Some(libvirt::ready(machine.xen)?);
    }
    let plan = Plan {
        scenario,
        xen: machine.xen,
        second_xen,
        store: machine.store,
        memory_mib: scenario.memory_mib.max(asked),
        guest: machine.guest.into(),
        virtual_time: machine.virtual_time,
        share,
        overlay,
    };
    let qemu = QemuRelease::for_run(plan.guest, plan.overlay.linux_domu);
    let bases: Result<Vec<_>> = plan
        .releases()
        .map(|release| Base::ready(release, qemu))
        .collect();
    run::scenario(&bases?, &plan)
}

fn open_shell(arguments: ShellArguments) -> Result<bool> {
    tools::ensure_for_run()?;
    let images = arguments
        .images
        .into_iter()
        .map(|path| Ok((file_name(&path)?, path)))
        .collect::<Result<_>>()?;
    let with_libvirt = arguments.libvirt;
    let libvirt = with_libvirt.then(|| libvirt::ready(arguments.machine.xen));
    shell::open(
        &Base::ready(arguments.machine.xen, QemuRelease::V10_0)?,
        Shell {
            libvirt: libvirt.transpose()?,
            images,
            command: arguments.command,
            limit: Duration::from_secs(arguments.limit),
            virtual_time: arguments.machine.virtual_time,
            store: arguments.machine.store,
        },
    )?;
    Ok(true)
}

fn file_name(path: &std::path::Path) -> Result<String> {
    Ok(path
        .file_name()
        .with_context(|| format!("{} names no file", path.display()))?
        .to_string_lossy()
        .into_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::CommandLine;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
