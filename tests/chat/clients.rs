//! Real clients: nc, ncat and telnet.

use super::harness::*;

/// Starts a real client with the server's host and port as its last arguments.
fn real(program: &str, options: &[&str], room: &Room) -> Program {
    let (host, port) = (room.addr().ip().to_string(), room.addr().port().to_string());
    Program::spawn(command(program, options).args([host, port]))
}

/// GNU telnet at a terminal of its own, which `script` provides.
fn telnet(room: &Room) -> Program {
    let (host, port) = (room.addr().ip(), room.addr().port());
    let telnet = format!("telnet {host} {port}");
    Program::spawn(&mut command("script", &["--quiet", "--command", &telnet, "/dev/null"]))
}

#[test]
#[ignore = "needs nc, ncat, telnet and tmux, which .ci/run installs"]
fn three_nc_and_a_telnet_talk() {
    let room = Room::open();
    let mut names = vec!["ann", "ben", "cid"];
    let mut people: Vec<Program> = names.iter().map(|_| real("nc", &[], &room)).collect();
    names.push("tel");
    people.push(telnet(&room));
    for (person, name) in people.iter_mut().zip(&names) {
        person.prints("*** welcome; you are ");
        person.types(&format!("/name {name}"));
        person.prints(&format!(" is now {name}"));
    }
    for (position, name) in names.iter().enumerate() {
        people[position].types(&format!("hello from {name}"));
        for person in &mut people {
            person.prints(&format!("] {name}: hello from {name}"));
        }
    }
    for person in &mut people {
        person.types("quit");
        drop(person.stdin.take());
        person.exits();
    }
    room.is_deserted();
}

#[test]
#[ignore = "needs nc, ncat, telnet and tmux, which .ci/run installs"]
fn nc_prints_the_lines_and_nothing_else() {
    for (program, options) in [("nc", &[][..]), ("ncat", &[])] {
        let room = Room::open();
        let mut client = real(program, options, &room);
        client.types("hi\nquit");
        // Either would wait for something to send, although the server has closed.
        drop(client.stdin.take());
        let (status, stdout, _) = client.exits();
        assert_eq!(status, Some(0));
        let lines: Vec<&str> = stdout.lines().collect();
        assert!(lines[0].starts_with("*** welcome; you are "), "{stdout}");
        assert!(unstamped(lines[1]).unwrap().ends_with(" joined (1 here)"), "{stdout}");
        assert!(unstamped(lines[2]).unwrap().ends_with(": hi"), "{stdout}");
        assert_eq!(lines.len(), 3, "{stdout}");
    }
}

#[test]
#[ignore = "needs nc, ncat, telnet and tmux, which .ci/run installs"]
fn what_is_piped_into_nc_is_said_and_heard_whether_it_closes_or_not() {
    for (program, options, ends) in
        [("nc", &["-N"][..], true), ("nc", &[], false), ("ncat", &["--send-only"], true)]
    {
        let room = Room::open();
        let [mut alice] = room.people(["alice"]);
        let mut piped = real(program, options, &room);
        piped.types("hi\nthe last one");
        drop(piped.stdin.take());
        while !alice.line().ends_with(": hi") {}
        assert!(alice.line().ends_with(": the last one"));
        if options != ["--send-only"] {
            piped.prints(": the last one");
        }
        if ends {
            assert_eq!(piped.exits().0, Some(0));
        } else {
            alice.says("do you hear me?");
            piped.prints("alice: do you hear me?");
            alice.hears("alice: do you hear me?");
            drop(piped);
        }
        assert!(alice.line().contains(" left"));
    }
}

#[test]
#[ignore = "needs nc, ncat, telnet and tmux, which .ci/run installs"]
fn ncat_that_sends_cr_lf_hears_cr_lf() {
    let room = Room::open();
    let mut client = real("ncat", &["--crlf"], &room);
    client.types("first\nquit");
    drop(client.stdin.take());
    let (_, stdout, _) = client.exits();
    assert!(stdout.ends_with(": first\r\n"), "{stdout:?}");
}

#[test]
#[ignore = "needs nc, ncat, telnet and tmux, which .ci/run installs"]
fn an_nc_that_is_killed_leaves() {
    let room = Room::open();
    let [mut alice] = room.people(["alice"]);
    let mut client = real("nc", &[], &room);
    client.types("/name killed");
    alice.hears_until_end_of(" is now killed");
    drop(client);
    assert!(unstamped(&alice.line()).unwrap().starts_with("*** killed left"));
}

#[test]
#[ignore = "needs nc, ncat, telnet and tmux, which .ci/run installs"]
fn telnet_hears_on_after_each_ctrl_c() {
    let room = Room::open();
    let [mut alice] = room.people(["alice"]);
    let mut telnet = telnet(&room);
    telnet.prints("*** welcome; you are ");
    telnet.types("/name tel");
    telnet.prints(" is now tel");
    alice.hears_until_end_of(" is now tel");
    for text in ["once", "twice", "thrice"] {
        telnet.types("\x03");
        // Until its Ctrl-C is answered telnet throws away what it receives.
        telnet.types(text);
        alice.hears(&format!("tel: {text}"));
        alice.says(&format!("heard {text}"));
        telnet.prints(&format!("alice: heard {text}"));
        alice.hears(&format!("alice: heard {text}"));
    }
    telnet.types("quit");
    telnet.prints("Connection closed by foreign host");
}
