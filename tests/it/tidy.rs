//! Rules about the source that no compiler checks: which room may name which crate, how long a
//! function or a file may be, what has no place here. Each failure names file, line and rule.

mod checks;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// A crate or room, and the only places under `src/` that may name it.
const OWNERS: &[(&str, &[&str])] = &[
    ("krafka", &["store/kafka/"]),
    ("tokio", &["store/kafka/"]),
    ("tokio_postgres_rustls", &["store/postgres/"]),
    ("rustls", &["store/postgres/", "door/"]),
    ("x509_cert", &["door/"]),
    ("rustls_native_certs", &["store/postgres/"]),
    ("rusqlite", &["store/spool/"]),
    ("tiny_http", &["http/"]),
    ("prometheus", &["http/", "telemetry/timings.rs"]),
    ("mio", &["door/"]),
    ("httparse", &["door/"]),
    ("ureq", &["commands/"]),
    ("unbounded", &[]),
];

/// Every room, in an order in which each names only rooms above it, and those that it may name. So there is no circle.
const ROOMS: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("setting", &[]),
    ("event", &["limits", "setting"]),
    ("host", &["limits", "setting"]),
    ("wire", &["host", "limits", "setting"]),
    ("store", &["event", "host", "limits", "setting"]),
    ("telemetry", &["event", "host", "limits", "setting", "store"]),
    ("delivery", &["event", "host", "limits", "setting", "store", "telemetry"]),
    ("door", &["host", "limits", "setting", "telemetry", "wire"]),
    ("http", &["delivery", "door", "event", "host", "limits", "setting", "store", "telemetry", "wire"]),
    ("config", &["delivery", "door", "event", "host", "http", "limits", "store", "telemetry", "wire"]),
    ("commands", &["config", "delivery", "door", "event", "host", "limits", "setting", "store", "wire"]),
    (
        "app",
        &["commands", "config", "delivery", "door", "host", "http", "limits", "store", "telemetry", "wire"],
    ),
    ("main", &["app", "commands", "config", "host", "telemetry"]),
    ("lib", &[]),
];

struct Source {
    /// Below `src/`.
    name: String,
    text: String,
    /// The same lines without comments and without what stands in quotes.
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let dir = root().join("src");
    let mut files = Vec::new();
    walk(&dir, &mut files);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    assert!(files.len() >= 10, "only {} files below {}", files.len(), dir.display());
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.strip_prefix(&dir).expect("below src").display().to_string();
        Source { name, code: code_only(&text), text }
    };
    files.iter().map(read).collect()
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
    files.sort();
}

/// Every file under version control.
fn tracked() -> Vec<PathBuf> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let listed = listed.expect("git is there: this rule is about tracked files");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("names are UTF-8");
    let paths: Vec<PathBuf> = names.split_terminator('\0').map(|name| root().join(name)).collect();
    assert!(paths.len() >= 10, "only {} tracked files", paths.len());
    paths
}

/// Blanks comments and the insides of string and character literals, and keeps every line end.
fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let skipped = match rest {
            ['/', '/', ..] => rest.iter().take_while(|c| **c != '\n').count(),
            ['/', '*', ..] => 2 + end_of(&rest[2..], &['*', '/']),
            ['r', ..] if raw_hashes(rest).is_some() && !ends_in_name(&code) => {
                let hashes = raw_hashes(rest).unwrap_or(0);
                let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                let open = hashes + 2;
                open + end_of(&rest[open..], &close)
            }
            ['"', ..] => 1 + quoted(&rest[1..], '"'),
            ['\'', '\\', ..] => 1 + quoted(&rest[1..], '\''),
            ['\'', _, '\'', ..] => 3,
            _ => 0,
        };
        if skipped == 0 {
            code.push(rest[0]);
            at += 1;
        } else {
            code.extend(rest[..skipped].iter().filter(|c| **c == '\n'));
            // Something stood there: a name before it and one after it are two.
            code.push(' ');
            at += skipped;
        }
    }
    code
}

/// `#` marks of a raw string that starts here.
fn raw_hashes(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    (rest.get(1 + hashes) == Some(&'"')).then_some(hashes)
}

