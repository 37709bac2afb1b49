//! The example file and the messages of refused files.

use std::collections::BTreeSet;
use std::path::Path;

use expect_test::{Expect, expect};

use super::*;

const EXAMPLE: &str = include_str!("../../../filmroom.example.toml");

fn refused(text: &str, expected: &Expect) {
    let loaded = Config::parse("filmroom.toml", text).and_then(|mut config| {
        config.fill_in();
        check::check(&config)
    });
    expected.assert_eq(&loaded.unwrap_err().0);
}

/// Returns the example with the keys that are commented out (`# key = ...`) switched on.
fn example_with_every_key() -> String {
    let is_key = |line: &str| {
        let key = line.split(" = ").next().unwrap_or_default();
        line.contains(" = ") && !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if is_key(rest) => rest,
        Some(_) | None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Lists the dotted names of all keys; destinations are the user's names and are not looked into.
fn key_names(value: &toml::Value, prefix: &str, names: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) if prefix != "dicom.destinations" => {
            for (key, value) in table {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                key_names(value, &name, names);
            }
        }
        toml::Value::Array(items) if matches!(items.first(), Some(toml::Value::Table(_))) => {
            for item in items {
                key_names(item, prefix, names);
            }
        }
        toml::Value::String(_)
        | toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => {
            names.insert(prefix.to_owned());
        }
    }
}

#[test]
fn example_is_the_defaults() {
    let mut example = Config::parse("filmroom.example.toml", EXAMPLE).unwrap();
    let mut defaults = Config::default();
    example.fill_in();
    defaults.fill_in();
    assert_eq!(example, defaults);
    check::check(&example).unwrap();
}

#[test]
fn example_describes_every_key() {
    let mut full = Config::default();
    full.fill_in();
    full.http.public_url = Some("https://pacs.example.org/dicomweb".to_owned());
    full.index.url = Some(DatabaseUrl::try_from("postgres://filmroom@db/filmroom".to_owned()).unwrap());
    full.index.cache = Some(Size(1 << 30));
    full.journal.copies_required = Some(1);
    let example = example_with_every_key();
    Config::parse("filmroom.example.toml", &example).unwrap();
    let (mut described, mut known) = (BTreeSet::new(), BTreeSet::new());
    key_names(&toml::from_str(&example).unwrap(), "", &mut described);
    key_names(&toml::Value::try_from(&full).unwrap(), "", &mut known);
    assert_eq!(described, known);
}

#[test]
fn every_key_of_the_example_has_words_above_it() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    for (number, pair) in lines.windows(2).enumerate() {
        let key = pair[1].contains(" = ") && !pair[1].starts_with("    ") && !pair[1].starts_with("# ");
        let described = pair[0].starts_with("# ") || pair[0].contains(" = ") || pair[0] == "[[pool]]";
        assert!(!key || described, "line {}: {}", number + 2, pair[1]);
    }
}

#[test]
fn one_value_or_a_list() {
    let config =
        Config::parse("t", "[dicom]\nlisten = [\"127.0.0.1:1\", \"[::1]:2\"]\nae_title = [\"A\", \"B\"]").unwrap();
    assert_eq!((config.dicom.listen.len(), config.dicom.ae_title.len()), (2, 2));
    let config = Config::parse("t", "[http]\nlisten = \"127.0.0.1:1\"").unwrap();
    assert_eq!(config.http.listen, [SocketAddr::from(([127, 0, 0, 1], 1))]);
}

#[test]
fn data_on_the_command_line_moves_what_follows_from_it() {
    let config = Config::load(None, Some(Path::new("/srv/film"))).unwrap();
    assert_eq!(config.journal.copies, [Path::new("/srv/film/journal")]);
    assert_eq!(config.pool[0].devices[5].0, Path::new("/srv/film/devices/6"));
}

#[test]
fn unknown_keys_are_refused_with_their_line() {
    refused(
        "data = \"x\"\n\n[dicom]\nae_titel = \"A\"\n",
        &expect![
            "filmroom.toml:4: unknown key `ae_titel`, expected one of `listen`, `ae_title`, `any_called_ae`, `calling_ae_titles`, `associations_max`, `associations_per_calling_ae_max`, `pdu_max`, `artim`, `idle_max`, `destinations`; remove it or correct its spelling (filmroom.example.toml describes every key)"
        ],
    );
    refused(
        "[pac]\nquiet = \"2min\"\n",
        &expect![
            "filmroom.toml:1: unknown key `pac`, expected one of `data`, `stop_wait_max`, `log`, `dicom`, `http`, `index`, `journal`, `store`, `pack`, `pool`; remove it or correct its spelling (filmroom.example.toml describes every key)"
        ],
    );
    refused(
        "[[pool]]\nname = \"a\"\ntier = \"hot\"\ncode = \"1+0\"\ndevices = [\"/a\"]\nspare = 1\n",
        &expect![
            "filmroom.toml:6: unknown key `spare`, expected one of `name`, `tier`, `code`, `devices`; remove it or correct its spelling (filmroom.example.toml describes every key)"
        ],
    );
}

