//! `demo`: everything needed to try a whole sign-in, on one machine, with one command.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use gateway::ports::SystemClock;
use sandbox::demo::{Demo, DemoError, Options, Trust, Wire};

/// A gateway with simulated providers and portals around it.
#[derive(Parser)]
struct Arguments {
    /// The gateway's port; providers and portals take those after it.
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// Where keys, receipts and audit are kept from one start to the next.
    #[arg(long, default_value = "demo-data")]
    data: PathBuf,
    /// Forget everything kept there first.
    #[arg(long)]
    reset: bool,
    /// A folder of further documents: clients/, services/, and so on, and roots to trust as *.pem.
    #[arg(long)]
    add: Vec<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), DemoError> {
    if arguments.reset && arguments.data.join("master.key").exists() {
        // Only what a demonstration wrote: a folder without its master key is somebody else's.
        std::fs::remove_dir_all(&arguments.data)
            .map_err(|source| DemoError::File { path: arguments.data.clone(), source })?;
    }
    // A stranger's documents carry no examples, and nobody signed them.
    let trust = if arguments.add.is_empty() { Trust::Signed } else { Trust::Folder };
    let options = Options {
        data: arguments.data,
        port: Some(arguments.port).filter(|port| *port != 0),
        add: arguments.add,
        clock: Arc::new(SystemClock),
        wire: Wire::Own,
        trust,
    };
    let demo = Demo::start(&options).await?;
    print(&demo);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|source| DemoError::File { path: "signal".into(), source })?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    demo.stop().await;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
fn print(demo: &Demo) {
    println!("Open a portal in a browser, choose a service, and sign in as one of the synthetic people:\n");
    for portal in &demo.portals {
        println!("  {}  {}", portal.url, portal.name);
    }
    let ca = demo.ca.display();
    println!("\nThe gateway is at {}. Its certificates come from a development CA: {ca}", demo.issuer);
    println!("Trust it in your browser's settings (Authorities), or for Chromium on Linux:");
    println!("  certutil -A -d sql:$HOME/.pki/nssdb -n federation-demo -t C,, -i {ca}");
    let (config, data) = (demo.config.display(), demo.data.display());
    if demo.trust == Trust::Folder {
        println!("The policies are in {data}/bundle; a change takes effect within ten seconds.\n");
    } else {
        println!("The policies are in {data}/bundle, signed. Change one, then sign and activate it, while this runs:");
        println!("  cargo run --release --bin gateway -- policy bundle {data}/bundle --signer me --out new.bundle \\");
        println!("    --key {data}/secrets/bundle-signer.key");
        println!("  cargo run --release --bin gateway -- policy activate new.bundle --by me --config {config}\n");
    }
    println!("Check the audit record any time after stopping:");
    println!("  cargo run --release --bin gateway -- audit verify --config {config}\n");
    println!("{}", demo.describe());
}
