//! The rules, one function each.

use super::house::House;

const ROLES: [&str; 4] = ["gateway-proxy", "collector", "evaluator", "web"];
const OURS: [&str; 22] = [
    "admission",
    "budget",
    "cache",
    "cascade",
    "contracts",
    "control",
    "control-tower",
    "guard",
    "inference",
    "pool",
    "prompts",
    "protocols",
    "runtime",
    "sim",
    "spool",
    "top",
    "warehouse",
    "collector",
    "evaluator",
    "gateway-proxy",
    "web",
    "xtask",
];
/// The parts of a call's way through the gateway, and what of ours each may use beside contracts: none knows another.
const PARTS: [(&str, &[&str]); 8] = [
    ("admission", &[]),
    ("budget", &[]),
    ("cache", &[]),
    ("cascade", &["inference"]),
    ("guard", &[]),
    ("pool", &[]),
    ("prompts", &[]),
    ("protocols", &[]),
];
const LONGEST_FILE: usize = 500;
/// A line that starts so, near the top of a file, gives the reason why the file is longer than the limit.
const LONG_REASON: &str = "// long because ";

/// Every violation of every rule that needs nothing but the house.
pub fn check(house: &House) -> Vec<String> {
    let rules = [
        roles_stand_apart,
        contracts_stand_alone,
        parts_know_no_other,
        the_map_is_whole,
        gateway_only_emits,
        only_web_and_cli_write_control,
        sql_lives_in_queries,
        queries_are_embedded,
        modules_tell_their_story,
        files_are_short,
        locks_name_no_host,
    ];
    rules.iter().flat_map(|rule| rule(house)).collect()
}

/// The wasm build must not reach what only a server may hold.
pub fn wasm_reach(dependencies: &[String]) -> Vec<String> {
    let forbidden = ["warehouse", "control", "runtime"];
    let reached = dependencies.iter().filter(|name| forbidden.contains(&name.as_str()));
    reached.map(|name| format!("web: the wasm build reaches {name}")).collect()
}

fn depends(house: &House, from: &str, to: &str) -> bool {
    house.packages.get(from).is_some_and(|dependencies| dependencies.iter().any(|name| name == to))
}

fn roles_stand_apart(house: &House) -> Vec<String> {
    let pairs = ROLES.iter().flat_map(|from| ROLES.iter().map(move |to| (from, to)));
    let broken = pairs.filter(|(from, to)| from != to && depends(house, from, to));
    broken
        .map(|(from, to)| {
            format!("{from}: depends on {to}; roles meet in databases and on the wire, never in a crate")
        })
        .collect()
}

fn contracts_stand_alone(house: &House) -> Vec<String> {
    let forbidden = OURS.iter().chain(&["tokio", "sqlx", "axum"]);
    let broken = forbidden.filter(|name| depends(house, "contracts", name));
    broken.map(|name| format!("contracts: depends on {name}")).collect()
}

fn parts_know_no_other(house: &House) -> Vec<String> {
    let broken = PARTS.iter().flat_map(|(part, besides)| {
        let may = |name: &str| name == "contracts" || besides.contains(&name);
        let used = OURS.iter().filter(move |name| !may(name) && depends(house, part, name));
        used.map(move |name| {
            format!("{part}: depends on {name}; a part of a call's way knows contracts alone")
        })
    });
    broken.collect()
}

/// Every package of ours is in `OURS`, and has its place in the architecture's table.
fn the_map_is_whole(house: &House) -> Vec<String> {
    let unknown = house.packages.keys().filter(|name| !OURS.contains(&name.as_str()));
    let mut violations: Vec<String> = unknown.map(|name| format!("{name}: tidy does not know it")).collect();
    let map = "docs/ARCHITECTURE.md";
    if let Some(text) = house.files.get(map) {
        let is_told = |name: &&&str| {
            text.lines().any(|line| {
                line.starts_with(&format!("| `{name}` |"))
                    || line.starts_with(&format!("| `crates/{name}` |"))
            })
        };
        let untold = OURS.iter().filter(|name| !is_told(name));
        violations.extend(untold.map(|name| format!("{map}: does not say where {name} is")));
    }
    violations
}

fn gateway_only_emits(house: &House) -> Vec<String> {
    if depends(house, "gateway-proxy", "warehouse") {
        return vec!["gateway-proxy: depends on warehouse; it only emits OTLP".to_owned()];
    }
    Vec::new()
}

