//! Valid and invalid command lines, and what the user reads about the invalid
//! ones.

extern crate std;

use alloc::{format, string::String, vec::Vec};
use core::net::Ipv4Addr;

use proptest::prelude::*;

use super::{CommandLine, OptionError};

fn parse(raw: &str) -> CommandLine {
    CommandLine::parse(raw).expect("well formed")
}

#[test]
fn options_are_taken_by_name_in_any_order() {
    let mut line = parse("  ip=10.0.0.2/24\tgw=10.0.0.1\n log= next-hop=10.0.0.1:2525=x ");
    assert_eq!(line.take("gw").as_deref(), Some("10.0.0.1"));
    assert_eq!(line.take("gw"), None);
    assert_eq!(line.take("log").as_deref(), Some(""));
    assert_eq!(line.take("next-hop").as_deref(), Some("10.0.0.1:2525=x"));
    assert_eq!(line.take("hostname"), None);
    assert_eq!(line.take("ip").as_deref(), Some("10.0.0.2/24"));
    assert_eq!(line.finish(), Ok(()));
    assert_eq!(parse("").finish(), Ok(()));
}

#[test]
fn values_are_parsed_and_required_ones_missed() {
    let mut line = parse("port=25 gw=10.0.0.1");
    assert_eq!(
        line.take_parsed::<u16>("port", "a port number"),
        Ok(Some(25))
    );
    assert_eq!(line.take_parsed::<u16>("mtu", "a number"), Ok(None));
    assert_eq!(
        line.take_required::<Ipv4Addr>("gw", "an IPv4 address"),
        Ok(Ipv4Addr::new(10, 0, 0, 1))
    );
    let missing = line.take_required::<u16>("size", "a number of bytes");
    assert_eq!(
        missing.map_err(|error| format!("{error}")),
        Err("option \"size\" is missing: it must be a number of bytes".into())
    );
}

#[test]
fn each_error_is_one_line_that_says_what_to_do() {
    let cases: [(&str, &str); 7] = [
        (
            "quiet",
            "command line: \"quiet\" is not of the form key=value",
        ),
        ("=5", "command line: \"=5\" is not of the form key=value"),
        ("gw=1 gw=1", "option \"gw\" is given twice"),
        (
            "ip=10.0.0.300/24",
            "option \"ip\": \"10.0.0.300/24\" is not an IPv4 address (example: ip=10.0.0.2)",
        ),
        (
            "ip=\u{1b}[2J",
            "option \"ip\": \"\\u{1b}[2J\" is not an IPv4 address (example: ip=10.0.0.2)",
        ),
        (
            "ipp=10.0.0.2",
            "unknown option \"ipp\": the options are ip, log",
        ),
        (
            "log=info x=1 y=2",
            "unknown option \"x\": the options are ip, log",
        ),
    ];
    for (raw, expected) in cases {
        let read = || -> Result<(), OptionError> {
            let mut line = CommandLine::parse(raw)?;
            line.take_parsed::<Ipv4Addr>("ip", "an IPv4 address (example: ip=10.0.0.2)")?;
            line.take("log");
            line.finish()
        };
        assert_eq!(format!("{}", read().expect_err(raw)), expected);
    }
    let error = parse("x=1").finish().expect_err("nobody asked for it");
    assert_eq!(
        format!("{error}"),
        "unknown option \"x\": there are no options"
    );
}

proptest! {
    /// Every option given comes out once, under its name, or is reported as
    /// unknown.
    #[test]
    fn what_goes_in_comes_out(
        options in prop::collection::btree_map("[a-z0-9-]{1,8}", "[!-~]{0,12}", 0..8),
        spaces in prop::collection::vec("[ \t\n]{1,3}", 9),
        taken in 0_usize..9,
    ) {
        let raw: String = options
            .iter()
            .zip(&spaces)
            .map(|((key, value), space)| format!("{space}{key}={value}"))
            .collect();
        let mut line = parse(&raw);
        let taken = taken.min(options.len());
        for (key, value) in options.iter().take(taken) {
            let given = line.take(key);
            prop_assert_eq!(given.as_ref(), Some(value));
        }
        match (line.finish(), options.keys().nth(taken)) {
            (Ok(()), None) => {}
            (Err(OptionError::Unknown { key, known }), Some(rest)) => {
                prop_assert_eq!(&key, rest);
                let names: Vec<String> = options.keys().take(taken).cloned().collect();
                prop_assert_eq!(known, names);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// Any text is either parsed or rejected with one printable line.
    #[test]
    fn any_text_is_read_or_refused(raw in ".{0,60}") {
        if let Err(error) = CommandLine::parse(&raw).and_then(CommandLine::finish) {
            let text = format!("{error}");
            prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
        }
    }
}
