//! What the kernel says about an interface and XDP: rtnetlink(7), and the generic family `netdev`.
//!
//! Asked by netlink and not in `/sys/class/net`, which shows the network namespace it was mounted in.