fn end_of(rest: &[char], close: &[char]) -> usize {
    rest.windows(close.len()).position(|window| window == close).map_or(rest.len(), |at| at + close.len())
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.iter().enumerate() {
        if *c == quote && !escaped {
            return at + 1;
        }
        escaped = *c == '\\' && !escaped;
    }
    rest.len()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A `b` before a raw or a plain string belongs to it.
fn ends_in_name(code: &str) -> bool {
    let mut before = code.chars().rev();
    match before.next() {
        Some('b') => before.next().is_some_and(is_name),
        Some(c) => is_name(c),
        None => false,
    }
}

/// Whether `name` stands in `line` as a whole name; `before` judges the character before it.
fn names(line: &str, name: &str, before: impl Fn(char) -> bool) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let previous = line[..at].chars().next_back();
        let next = line[at + name.len()..].chars().next();
        let ends_well = name.ends_with("::") || !next.is_some_and(is_name);
        previous.is_none_or(|c| !is_name(c) && before(c)) && ends_well
    })
}

fn lives_in(source: &Source, rooms: &[&str]) -> bool {
    rooms.iter().any(|room| source.name.starts_with(room))
}

fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}\n  {}", found.join("\n  "));
}

/// Each line of code that `breaks` takes, as `file:line: text`.
fn lines_that(sources: &[Source], breaks: impl Fn(&Source, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (number, (line, shown)) in source.code.lines().zip(source.text.lines()).enumerate() {
            if breaks(source, line) {
                found.push(format!("src/{}:{}: {}", source.name, number + 1, shown.trim()));
            }
        }
    }
    found
}

#[test]
fn each_client_crate_is_named_in_its_room_only() {
    let sources = sources();
    for (name, rooms) in OWNERS {
        let found =
            lines_that(&sources, |source, line| !lives_in(source, rooms) && names(line, name, |_| true));
        assert_none(&found, &format!("only {rooms:?} may name {name}:"));
    }
    // The crate `kafka` has its room's name: a path that starts with it means the crate, unless the
    // file has brought the room into scope.
    let found = lines_that(&sources, |source, line| {
        let room_in_scope = source.code.contains("store::kafka") || source.code.contains("store::{");
        let crate_path = line.contains("extern crate kafka") || names(line, "use kafka", |_| true);
        let bare = names(line, "kafka::", |c| c != ':') && !room_in_scope;
        let absolute = line
            .match_indices("::kafka::")
            .any(|(at, _)| !line[..at].chars().next_back().is_some_and(|c| is_name(c) || c == '>'));
        !lives_in(source, &["store/kafka/"]) && (crate_path || bare || absolute)
    });
    assert_none(&found, "only store/kafka/ may name the crate kafka:");
}

#[test]
fn unsafe_code_stands_in_one_file() {
    let found = lines_that(&sources(), |source, line| {
        source.name != "host/scheduling.rs" && names(line, "unsafe", |c| c != '_')
    });
    assert_none(&found, "unsafe code stands in src/host/scheduling.rs alone");
}

/// Names of texts that explain something to people.
const TEXTS: &[&str] = &["why", "error", "reason", "said", "message", "advice", "text"];

/// What is asked of such a text when its words decide. `text` is also what a parser reads, and so only compared.
const ASKS: &[&str] = &[".contains(", ".starts_with(", ".ends_with(", ".eq_ignore_ascii_case("];

/// Calls that give the same text in another form.
const FORMS: &[&str] =
    &[".as_deref()", ".as_ref()", ".as_str()", ".text()", ".to_lowercase()", ".to_string()", ".trim()"];

/// The one line that sorts a third party's errors by their words, because they offer nothing else.
const SORTED_BY_WORDS: (&str, &str) = (
    "store/kafka/security.rs",
    "ADVICE.iter().find(|(signs, _)| signs.iter().any(|sign| said.contains(sign))).map(|(_, advice)| *advice)",
);

/// Whether a line of code, its strings blanked, decides on the words of a text.
fn decides_on_words(line: &str) -> bool {
    let decides = |name: &&str| {
        line.match_indices(name).any(|(at, _)| {
            let mut rest = &line[at + name.len()..];
            if line[..at].ends_with(is_name) || rest.starts_with(is_name) {
                return false;
            }
            while let Some(after) = FORMS.iter().find_map(|form| rest.strip_prefix(form)) {
                rest = after;
            }
            let compared = rest.trim_start();
            let compared = compared.strip_prefix("==").or_else(|| compared.strip_prefix("!="));
            // A type's variant or a number may stand there.
            let with_a_text = compared.is_some_and(|other| {
                let other = other.trim_start().trim_start_matches(['&', '*']);
                !other.starts_with(|c: char| c.is_ascii_digit() || c.is_uppercase() && other.contains("::"))
            });
            with_a_text || *name != "text" && ASKS.iter().any(|ask| rest.starts_with(ask))
        })
    };
    TEXTS.iter().any(decides) || [".to_string() ==", ".to_string() !="].iter().any(|form| line.contains(form))
}

