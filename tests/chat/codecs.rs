//! Encodings beside Python's codecs, which others wrote: each character there and back through a
//! real server.

use super::harness::*;

/// Where Python has GB 18030 as it was in 2000, and the WHATWG encoding standard, with its index
/// gb18030, is later or kinder. Nothing is listed for GBK: there both have the same characters.
const DIFFERENCES: [(&str, &str); 22] = [
    // The edition of 2005 gave this place from private use to the letter, and the letter's former
    // place of four bytes to private use.
    ("a8bc U+E7C7 is read as U+1E3F", "latin small letter m with acute"),
    ("a8bc U+E7C7 is written as 8135f437", "private use"),
    // The edition of 2022 gave these places from private use to characters that Unicode has now.
    // What stands for private use is written as before.
    ("a6d9 U+E78D is read as U+FE10", "vertical comma"),
    ("a6da U+E78E is read as U+FE12", "vertical ideographic full stop"),
    ("a6db U+E78F is read as U+FE11", "vertical ideographic comma"),
    ("a6dc U+E790 is read as U+FE13", "vertical colon"),
    ("a6dd U+E791 is read as U+FE14", "vertical semicolon"),
    ("a6de U+E792 is read as U+FE15", "vertical exclamation mark"),
    ("a6df U+E793 is read as U+FE16", "vertical question mark"),
    ("a6ec U+E794 is read as U+FE17", "vertical left white lenticular bracket"),
    ("a6ed U+E795 is read as U+FE18", "vertical right white lenticular bracket"),
    ("a6f3 U+E796 is read as U+FE19", "vertical horizontal ellipsis"),
    ("fe59 U+E81E is read as U+9FB4", "ideograph 龴"),
    ("fe61 U+E826 is read as U+9FB5", "ideograph 龵"),
    ("fe66 U+E82B is read as U+9FB6", "ideograph 龶"),
    ("fe67 U+E82C is read as U+9FB7", "ideograph 龷"),
    ("fe6d U+E832 is read as U+9FB8", "ideograph 龸"),
    ("fe7e U+E843 is read as U+9FB9", "ideograph 龹"),
    ("fe90 U+E854 is read as U+9FBA", "ideograph 龺"),
    ("fea0 U+E864 is read as U+9FBB", "ideograph 龻"),
    // Old Chinese pages have this in place of the ideographic space, so the standard reads it so,
    // and does not write what Python reads.
    ("a3a0 U+E5E5 is read as U+3000", "ideographic space"),
    ("a3a0 U+E5E5 is written as 3f", "private use"),
];

/// Lets two Python clients say all characters of a codec to each other; gives the differences, and
/// how many characters there were.
#[track_caller]
fn compared(codec: &str) -> (Vec<String>, usize) {
    let room = Room::open();
    let port = room.addr().port().to_string();
    let arguments = ["-c", include_str!("codecs.py"), &port, codec];
    let (status, stdout, stderr) = Program::spawn(&mut command("python3", &arguments)).exits();
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let mut lines: Vec<String> = stdout.lines().map(str::to_owned).collect();
    let count = lines.pop().expect("a count at the end");
    let count = count.strip_suffix(" characters").expect("a count at the end");
    (lines, count.parse().expect("a number"))
}

#[test]
#[ignore = "needs python3"]
fn every_character_of_pythons_gbk_arrives_in_utf_8_and_comes_back() {
    let (differences, characters) = compared("gbk");
    assert_eq!(differences, [""; 0]);
    assert_eq!(characters, 21_791);
}

#[test]
#[ignore = "needs python3"]
fn of_pythons_gb18030_only_what_later_editions_changed_does_not_arrive_and_come_back() {
    let (differences, characters) = compared("gb18030");
    let known = |line: &String| DIFFERENCES.iter().any(|(difference, _)| difference == line);
    // A Python with a later edition has fewer of them.
    let unknown: Vec<String> = differences.into_iter().filter(|line| !known(line)).collect();
    assert_eq!(unknown, [""; 0]);
    assert!(characters > 35_000, "{characters}");
}
