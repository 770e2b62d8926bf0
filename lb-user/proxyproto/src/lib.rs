//! The PROXY protocol: who a connection is from and for, told by the proxy in front.
