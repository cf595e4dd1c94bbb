//! What the core costs, in instructions: they do not depend on what else the machine does.
//!
//! `cargo bench -p convoke-core --bench instructions` runs every scenario under valgrind's callgrind
//! and compares with what was committed beside this file, for this profile; `-- --save` writes that anew.
//! `-- --count NAME` counts one scenario alone, `-- --time NAME` runs it without valgrind and tells its time; both
//! take any size, such as `forward-1000`, which is not compared: valgrind takes over nine minutes for
//! `forward-400` already. `make bench-instructions` does the first, with the profile of the tests, so that
//! nothing is built for it alone.
//!
//! Valgrind has no AVX-512: AES-GCM counts about three times what it takes on a processor that has.

#![expect(clippy::print_stdout, reason = "a program that reports to its user")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

mod compare;
mod scenarios;
mod video;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments.as_slice() {
        [] => compare::check(),
        ["--save"] => compare::save(),
        ["--count", name] => compare::tell(name),
        ["--time", name] => scenarios::time(name),
        ["--scenario", name] => scenarios::run(name).map_or(ExitCode::FAILURE, |outcome| {
            println!("{} {}", outcome.units, outcome.spent.as_nanos());
            ExitCode::SUCCESS
        }),
        _ => {
            println!("nothing, --save, --count NAME, --time NAME or --scenario NAME");
            ExitCode::FAILURE
        }
    }
}
