//! Trouble with the transcript's file: full, rotated, removed, forbidden, taken.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use chat_server::Config;
use rustix::fs::OFlags;

use super::harness::*;

fn room_that_writes(transcript: &Path) -> Room {
    Room::with(Config { transcript: Some(transcript.to_owned()), ..config() })
}

/// Says a line, and hears it whatever the disk does.
#[track_caller]
fn talk(client: &mut Client, line: &str) -> String {
    client.says(line);
    let heard = format!("{}: {line}", client.addr());
    client.hears(&heard);
    heard
}

/// The server does not start: one line on stderr names the file and the flag, and the status is 1.
#[track_caller]
fn assert_cannot_start(server: &str, transcript: &Path, reason: &str) {
    let transcript = argument(transcript);
    let arguments = ["--port", "0", "--transcript", transcript];
    let (status, _, log) = Program::spawn(&mut command(server, &arguments)).exits();
    assert_eq!(status, Some(1), "{log}");
    let clear = format!("cannot write the transcript {transcript}: {reason}");
    assert!(log.contains(&clear) && log.contains("(choose another with --transcript)"), "{log}");
    assert_eq!(log.trim_end().lines().count(), 1, "{log}");
}

#[test]
fn a_transcript_that_cannot_be_written_is_named_with_its_flag() {
    let folder = Folder::new();
    assert_cannot_start(CHAT_SERVER, folder.path(), "Is a directory");
    assert_cannot_start(CHAT_SERVER, &folder.path().join("none/file"), "No such file or directory");
    let taken = folder.transcript();
    let mut first = Program::start(&["--transcript", argument(&taken)]);
    assert_cannot_start(CHAT_SERVER, &taken, "another program writes to it");
    talk(&mut first.client(), "the first goes on");
    first.types("exit");
    assert_eq!(first.exits().0, Some(0));
    let second = Program::start(&["--transcript", argument(&taken)]);
    talk(&mut second.client(), "the file can be had again");
}

