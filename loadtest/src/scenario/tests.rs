//! Scenarios: those that ship, and what is refused.

use super::*;

const LEAST: &str = "duration = \"5s\"\n[calls]\nparticipants = 2\n";

#[track_caller]
fn refused(text: &str, words: &[&str]) {
    let error = Scenario::parse("some.toml", text).expect_err("it is wrong").to_string();
    for word in words {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
}

#[test]
fn every_shipped_scenario_parses_and_is_in_the_folder() {
    for (name, text) in SHIPPED {
        let scenario = Scenario::parse(name, text).unwrap_or_else(|error| panic!("{error}"));
        assert!(!scenario.description.is_empty(), "{name} says what it is for");
        let (found, again) = Scenario::load(Path::new(name)).expect("by its name");
        assert_eq!((found.as_str(), &again), (*name, &scenario));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = std::fs::read_dir(folder).expect("the folder").count();
    assert_eq!(files, SHIPPED.len(), "every file is shipped");
}

#[test]
fn defaults_are_filled_in() {
    let scenario = Scenario::parse("least", LEAST).expect("a scenario");
    assert_eq!((scenario.calls.rooms.0, scenario.video.encodings.len()), (1, 3));
    assert_eq!((scenario.seed, scenario.participants()), (1, 2));
}

#[test]
fn unknown_keys_and_bad_values_name_their_line() {
    refused(&format!("{LEAST}guests = 3\n"), &["some.toml", "line 4", "guests"]);
    refused(&format!("{LEAST}rooms = 0\n"), &["line 4", "0 is out of range; write 1 to 2000"]);
    refused("duration = \"soon\"\n[calls]\nparticipants = 2\n", &["line 1", "soon", "\"10s\""]);
    refused(&format!("{LEAST}[video]\ncodec = \"vp7\"\n"), &["line 5", "vp7"]);
    refused(&format!("{LEAST}[audio]\nrate = \"fast\"\n"), &["line 5", "500kbps"]);
    refused(&format!("{LEAST}[[impair]]\nshare = 1.5\n"), &["line 5", "from 0 to 1"]);
    refused(&format!("{LEAST}[expect]\nnoise_max = 1\n"), &["line 5", "noise_max", "freezes"]);
    refused(&format!("{LEAST}[expect]\nfreezes = 1\n"), &["line 5", "_max or _min"]);
    refused("[calls]\nparticipants = 2\n", &["duration"]);
    refused("duration = \"5s\"\n", &["calls"]);
}

#[test]
fn what_does_not_fit_together_names_the_key() {
    let with = |text: &str| format!("{LEAST}{text}");
    refused(&with("publishers = 3\n"), &["calls.publishers"]);
    refused(&with("rooms = 2000\n[storm]\njoins = 5000\nover = \"1s\"\n"), &["at most 5000"]);
    refused(&with("[video]\ntemporal_layers = 2\n"), &["video.temporal_layers", "1 or 3"]);
    refused(&with("[video]\nencodings = []\n"), &["video.encodings"]);
    let unordered = "[video]\nencodings = [{ height = 360, rate = \"1Mbps\" }, \
                     { height = 180, rate = \"1Mbps\" }]\n";
    refused(&with(unordered), &["video.encodings", "lowest first"]);
    refused(&with("[audio]\nenabled = false\n[video]\nenabled = false\n"), &["audio.enabled"]);
    refused(&with("[churn]\nstay = \"10ms\"\n"), &["churn.stay"]);
    refused("duration = \"10ms\"\n[calls]\nparticipants = 2\n", &["duration"]);
}

#[test]
fn a_missing_file_names_the_shipped_ones() {
    let error = Scenario::load(Path::new("no-such.toml")).expect_err("there is none").to_string();
    assert!(error.contains("no-such.toml") && error.contains("smoke"), "{error}");
}

#[test]
fn every_key_is_documented() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).expect("README.md");
    let full = format!(
        "{LEAST}publishers = 1\n[view]\nfirst_height = 1\npage_every = \"1s\"\n[storm]\njoins = 1\n\
         over = \"1s\"\n[churn]\nstay = \"1s\"\n[[impair]]\nshare = 1\nrate = \"1Mbps\"\n\
         [server]\nworkers = 1\n[expect]\nfreezes_max = 0\n"
    );
    let scenario = Scenario::parse("full", &full).expect("a scenario");
    let value = toml::Value::try_from(&scenario).expect("TOML");
    let mut keys = Vec::new();
    collect(&value, &mut keys);
    for key in keys.iter().filter(|key| *key != "freezes_max") {
        assert!(readme.contains(&format!("`{key}`")), "README.md says nothing of `{key}`");
    }
}

fn collect(value: &toml::Value, keys: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) => table.iter().for_each(|(key, value)| {
            keys.push(key.clone());
            collect(value, keys);
        }),
        toml::Value::Array(values) => values.iter().for_each(|value| collect(value, keys)),
        _ => {}
    }
}

#[test]
fn bounds_hold_up_to_themselves() {
    let text = format!("{LEAST}[expect]\nfreezes_max = 2\nparticipants_joined_min = 2\n");
    let scenario = Scenario::parse("bounds", &text).expect("a scenario");
    let holds = |value: f64| -> Vec<bool> {
        scenario.expect.iter().map(|(e, bound)| e.holds(value, *bound)).collect()
    };
    assert_eq!((holds(2.0), holds(3.0)), (vec![true, true], vec![false, true]));
    assert_eq!(holds(1.0), [true, false]);
    let figures: Vec<&str> = scenario.expect.keys().map(Expectation::figure).collect();
    assert_eq!(figures, ["freezes", "participants_joined"]);
}
