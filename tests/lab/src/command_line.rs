//! `cargo lab …`: the commands and what they need.

use std::path::PathBuf;
use std::time::Duration;

use agent::protocol::Job;
use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use serde_json::{Map, Value, json};

use crate::base::Base;
use crate::counts::Ended;
use crate::overlay::Overlay;
use crate::packages::{Store, XenVersion};
use crate::run::Plan;
use crate::scenario::{self, Scenario};
use crate::shell::Shell;
use crate::{appliance, images, paths, run, shell, suite, tools};

/// Boots real Xen in QEMU and runs scenarios on it.
#[derive(Parser)]
#[command(name = "cargo lab", bin_name = "cargo lab")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Name the scenarios.
    List,
    /// Boot one PV image as a domU and show its console.
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

/// How any machine is made.
#[derive(Args)]
struct MachineArguments {
    /// Count each instruction as a nanosecond and skip idle time: figures repeat exactly.
    #[arg(long)]
    virtual_time: bool,
    /// The release of Xen.
    #[arg(long, value_enum, default_value_t = XenVersion::DEFAULT)]
    xen: XenVersion,
    /// The program that serves the xenstore.
    #[arg(long, value_enum, default_value_t = Store::DEFAULT)]
    store: Store,
}

/// The arguments of a scenario.
#[derive(Parser)]
#[command(bin_name = "cargo lab NAME")]
struct ScenarioArguments {
    /// A parameter for the agent, as KEY=VALUE; a value that is JSON is taken as such.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parameter)]
    param: Vec<(String, Value)>,
    /// How often the scenario does what it counts: short for `--param count=N`.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    #[command(flatten)]
    machine: MachineArguments,
}

#[derive(Args)]
struct Boot {
    /// A PV kernel, ELF or bzImage; `linux` is the lab's own Linux domU.
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
    /// The limit for a script, in seconds from power-on on.
    #[arg(long, default_value_t = 600)]
    limit: u64,
    #[command(flatten)]
    machine: MachineArguments,
}

/// Carries out the command line; true where all went well.
///
/// # Errors
/// When the command could not be carried out.
pub(crate) fn run() -> Result<bool> {
    match CommandLine::parse().command {
        Command::List => {
            for scenario in scenario::ALL.iter().chain([&scenario::BOOT]) {
                println!("{:8} {}", scenario.name, scenario.about);
            }
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
        Command::Scenario(words) => closing_line(run_scenario(&words)?),
    }
}

/// Ends a scenario's output with its counts alone on a line; true where nothing failed.
fn closing_line(ended: Ended) -> Result<bool> {
    println!("{}", ended.counts);
    Ok(ended.counts.failed == 0)
}

/// Builds what the scenario named by the first of `words` needs and runs it.
fn run_scenario(words: &[String]) -> Result<Ended> {
    let name = words.first().map_or("", String::as_str);
    let Some(scenario) = scenario::find(name) else {
        bail!("no scenario is called {name}: see `cargo lab list`");
    };
    let arguments = ScenarioArguments::parse_from(words);
    if scenario.hosts > 1 && arguments.machine.virtual_time {
        bail!(
            "{name} runs on {} machines, whose clocks would drift apart in virtual time: \
             leave out --virtual-time",
            scenario.hosts
        );
    }
    let scratch = paths::scratch(&paths::cache())?;
    let built = images::images(scenario.images)?;
    let mut images: Vec<_> = built
        .iter()
        .zip(scenario.images)
        .map(|(built, &name)| {
            Ok((
                name.to_owned(),
                images::stripped(built, name, scratch.path())?,
            ))
        })
        .collect::<Result<_>>()?;
    if scenario.name == scenario::APPLIANCE {
        images.extend(appliance::images(scratch.path())?);
    }
    let count = arguments
        .count
        .map(|count| ("count".to_owned(), json!(count)));
    let params: Map<String, Value> = arguments.param.into_iter().chain(count).collect();
    let overlay = Overlay {
        images,
        // It makes every boot slower, so a scenario may leave it to whoever wants to compare.
        linux_domu: scenario.linux_domu || params.get("linux") == Some(&true.into()),
        ..Overlay::default()
    };
    with_agent(scenario, &arguments.machine, params, overlay)
}

fn boot(arguments: Boot) -> Result<Ended> {
    let mut params = Map::from_iter([
        ("memory_mib".to_owned(), json!(arguments.memory)),
        ("cmdline".to_owned(), json!(arguments.cmdline)),
        ("seconds".to_owned(), json!(arguments.seconds)),
    ]);
    let scratch = paths::scratch(&paths::cache())?;
    let mut overlay = Overlay::default();
    if arguments.image.as_os_str() == "linux" {
        overlay.linux_domu = true;
        params.insert("image".into(), "linux/vmlinuz".into());
        params.insert("ramdisk".into(), "linux/initrd".into());
    } else {
        let name = file_name(&arguments.image)?;
        let file = images::stripped(&arguments.image, &name, scratch.path())?;
        params.insert("image".into(), name.clone().into());
        overlay.images.push((name, file));
    }
    with_agent(&scenario::BOOT, &arguments.machine, params, overlay)
}

/// Runs the agent on `scenario` with `params`, and `overlay` beside it.
fn with_agent(
    scenario: &'static Scenario,
    machine: &MachineArguments,
    params: Map<String, Value>,
    mut overlay: Overlay,
) -> Result<Ended> {
    tools::ensure_for_run()?;
    let share = match params.get("share") {
        None => None,
        Some(share) => Some(
            serde_json::from_value(share.clone())
                .with_context(|| format!("share is [number, of how many], not {share}"))?,
        ),
    };
    overlay.agent = Some(images::agent()?);
    overlay.job = Some(Job {
        scenario: scenario.name.to_owned(),
        params,
        virtual_time: machine.virtual_time,
    });
    let plan = Plan {
        scenario,
        xen: machine.xen,
        store: machine.store,
        virtual_time: machine.virtual_time,
        share,
        overlay,
    };
    run::scenario(&Base::ready(machine.xen)?, &plan)
}

fn open_shell(arguments: ShellArguments) -> Result<bool> {
    tools::ensure_for_run()?;
    let images = arguments
        .images
        .into_iter()
        .map(|path| Ok((file_name(&path)?, path)))
        .collect::<Result<_>>()?;
    shell::open(
        &Base::ready(arguments.machine.xen)?,
        Shell {
            images,
            command: arguments.command,
            limit: Duration::from_secs(arguments.limit),
            virtual_time: arguments.machine.virtual_time,
            store: arguments.machine.store,
        },
    )?;
    Ok(true)
}

/// Reads `KEY=VALUE`.
fn parameter(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("not KEY=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((key.to_owned(), value))
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
    use serde_json::json;

    use super::{CommandLine, parameter};

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn parameters_may_be_json() {
        let value = |text| parameter(text).map(|(_, value)| value);
        assert_eq!(value("mails=3"), Ok(json!(3)));
        assert_eq!(value("case=ping"), Ok(json!("ping")));
        assert_eq!(value("options=a=b"), Ok(json!("a=b")));
        assert!(value("mails").is_err());
    }
}
