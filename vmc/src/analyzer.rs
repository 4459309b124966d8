//! System Call Analyzer (M4): decides for every socket operation whether the
//! peer is co-resident, and takes TCP/IP out of the way when it is. In a
//! unikernel this is the socket layer: applications call one socket API.
//!
//! No code yet. Until stage 3 every byte goes over TCP/IP, in `netstack`.
