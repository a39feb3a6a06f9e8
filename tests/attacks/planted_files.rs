//! Another account plants links and files where Verdict writes as root.
