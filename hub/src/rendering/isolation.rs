/// How the network is taken away from the program and from whatever it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Isolation {
    /// Arguments of `unshare`, which gives it an empty network; empty = it is not asked.
    pub unshare: &'static [&'static str],
    /// The program has the kernel refuse it sockets, also those that are files.
    pub sealed: bool,
}

impl Isolation {
    /// The best first. A pod without rights has no other network to give, but a kernel that seals.
    pub const ALL: [Self; 5] = {
        const fn of(unshare: &'static [&'static str], sealed: bool) -> Isolation {
            Isolation { unshare, sealed }
        }
        let (net, user): (&[&str], &[&str]) = (&["--net"], &["--map-root-user", "--net"]);
        [
            of(net, true),
            of(user, true),
            of(&[], true),
            of(net, false),
            of(user, false),
        ]
    };
    /// The hub's own network stays.
    pub const NONE: Self = Self {
        unshare: &[],
        sealed: false,
    };
}