#[test]
fn a_decision_is_made_on_a_type_and_never_on_a_text() {
    let by_state = |line: &str| {
        ["held", "home", "forwarded"].iter().any(|state| {
            let forms = [format!("== \"{state}\""), format!("!= \"{state}\""), format!("\"{state}\" =>")];
            forms.iter().any(|form| line.contains(form)) || line.contains(&format!("Some(\"{state}\")"))
        })
    };
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !is_test_file(&source.name)) {
        let lines = source.code.lines().zip(source.text.lines()).enumerate();
        for (number, (line, shown)) in lines.take_while(|(_, (line, _))| !line.starts_with("mod tests {")) {
            let is_known = SORTED_BY_WORDS == (&source.name, shown.trim());
            let on_state = !line.trim().is_empty() && by_state(shown);
            if on_state || decides_on_words(line) && !is_known {
                found.push(format!("src/{}:{}: {}", source.name, number + 1, shown.trim()));
            }
        }
    }
    assert_none(&found, "types decide, texts explain:");
}

/// The room of a file below `src/`: its folder, or itself.
fn room_of(name: &str) -> &str {
    name.split('/').next().unwrap_or(name).trim_end_matches(".rs")
}

/// The rooms that a line of code names, with their number of times.
fn rooms_named(line: &str) -> Vec<&str> {
    let paths = ["crate::", "logs_ingest::"].into_iter().flat_map(|root| line.split(root).skip(1));
    paths.map(|path| path.split(|c| !is_name(c)).next().unwrap_or_default()).collect()
}

#[test]
fn rooms_name_only_those_they_may_and_there_is_no_circle() {
    for (at, (room, may_name)) in ROOMS.iter().enumerate() {
        let above: Vec<&str> = ROOMS[..at].iter().map(|(room, _)| *room).collect();
        let wrong: Vec<_> = may_name.iter().filter(|name| !above.contains(name)).collect();
        assert!(
            wrong.is_empty(),
            "{room} may name {wrong:?}, which do not stand above it: that allows a circle"
        );
    }
    let sources = sources();
    let mut found = Vec::new();
    let mut imports = std::collections::BTreeMap::<(&str, &str), usize>::new();
    for source in &sources {
        let room = room_of(&source.name);
        let Some((_, may_name)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            found.push(format!("src/{}: a new room: give it a place in ROOMS", source.name));
            continue;
        };
        let is_test = is_test_file(&source.name);
        let product = source.code.lines().take_while(|line| !is_test && !line.starts_with("mod tests {"));
        for (number, line) in product.enumerate() {
            for named in rooms_named(line) {
                if named.is_empty() {
                    found.push(format!("src/{}:{}: name the room in each `use`", source.name, number + 1));
                } else if named != room && !may_name.contains(&named) {
                    found.push(format!("src/{}:{}: {room} may not name {named}", source.name, number + 1));
                } else if named != room {
                    *imports.entry((room, named)).or_default() += 1;
                }
            }
        }
    }
    assert_none(&found, "rooms name only those that they may:");
    let lines: usize = imports.values().sum();
    println!("{} rooms, {} imports between them, in {lines} lines:", ROOMS.len(), imports.len());
    for ((room, named), lines) in &imports {
        println!("  {room} -> {named} ({lines})");
    }
    // A permission that nobody uses hides the next import that should be thought about.
    let idle = ROOMS.iter().flat_map(|(room, may)| may.iter().map(move |named| (*room, *named)));
    let idle: Vec<_> = idle.filter(|pair| !imports.contains_key(pair)).collect();
    assert!(idle.is_empty(), "nobody uses these permissions, take them out of ROOMS: {idle:?}");
}

#[test]
fn what_the_inner_server_costs_the_door_is_one_room() {
    let words = ["upstream", "upstreams", "pool", "ping", "pings", "rebuild", "rebuilds", "generation"];
    // Settings and figures, by the names that everyone knows them by.
    let known = ["upstream_connections", "upstream_timeout", "upstream_open", "upstream_lost", "rebuilds"];
    let found = lines_that(&sources(), |source, line| {
        let mut named = line.split(|c| !is_name(c)).filter(|name| !known.contains(name));
        source.name.starts_with("door/")
            && !source.name.starts_with("door/inside/")
            && named.any(|name| name.to_lowercase().split('_').any(|part| words.contains(&part)))
    });
    assert_none(&found, "only door/inside/ knows how the inner server is reached:");
}