/// `control::Control` can write; readers open `control::Snapshots`, which cannot.
fn only_web_and_cli_write_control(house: &House) -> Vec<String> {
    let readers = ["gateway-proxy/src/", "collector/src/", "evaluator/src/"];
    let is_reader = |path: &str| readers.iter().any(|reader| path.starts_with(reader)) && !is_test(path);
    let writes = |text: &str| {
        code_lines(text)
            .any(|(_, line)| names_word(line, "control::Control") || names_word(line, "Control::open"))
    };
    let broken = house.files.iter().filter(|(path, text)| is_rust(path) && is_reader(path) && writes(text));
    broken
        .map(|(path, _)| format!("{path}: opens the control database for writing; use control::Snapshots"))
        .collect()
}

/// Whether `word` stands in `line` and is not the beginning of a longer name.
fn names_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| !line[at + word.len()..].starts_with(is_name))
}

fn sql_lives_in_queries(house: &House) -> Vec<String> {
    let statements = [
        "SELECT ",
        "INSERT INTO ",
        "CREATE TABLE ",
        "ALTER TABLE ",
        "DROP TABLE ",
        "OPTIMIZE TABLE ",
        "SYSTEM ",
    ];
    let exempt =
        |path: &str| path.starts_with("crates/control/") || path.starts_with("xtask/") || is_test(path);
    let mut violations = Vec::new();
    for (path, text) in house.files.iter().filter(|(path, _)| is_rust(path) && !exempt(path)) {
        for (number, line) in code_lines(text) {
            if statements.iter().any(|statement| line.contains(&format!("\"{statement}")))
                && !text.contains("// sql here because ")
            {
                violations.push(format!("{path}:{number}: SQL text outside queries/"));
            }
        }
    }
    violations
}

/// A query is embedded by its path, or by its name in a list that a macro puts behind the folder's.
fn queries_are_embedded(house: &House) -> Vec<String> {
    let sources = house
        .files
        .iter()
        .filter(|(path, _)| path.starts_with("crates/warehouse/") && is_rust(path) && !is_test(path));
    let lines: Vec<&str> = sources
        .flat_map(|(_, text)| code_lines(text))
        .map(|(_, line)| line)
        .filter(|line| line.contains(".sql\"") || line.contains("queries/"))
        .collect();
    let source = lines.join("\n");
    let is_embedded = |path: &str| {
        let listed = path.rsplit_once('/').is_some_and(|(folder, name)| {
            source.contains(&format!("{folder}/\",")) && source.contains(&format!("\"{name}\""))
        });
        listed || source.contains(&format!("{path}\""))
    };
    let queries =
        house.files.keys().filter(|path| path.starts_with("queries/") && has_extension(path, "sql"));
    let orphans = queries.filter(|path| !is_embedded(path));
    orphans.map(|path| format!("{path}: nothing embeds it")).collect()
}

fn modules_tell_their_story(house: &House) -> Vec<String> {
    let silent = house.files.iter().filter(|(path, text)| {
        let told = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!"));
        is_rust(path) && !told.is_some_and(|line| line.starts_with("//! ") && line.len() > 10)
    });
    silent.map(|(path, _)| format!("{path}: starts without //! documentation")).collect()
}

fn files_are_short(house: &House) -> Vec<String> {
    let long = house.files.iter().filter(|(path, text)| {
        is_rust(path)
            && text.lines().count() > LONGEST_FILE
            && !text.lines().take(40).any(|line| line.starts_with(LONG_REASON))
    });
    long.map(|(path, text)| {
        format!("{path}: {} lines, {LONGEST_FILE} at most without a written reason", text.lines().count())
    })
    .collect()
}

fn locks_name_no_host(house: &House) -> Vec<String> {
    let locks = house.files.iter().filter(|(path, _)| path.ends_with("package-lock.json"));
    let broken = locks.filter(|(_, text)| text.contains("\"resolved\": \"http"));
    broken
        .map(|(path, _)| format!("{path}: names a host; write it with omit-lockfile-registry-resolved"))
        .collect()
}

fn is_rust(path: &str) -> bool {
    has_extension(path, "rs")
}

