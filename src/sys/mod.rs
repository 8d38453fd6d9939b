//! The edge to the kernel: sockets, pipes and clocks as safe functions.
//!
//! What std, socket2 and rustix offer safely is used as it is; this floor puts it into the words of the floors above.
//! It is also the only place where unsafe code may ever stand.

pub mod clock;
pub mod epoll;
pub mod errno;
pub mod log_limit;
pub mod machine;
pub mod pipe;
pub mod readiness;
pub mod signal;
pub mod socket;
pub mod tcp_info;
pub mod udp;
