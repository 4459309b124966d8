//! The scenarios, a file or a folder each. [`mod@test`], [`hosts`], [`evacuate`] and
//! [`libvirt`] are made of cases.

pub(crate) mod advance;
pub(crate) mod appliance;
pub(crate) mod bench;
pub(crate) mod boot;
pub(crate) mod channel;
pub(crate) mod evacuate;
pub(crate) mod hostile;
pub(crate) mod hosts;
pub(crate) mod idle;
pub(crate) mod libvirt;
pub(crate) mod lifecycle;
pub(crate) mod run;
pub(crate) mod test;
