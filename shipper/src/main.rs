//! `waybill`: arguments, then one call.

use clap::Parser as _;

fn main() -> std::process::ExitCode {
    // The one provider of TLS. It can only be there already if this ran before.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    waybill::cli::Cli::parse().run()
}