#[test]
#[ignore = "needs root, and setpriv, to become somebody who may not write"]
fn a_transcript_that_may_not_be_written_is_named_with_its_flag() {
    let folder = Folder::new();
    let (server, forbidden) = (folder.path().join("server"), folder.transcript());
    fs::copy(CHAT_SERVER, &server).unwrap();
    fs::set_permissions(&server, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::write(&forbidden, "").unwrap();
    for path in [&forbidden, &folder.path().join("new")] {
        let path = argument(path);
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", argument(&server)];
        let mut command = command("setpriv", &nobody);
        let (status, _, log) =
            Program::spawn(command.args(["--port", "0", "--transcript", path])).exits();
        assert_eq!(status, Some(1), "{log}");
        assert!(log.contains("Permission denied") && log.contains("--transcript"), "{log}");
        assert_eq!(log.trim_end().lines().count(), 1, "{log}");
    }
}

#[test]
fn after_a_rotation_new_lines_go_to_a_new_file_and_old_ones_stay() {
    let folder = Folder::new();
    let (transcript, rotated) = (folder.transcript(), folder.path().join("transcript.1"));
    let room = room_that_writes(&transcript);
    let mut alice = room.client();
    let before = talk(&mut alice, "before");
    fs::rename(&transcript, &rotated).unwrap();
    let after = talk(&mut alice, "after");
    assert_eq!(bodies(&rotated), [before]);
    assert_eq!(bodies(&transcript), [after]);
    let mode = fs::metadata(&transcript).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn a_file_that_is_removed_or_replaced_under_the_server_is_written_anew() {
    let folder = Folder::new();
    let transcript = folder.transcript();
    let room = room_that_writes(&transcript);
    let mut alice = room.client();
    talk(&mut alice, "lost with its file");
    fs::remove_file(&transcript).unwrap();
    let first = talk(&mut alice, "first");
    assert_eq!(bodies(&transcript), [first]);
    // The default of logrotate's `create`: somebody else makes the new file.
    fs::remove_file(&transcript).unwrap();
    fs::write(&transcript, "2020-01-02T03:04:05+00:00 eve: torn").unwrap();
    let second = talk(&mut alice, "second");
    assert_eq!(bodies(&transcript), ["eve: torn".to_owned(), second]);
    assert_eq!(room.operator.stats().lines_not_written, 0);
}

#[test]
fn a_file_that_is_emptied_in_place_is_written_from_its_start() {
    let folder = Folder::new();
    let transcript = folder.transcript();
    let room = room_that_writes(&transcript);
    let mut alice = room.client();
    talk(&mut alice, "before");
    OpenOptions::new().write(true).truncate(true).open(&transcript).unwrap();
    let after = talk(&mut alice, "after");
    assert_eq!(bodies(&transcript), [after]);
}

#[test]
fn while_the_folder_is_gone_the_talk_goes_on_and_lines_not_written_are_counted() {
    let folder = Folder::new();
    let inner = folder.path().join("inner");
    let transcript = inner.join("transcript");
    fs::create_dir(&inner).unwrap();
    let room = room_that_writes(&transcript);
    let mut alice = room.client();
    talk(&mut alice, "before");
    fs::remove_dir_all(&inner).unwrap();
    talk(&mut alice, "one");
    talk(&mut alice, "two");
    assert_eq!(room.operator.stats().lines_not_written, 2);
    fs::create_dir(&inner).unwrap();
    let after = talk(&mut alice, "after");
    assert_eq!(bodies(&transcript), [after]);
    assert_eq!(room.operator.stats().lines_not_written, 2);
}

/// What the console's `stats` counts as not written.
#[track_caller]
fn lines_not_written(program: &mut Program) -> u64 {
    program.types("stats");
    let line = program.prints("lines not written");
    line.rsplit(' ').next().and_then(|it| it.parse().ok()).expect("a number")
}

/// The log of a server that is asked to stop, as (warnings, lines that say it writes again).
#[track_caller]
fn trouble_in_the_log(program: &mut Program) -> (usize, usize) {
    program.types("exit");
    let (status, _, log) = program.exits();
    assert_eq!(status, Some(0));
    let count = |text| log.lines().filter(|line| line.contains(text)).count();
    (count("cannot write the transcript"), count("the transcript is written again"))
}

#[test]
fn a_file_that_may_not_grow_holds_whole_lines_only_and_is_written_again_when_it_can_be() {
    let folder = Folder::new();
    let transcript = folder.transcript();
    // A limit on the size of files is a full disk that needs no root: it takes a part of a line,
    // and then raises a signal, too.
    let script = "ulimit -f 4; exec \"$0\" --port 0 --rate 0 --transcript \"$1\"";
    let arguments = ["-c", script, CHAT_SERVER, argument(&transcript)];
    let mut program = Program::spawn(&mut command("sh", &arguments)).listening();
    let mut alice = program.client();
    let lines: Vec<String> =
        (0..100).map(|number| format!("{number} {}", "ü".repeat(60))).collect();
    let heard: Vec<String> = lines.iter().map(|line| talk(&mut alice, line)).collect();
    let written = bodies(&transcript);
    assert!(written.len() > 5 && written.len() < 90, "{} lines", written.len());
    assert_eq!(written, heard[..written.len()]);
    assert_eq!(lines_not_written(&mut program), (100 - written.len()) as u64);
    OpenOptions::new().write(true).truncate(true).open(&transcript).unwrap();
    let after = talk(&mut alice, "there is room again");
    assert_eq!(bodies(&transcript), [after]);
    assert_eq!(lines_not_written(&mut program), (100 - written.len()) as u64);
    drop(alice);
    assert_eq!(trouble_in_the_log(&mut program), (1, 1));
}

#[test]
fn what_others_append_to_the_file_is_not_cut_off_with_a_torn_line() {
    let folder = Folder::new();
    let transcript = folder.transcript();
    let script = "ulimit -f 1; exec \"$0\" --port 0 --transcript \"$1\"";
    let arguments = ["-c", script, CHAT_SERVER, argument(&transcript)];
    let program = Program::spawn(&mut command("sh", &arguments)).listening();
    let mut alice = program.client();
    let mut written = vec![talk(&mut alice, "before")];
    let mut file = OpenOptions::new().append(true).open(&transcript).unwrap();
    file.write_all(b"2020-01-02T03:04:05+00:00 eve: by hand\n").unwrap();
    written.push("eve: by hand".to_owned());
    talk(&mut alice, &"x".repeat(2000));
    assert_eq!(bodies(&transcript), written);
}

#[test]
fn a_pipe_that_nobody_reads_stops_nobody() {
    let folder = Folder::new();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let room = room_that_writes(&pipe);
    let mut alice = room.client();
    let line = "x".repeat(4000);
    while room.operator.stats().lines_not_written == 0 {
        talk(&mut alice, &line);
    }
}

/// Reads what a pipe holds, and waits for nothing.
fn read_all_there_is(pipe: &mut fs::File, read: &mut Vec<u8>) {
    let end = pipe.read_to_end(read).expect_err("the server holds the pipe open");
    assert_eq!(end.kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_pipe_that_is_read_late_gives_each_line_whole_or_not_at_all() {
    let folder = Folder::new();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let room = room_that_writes(&pipe);
    let mut alice = room.client();
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut reader = OpenOptions::new().read(true).custom_flags(flags).open(&pipe).unwrap();
    let (mut said, mut read) = (Vec::new(), Vec::new());
    for round in 1..=3 {
        while room.operator.stats().lines_not_written < 3 * round {
            // More than a pipe takes as a whole or not at all, so that some end in its middle.
            let line = format!("{:04}{}", said.len(), "x".repeat(4092));
            said.push(talk(&mut alice, &line));
        }
        read_all_there_is(&mut reader, &mut read);
    }
    said.push(talk(&mut alice, "the end"));
    read_all_there_is(&mut reader, &mut read);
    let read = String::from_utf8(read).unwrap();
    let read: Vec<&str> = read.lines().map(|line| body(line).expect(line)).collect();
    let mut missing = said.iter().map(String::as_str).filter(|line| !read.contains(line));
    assert_eq!(room.operator.stats().lines_not_written, missing.by_ref().count() as u64);
    let mut said = said.iter();
    // In their order, and each once.
    assert!(read.iter().all(|line| said.any(|said| said == line)), "{read:#?}");
    assert_eq!(read.last().copied(), Some(format!("{}: the end", alice.addr()).as_str()));
}

#[test]
#[ignore = "takes the lock of /dev/full, of which a machine has only one"]
fn a_disk_that_is_always_full_is_told_of_once_and_stops_nobody() {
    let mut program = Program::start(&["--transcript", "/dev/full"]);
    let mut alice = program.client();
    (0..100).for_each(|number| drop(talk(&mut alice, &number.to_string())));
    assert_eq!(lines_not_written(&mut program), 100);
    drop(alice);
    assert_eq!(trouble_in_the_log(&mut program), (1, 0));
}

/// A small file system of its own, in a folder.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    fn mount(folder: &Path) -> SmallDisk<'_> {
        let arguments = ["-t", "tmpfs", "-o", "size=64k", "tmpfs"];
        let mounted =
            Command::new("mount").args(arguments).arg(folder).status().expect("a command");
        assert!(mounted.success(), "mount needs root");
        SmallDisk(folder)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Lazily, for a failed test may still have a file open.
        let unmount = ["-l", self.0.to_str().expect("a path of ASCII")];
        let _ = Command::new("umount").args(unmount).stderr(Stdio::null()).status();
    }
}

#[test]
#[ignore = "needs root, to mount a small disk"]
fn a_full_disk_tears_no_line_and_writing_resumes_once_there_is_room() {
    let folder = Folder::new();
    let disk = SmallDisk::mount(folder.path());
    let (transcript, ballast) = (folder.transcript(), folder.path().join("ballast"));
    fs::write(&ballast, vec![0; 48 << 10]).unwrap();
    let mut program = Program::start(&["--rate", "0", "--transcript", argument(&transcript)]);
    let mut alice = program.client();
    let line = |number| format!("{number} {}", "ü".repeat(500));
    let mut heard: Vec<String> = (0..40).map(|number| talk(&mut alice, &line(number))).collect();
    let before = bodies(&transcript).len();
    assert!((5..30).contains(&before), "{before} lines");
    assert_eq!(bodies(&transcript), heard[..before]);
    assert_eq!(lines_not_written(&mut program), 40 - before as u64);
    fs::remove_file(&ballast).unwrap();
    heard.drain(before..);
    heard.extend((40..50).map(|number| talk(&mut alice, &line(number))));
    assert_eq!(bodies(&transcript), heard);
    assert_eq!(lines_not_written(&mut program), 40 - before as u64);
    drop(alice);
    assert_eq!(trouble_in_the_log(&mut program), (1, 1));
    drop((program, disk));
}
