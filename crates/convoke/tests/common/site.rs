//! What a server is configured with that serves one app server: keys, a store, a webhook.

use std::path::Path;

use super::{Folder, Running, convoke, run};

/// Makes the key files that [`config`] names, and says what is in them.
pub fn keys(folder: &Folder) -> [String; 3] {
    ["tokens.key", "app.key", "hook.key"].map(|name| {
        let path = folder.path().join(name);
        let out = path.to_str().expect("UTF-8");
        assert_eq!(run(["token", "key", "--algorithm", "hs256", "--out", out]).code, 0);
        std::fs::read_to_string(path).expect("a key").trim().to_owned()
    })
}

/// A configuration. It begins with dotted keys, so that more of them may stand before it, and ends with
/// the webhook's.
pub fn config(hook: &str) -> String {
    format!(
        r#"
http.metrics_listen = ""
store.directory = "kept"
services.issue_with = "main"
[[tokens.keys]]
kid = "main"
algorithm = "hs256"
secret_file = "tokens.key"
[[services.keys]]
name = "app"
algorithm = "hs256"
secret_file = "app.key"
roles = ["admin"]
[[webhooks.targets]]
name = "hook"
url = "{hook}"
secret_file = "hook.key"
"#
    )
}

/// Starts the server on what is in the folder, and says its URL, without a slash at the end.
pub fn start(folder: &Path) -> (Running, String) {
    let mut command = convoke(["serve", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0"]);
    command.arg("--config").arg(folder.join("convoke.toml"));
    let mut process = Running::start(command);
    let line = process.line("convoke is ready at ");
    let url = line.rsplit(' ').next().expect("a URL").trim_end_matches('/').to_owned();
    (process, url)
}
