"""Two clients of one room, one in a codec of Python's own and one in UTF-8.

Run with the server's port and the codec, `gbk` or `gb18030`. Each client says every character of
two bytes that the codec knows, of gb18030 also one in 97 of those of four bytes, and the other
compares what it hears with what Python has. Prints what differs, a line each, and at the end how
many characters were said.
"""

import socket
import sys
import unicodedata

CHARACTERS_A_LINE = 500
FOUR_BYTE_STEP = 97


class Client:
    def __init__(self, port, codec):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.lines = self.socket.makefile("rb")
        self.say(b"/encoding " + codec.encode())
        self.hear(b"from now on you are ")

    def say(self, line):
        self.socket.sendall(line + b"\n")

    def hear(self, mark):
        """What follows the mark in the next line that has it."""
        for line in self.lines:
            _, found, rest = line.rstrip(b"\n").partition(mark)
            if found:
                return rest
        sys.exit("the server has closed")


def sequences(codec):
    """The sequences of bytes that may be characters."""
    for lead in range(0x81, 0xFF):
        for trail in range(0x40, 0xFF):
            yield bytes([lead, trail])
    if codec == "gb18030":
        digits, thirds = range(0x30, 0x3A), range(0x81, 0xFF)
        four = [
            bytes([first, second, third, fourth])
            for first in [*range(0x81, 0x85), *range(0x90, 0xE4)]
            for second in digits
            for third in thirds
            for fourth in digits
        ]
        yield from four[::FOUR_BYTE_STEP]


def characters(codec):
    """The characters of the codec, each with its bytes."""
    for raw in sequences(codec):
        text = raw.decode(codec, "ignore")
        # Some sequences of bytes are read but never written, and would not come back.
        if len(text) == 1 and text.encode(codec) == raw and not may_be_removed(text):
            yield raw, text


def may_be_removed(text):
    """Control and format characters, separators of lines, and all that may be tags."""
    kind = unicodedata.category(text)
    return kind in ("Cc", "Cf", "Zl", "Zp") or "\U000e0000" <= text <= "\U000e007f"


def main(port, codec):
    local, plain = Client(port, codec), Client(port, "utf-8")
    known = list(characters(codec))
    for start in range(0, len(known), CHARACTERS_A_LINE):
        batch = known[start : start + CHARACTERS_A_LINE]
        # No character holds the byte of a comma.
        mark = f"{start}=".encode()
        local.say(b"read" + mark + b",".join(raw for raw, _ in batch))
        plain.say(b"write" + mark + ",".join(text for _, text in batch).encode())
        read = plain.hear(b": read" + mark).decode().split(",")
        written = local.hear(b": write" + mark).split(b",")
        for (raw, text), read, written in zip(batch, read, written, strict=True):
            if read != text:
                points = "+".join(f"U+{ord(point):04X}" for point in read)
                print(f"{raw.hex()} U+{ord(text):04X} is read as {points}")
            if written != raw:
                print(f"{raw.hex()} U+{ord(text):04X} is written as {written.hex()}")
    print(f"{len(known)} characters")


main(int(sys.argv[1]), sys.argv[2])
