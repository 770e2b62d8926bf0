//! Safe wrappers of the Linux calls the daemon needs
