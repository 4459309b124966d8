//! The definitions of docs/libvirt.md, as its reader would adapt them.

use anyhow::{Result, ensure};
use labkit::Kind;
use labkit::protocol::IMAGE_FOLDER;

const PAGE: &str = include_str!("../../../../../docs/libvirt.md");

/// The domain's name in the page.
const NAME: &str = "<name>echo</name>";

/// The folder of the images in the page.
const FOLDER: &str = "/path/to/target/image";

/// The number of the guest whose addresses the page gives.
pub(super) const NUMBER: u8 = 2;

/// The memory that the page gives the guest, in MiB.
pub(super) const MEMORY_MIB: u64 = 16;

/// Returns the page's definition of a guest of this kind, called `name`, with the image where the
/// lab has it.
///
/// # Errors
/// The page does not have exactly one definition of the kind, or it is not as expected.
pub(super) fn xml(kind: Kind, name: &str) -> Result<String> {
    let machine = match kind {
        Kind::Pv => "machine='xenpv'",
        Kind::Pvh => "machine='xenpvh'",
    };
    let blocks = PAGE.split("```xml\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split_once("```").map(|(xml, _)| xml));
    let found: Vec<_> = blocks.filter(|xml| xml.contains(machine)).collect();
    ensure!(
        found.len() == 1,
        "docs/libvirt.md has {} definitions with {machine}, not one",
        found.len()
    );
    let xml = replaced(found[0], NAME, &format!("<name>{name}</name>"))?;
    replaced(&xml, FOLDER, IMAGE_FOLDER)
}

/// Returns `xml` with `new` in place of `old`, which must be in it once.
fn replaced(xml: &str, old: &str, new: &str) -> Result<String> {
    let times = xml.matches(old).count();
    ensure!(
        times == 1,
        "docs/libvirt.md has {old:?} {times} times in a definition, not once"
    );
    Ok(xml.replace(old, new))
}

#[cfg(test)]
mod tests {
    use labkit::{Kind, addresses};

    use super::{MEMORY_MIB, NUMBER, replaced, xml};

    #[test]
    fn the_page_defines_a_guest_of_each_kind_with_the_labs_addresses() {
        for kind in [Kind::Pv, Kind::Pvh] {
            let xml = xml(kind, "libvirt_ladder").expect("one definition");
            let mac = addresses::mac(NUMBER).map(|byte| format!("{byte:02x}"));
            for part in [
                "<name>libvirt_ladder</name>".to_owned(),
                "<kernel>/lab/images/echo</kernel>".to_owned(),
                format!("ip={}/24", addresses::ipv4(NUMBER)),
                format!("gw={}", addresses::DOM0),
                format!("<mac address='{}'/>", mac.join(":")),
                format!("<source bridge='{}'/>", addresses::BRIDGE),
                format!("<memory unit='MiB'>{MEMORY_MIB}</memory>"),
            ] {
                assert!(xml.contains(&part), "{part} is not in {xml}");
            }
        }
    }

    #[test]
    fn what_cannot_be_adapted_is_refused() {
        for xml in ["<a/>", "<name>echo</name><name>echo</name>"] {
            assert!(replaced(xml, "<name>echo</name>", "").is_err(), "{xml}");
        }
    }
}
