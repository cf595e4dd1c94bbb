//! `convoke token`: keys and tokens by hand.
//!
//! Owns: what is printed.
//! Never: signs or checks by itself; `convoke-control` does.

use std::io::{self, Write};
use std::time::SystemTime;

use convoke_control::{Minter, TokenRequest};

use crate::cli::{AlgorithmArg, KeyArgs, MintArgs};
use crate::keyfile;

/// Makes a key and says how to configure it.
pub(crate) fn key(args: &KeyArgs, out: &mut dyn Write) -> Result<(), String> {
    let (algorithm, name, file) = match args.algorithm {
        AlgorithmArg::Hs256 => {
            keyfile::make_hs256(&args.out).map_err(|error| error.to_string())?;
            ("hs256", "secret_file", args.out.clone())
        }
        AlgorithmArg::Eddsa => {
            let public = keyfile::make_eddsa(&args.out).map_err(|error| error.to_string())?;
            ("eddsa", "public_key_file", public)
        }
    };
    let made = args.out.display();
    writeln!(
        out,
        "Made {made}. Keep it secret: who has it can make tokens for anybody.\n\n\
         In the server's configuration (file names start at its directory):\n\n\
         [[tokens.keys]]\n\
         kid = \"main\"\n\
         algorithm = \"{algorithm}\"\n\
         {name} = {file:?}\n\n\
         A token by hand:\n\n\
         convoke token mint --key {made} --identity alice --scope voip"
    )
    .map_err(printing)
}

/// Makes a token and prints it, and nothing else.
pub(crate) fn mint(args: MintArgs, out: &mut dyn Write) -> Result<(), String> {
    let minter = minter(&args)?;
    let request = TokenRequest {
        identity: args.identity,
        display_name: args.name,
        scopes: args.scopes,
        group_id: args.group_id,
        role: args.role,
        guest: args.guest,
        lifetime: args.ttl,
        issuer: args.issuer,
        audience: args.audience,
    };
    let token = minter.mint(&request, SystemTime::now()).map_err(|error| error.to_string())?;
    writeln!(out, "{token}").map_err(printing)
}

fn minter(args: &MintArgs) -> Result<Minter, String> {
    let minter = if keyfile::is_pem(&args.key).map_err(|error| error.to_string())? {
        let pem = keyfile::read_pem(&args.key, "PRIVATE KEY").map_err(|error| error.to_string())?;
        Minter::eddsa_pem(args.kid.as_str(), &pem)
    } else {
        let secret = keyfile::read_secret(&args.key).map_err(|error| error.to_string())?;
        Minter::hs256(args.kid.as_str(), &secret)
    };
    minter.map_err(|error| error.to_string())
}

fn printing(error: io::Error) -> String {
    format!("standard output: {error}")
}