#[test]
fn threads_start_in_one_place_and_nothing_is_left_for_later() {
    let sources = sources();
    let found = lines_that(&sources, |source, line| {
        let spawns = line.contains("thread::spawn") || line.contains("thread::Builder");
        spawns && source.name != "host/thread.rs"
    });
    assert_none(&found, "threads start through thread::start:");
    let found = lines_that(&sources, |_, line| {
        line.contains("todo!") || line.contains("unimplemented!") || line.contains("#[ignore")
    });
    assert_none(&found, "nothing is left for later, no test is skipped:");
    let marks = [concat!("FIX", "ME"), concat!("X", "XX"), concat!("TO", "DO")];
    let mut found = Vec::new();
    for source in &sources {
        for (number, line) in source.text.lines().enumerate() {
            if marks.iter().any(|mark| names(line, mark, |_| true)) {
                found.push(format!("src/{}:{}: {}", source.name, number + 1, line.trim()));
            }
        }
    }
    assert_none(&found, "nothing is left for later:");
}

#[test]
fn files_and_functions_stay_short() {
    let mut found = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.code.lines().collect();
        if lines.len() > FILE_LINES_MAX {
            found.push(format!("src/{}: {} lines, at most {FILE_LINES_MAX}", source.name, lines.len()));
        }
        // A table test is as long as its table.
        let product = lines.iter().take_while(|line| !line.starts_with("mod tests {")).count();
        let product = if is_test_file(&source.name) { 0 } else { product };
        let starts = lines[..product].iter().enumerate().filter(|(_, line)| starts_function(line));
        for (start, line) in starts {
            let long = function_lines(&lines[start..]);
            if long > FUNCTION_LINES_MAX {
                let at = format!("src/{}:{}: {}", source.name, start + 1, line.trim());
                found.push(format!("{at}: {long} lines, at most {FUNCTION_LINES_MAX}"));
            }
        }
    }
    assert_none(&found, "a reader wants it shorter:");
}

fn is_test_file(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("tests.rs")
}

fn starts_function(line: &str) -> bool {
    let words = line.split_whitespace().take_while(|word| !word.contains('(') || word.starts_with("pub("));
    let mut words = words.skip_while(|word| {
        ["pub", "const", "async", "unsafe", "extern", "default"].contains(word) || word.starts_with("pub(")
    });
    words.next() == Some("fn") || line.trim_start().starts_with("fn ")
}

/// From its first line to the brace in the same column, which rustfmt puts there.
fn function_lines(lines: &[&str]) -> usize {
    let first = lines[0];
    let indent = first.len() - first.trim_start().len();
    let one_line = first.trim_end();
    if one_line.ends_with('}') || one_line.ends_with(';') {
        return 1;
    }
    let ends = |line: &&str| {
        let here = line.len() - line.trim_start().len() == indent && !line.trim().is_empty();
        here && (line.trim_start().starts_with('}') || line.trim_end().ends_with(';'))
    };
    let last = lines[1..].iter().position(ends);
    last.map_or(lines.len(), |last| last + 2)
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    // The crate's root says it too.
    let found: Vec<String> = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| format!("src/{}", source.name))
        .collect();
    assert_none(&found, "a file starts with //! and says what it is for:");
}

#[test]
fn tracked_text_has_no_trailing_blanks_and_no_words_from_elsewhere() {
    let words = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("sess", "ion's")];
    let numbered = concat!("iss", "ue");
    let mut found = Vec::new();
    for path in tracked() {
        let name = path.strip_prefix(root()).expect("below the root").display().to_string();
        // Answers and bodies stand byte for byte; some are no text on purpose.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let verbatim = name.starts_with("tests/golden/")
            || name.starts_with("tests/fuzz/seeds/")
            || name == "Cargo.lock";
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            let after = lower.split(numbered).skip(1).any(|rest| {
                let rest = rest.trim_start_matches([' ', '#', '-', '/']);
                rest.starts_with(|c: char| c.is_ascii_digit())
            });
            let elsewhere = words.iter().any(|word| line.contains(word)) || after;
            let untidy = line.ends_with([' ', '\t']) && !verbatim;
            if elsewhere || untidy {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
        if !verbatim && !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
            found.push(format!("{name}: ends without one line end"));
        }
    }
    assert_none(&found, "trailing blanks, or words that mean nothing to a reader of this repository:");
}

#[test]
fn the_version_is_the_same_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    for name in ["README.md", "CHANGELOG.md"] {
        let text = fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.contains(version), "{name} does not mention the version {version} of Cargo.toml");
    }
}