#[test]
fn wrong_values_are_refused_with_their_line() {
    refused(
        "[pack]\nquiet = \"2 minutes\"",
        &expect![[
            r#"filmroom.toml:2: `2 minutes` is not a valid length of time: write a whole number and ms, s, min, h or d, as in "2min""#
        ]],
    );
    refused("[pack]\nquiet = 120", &expect!["filmroom.toml:2: invalid type: integer `120`, expected a string"]);
    refused(
        "[pack]\ncontainer = \"1G\"",
        &expect![[
            r#"filmroom.toml:2: `1G` is not a valid size: write a whole number and B, KiB, MiB, GiB or TiB (or kB, MB, GB, TB), as in "1GiB""#
        ]],
    );
    refused(
        "[dicom]\nlisten = \"localhost\"",
        &expect![[
            r#"filmroom.toml:2: this is not an address to listen on: write IP address and port, as in "127.0.0.1:11112""#
        ]],
    );
    refused(
        "[dicom]\n\nlisten = [\"127.0.0.1:1\", \"x\"]",
        &expect![[
            r#"filmroom.toml:3: this is not an address to listen on: write IP address and port, as in "127.0.0.1:11112""#
        ]],
    );
    refused(
        "[dicom]\nae_title = \"SEVENTEEN_LETTERS\"",
        &expect![
            "filmroom.toml:2: `SEVENTEEN_LETTERS` is not a valid AE title: use 1 to 16 ASCII characters without backslash"
        ],
    );
    refused(
        "[dicom.destinations]\nSINK = \"nowhere\"",
        &expect![[r#"filmroom.toml:2: `nowhere` is not a valid address: write host:port, as in "10.0.0.5:104""#]],
    );
    refused(
        "[index]\nurl = \"mysql://me:secret@db\"",
        &expect!["filmroom.toml:2: this is not a valid database URL: write postgres://user@host/database"],
    );
    refused("[[pool]]\nname = \"a\"\n", &expect!["filmroom.toml:1: missing field `tier`"]);
    refused("data = \n", &expect!["filmroom.toml:1: string values must be quoted, expected literal string"]);
    refused("data = \"a\"\ndata = \"b\"", &expect!["filmroom.toml:2: duplicate key"]);
}

#[test]
fn tiers_and_codes_are_refused_with_their_line() {
    let pool = |tier: &str, code: &str| {
        format!("[[pool]]\nname = \"a\"\ntier = \"{tier}\"\ncode = \"{code}\"\ndevices = [\"/a\"]")
    };
    for (text, start) in
        [(pool("lukewarm", "1+0"), "t:3: "), (pool("hot", "9+1"), "t:4: "), (pool("hot", "0+1"), "t:4: ")]
    {
        let message = Config::parse("t", &text).unwrap_err().0;
        assert!(message.starts_with(start), "{message}");
    }
}

#[test]
fn contradictions_between_keys_are_refused() {
    let pool = |name: &str, code: &str, devices: &str| {
        format!("[[pool]]\nname = \"{name}\"\ntier = \"hot\"\ncode = \"{code}\"\ndevices = [{devices}]\n")
    };
    refused(
        &pool("a", "4+2", "\"/a\", \"/b\""),
        &expect!["pool `a`: the code 4+2 needs 6 devices, 2 are listed; add devices or use a smaller code"],
    );
    refused(
        &pool("a", "2+1", "\"/a\", \"/b\", \"/a/\""),
        &expect!["device /a: it is listed twice; a device belongs to one pool, once"],
    );
    refused(
        &format!("{}{}", pool("a", "1+0", "\"/a\""), pool("a", "1+0", "\"/b\"")),
        &expect!["pool `a`: the name is used twice; every pool needs its own"],
    );
    refused(
        &pool("Hot!", "1+0", "\"/a\""),
        &expect!["pool `Hot!`: use 1 to 64 lower case letters, digits, hyphens and underscores"],
    );
    refused("[pack]\ncontainer = \"1KiB\"", &expect!["pack.container: use 1MiB to 16GiB"]);
    refused(
        "[journal]\ncopies = [\"/a\", \"/./a\"]",
        &expect!["journal.copies: /a is listed twice; copies need places of their own"],
    );
    refused(
        "[journal]\ncopies = [\"/a\"]\ncopies_required = 2",
        &expect!["journal.copies_required: use 1 to 1, the number of copies"],
    );
    refused(
        "[journal]\nsegment = \"16MB\"",
        &expect!["journal.segment: use at least 1MiB and whole MiB or KiB in steps of 4"],
    );
    refused(
        "[journal]\nsize_max = \"512MiB\"",
        &expect!["journal.size_max: 512MiB is too little for segments of 256MiB; use four times as much or more"],
    );
    refused(
        "[dicom]\nlisten = \"127.0.0.1:8080\"",
        &expect!["address 127.0.0.1:8080: it is listed twice; give each service its own"],
    );
    refused(
        "[http]\npublic_url = \"pacs.example.org\"",
        &expect!["http.public_url: it must begin with http:// or https://"],
    );
}