fn has_extension(path: &str, extension: &str) -> bool {
    std::path::Path::new(path).extension().is_some_and(|found| found == extension)
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/")
        || path.contains("/benches/")
        || path.contains("/examples/")
        || path.contains("/testing")
        || path.ends_with("tests.rs")
}

/// The lines of production code with their numbers: comments and everything from the first `#[cfg(test)] mod` on are left out.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    let lines = text[..end].lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn house(files: &[(&str, &str)], packages: &[(&str, &[&str])]) -> House {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        House {
            files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect(),
            packages: packages
                .iter()
                .map(|(name, deps)| ((*name).to_owned(), owned(deps)))
                .collect::<BTreeMap<_, _>>(),
        }
    }

    #[test]
    fn a_clean_house_has_no_violation() {
        let house = house(
            &[
                (
                    "crates/warehouse/src/lib.rs",
                    "//! Reads and writes.\nconst Q: &str = include_str!(\"../../../queries/read/calls.sql\");",
                ),
                ("queries/read/calls.sql", "SELECT 1"),
            ],
            &[
                ("contracts", &["serde"]),
                ("cascade", &["contracts", "inference"]),
                ("gateway-proxy", &["contracts", "control"]),
            ],
        );
        assert_eq!(check(&house), Vec::<String>::new());
    }

    #[test]
    fn every_rule_finds_its_violation() {
        let long = format!("//! A long story of many lines.\n{}", "fn f() {}\n".repeat(600));
        let cases: [(&str, House); 13] = [
            ("gateway-proxy: depends on collector", house(&[], &[("gateway-proxy", &["collector"])])),
            ("contracts: depends on tokio", house(&[], &[("contracts", &["tokio"])])),
            ("budget: depends on admission", house(&[], &[("budget", &["contracts", "admission"])])),
            (
                "pool: depends on inference",
                house(&[], &[("pool", &["inference"]), ("cascade", &["inference"])]),
            ),
            ("tidy does not know it", house(&[], &[("shed", &[])])),
            ("does not say where spool is", house(&[("docs/ARCHITECTURE.md", "| `crates/pool` | |")], &[])),
            ("it only emits OTLP", house(&[], &[("gateway-proxy", &["warehouse"])])),
            (
                "use control::Snapshots",
                house(&[("collector/src/lib.rs", "//! Collects spans.\nuse control::Control;")], &[]),
            ),
            ("SQL text outside", house(&[("web/src/a.rs", "//! Shows calls.\nlet q = \"SELECT 1\";")], &[])),
            ("nothing embeds it", house(&[("queries/read/a.sql", "SELECT 1")], &[])),
            ("without //! documentation", house(&[("web/src/a.rs", "fn f() {}")], &[])),
            ("500 at most", house(&[("web/src/a.rs", &long)], &[])),
            ("names a host", house(&[("web/package-lock.json", "\"resolved\": \"https://example\"")], &[])),
        ];
        for (expected, house) in cases {
            let found = check(&house);
            assert!(found.iter().any(|violation| violation.contains(expected)), "{expected}: {found:?}");
        }
        assert_eq!(wasm_reach(&["serde".to_owned(), "control".to_owned()]).len(), 1);
    }

    #[test]
    fn a_query_in_a_list_is_embedded_and_its_neighbours_are_not() {
        let list =
            "//! Embeds.\nconcat!(\"../../../queries/read/\", $file)\nreads! { A = \"a.sql\" }\n// \"b.sql\"";
        let files = [
            ("crates/warehouse/src/queries.rs", list),
            ("queries/read/a.sql", "SELECT 1"),
            ("queries/read/b.sql", "SELECT 2"),
            ("queries/other/a.sql", "SELECT 3"),
        ];
        assert_eq!(
            check(&house(&files, &[])),
            ["queries/other/a.sql: nothing embeds it", "queries/read/b.sql: nothing embeds it"]
        );
    }

    #[test]
    fn a_written_reason_and_test_code_are_respected() {
        let long = format!(
            "//! A long story of many lines.\n// long because it is one table\n{}",
            "fn f() {}\n".repeat(600)
        );
        let tested = "//! Shows calls.\n#[cfg(test)]\nmod tests {\nlet q = \"SELECT 1\";\n}";
        assert_eq!(
            check(&house(&[("web/src/a.rs", &long), ("web/src/b.rs", tested)], &[])),
            Vec::<String>::new()
        );
    }
}
