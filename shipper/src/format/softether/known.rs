//! What is remembered of a connection: its number (`CID-7`), that of its session (`SID-ALICE-3`) or of an administrator's session
//! (`RPC-4`), and what lines said of it.

use xxhash_rust::xxh3::xxh3_64;

use crate::format::join::{self, Text};

/// What is known of one connection. Empty: nothing.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) address: Text,
    pub(super) port: Text,
    pub(super) user: Text,
    pub(super) hub: Text,
    pub(super) connection: Text,
    pub(super) session: Text,
    pub(super) admin_session: Text,
}

impl join::Known for Known {
    type Name<'n> = &'n [u8];

    fn hash(name: &[u8]) -> u64 {
        xxh3_64(name)
    }

    fn begin(&mut self, connection: &[u8]) -> bool {
        let Self { address, port, user, hub, connection: own, session, admin_session } = self;
        for text in [address, port, user, hub, session, admin_session] {
            text.clear();
        }
        own.set(connection)
    }

    fn is(&self, name: &[u8]) -> bool {
        [&self.connection, &self.session, &self.admin_session].iter().any(|text| text.get() == name)
    }
}
