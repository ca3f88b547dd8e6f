//! Who this cluster is to the hub: a key that never leaves it, and a certificate that is renewed.
//!
//! Data flow: a join token and the hash of the hub's CA → [`obtain`] enrols, or reads what an
//! earlier process stored in the Secret [`SECRET_NAME`] → [`renewal::run`] renews it at half its
//! life → the link opens a new stream with every new [`Identity`].

mod enrol;
mod material;
mod renewal;
mod secret;
mod tls;

pub use enrol::{Enrolment, obtain};
pub use material::{Identity, MaterialError};
pub use renewal::run as run_renewal;
pub use secret::{SECRET_NAME, SecretError};
pub use tls::{Trust, client_config, explain};

pub(crate) use tls::clocks_differ;
